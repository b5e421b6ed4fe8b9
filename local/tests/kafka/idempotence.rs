use rdkafka::Offset;

use crate::cluster::Cluster;
use crate::records::{assign, expect_numbered, send_numbered};

#[test]
fn an_idempotent_producer_writes_each_record_once_and_in_order() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    // Small batches, so that many are in flight.
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "10")];
    send_numbered(&cluster, &cluster.producer(&settings), &topic, 0..5_000);
    let consumer = cluster.consumer(&[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    expect_numbered(&consumer, 0..5_000);
    let ends = rdkafka::consumer::Consumer::fetch_watermarks(
        &consumer,
        &topic,
        0,
        crate::cluster::PATIENCE,
    );
    assert_eq!(ends.unwrap(), (0, 5_000));
}

#[test]
fn a_transactional_producer_is_told_at_once_that_there_are_no_transactions() {
    let cluster = Cluster::start();
    let producer = cluster.producer(&[("transactional.id", "t"), ("message.timeout.ms", "10000")]);
    let started = std::time::Instant::now();
    let init = rdkafka::producer::Producer::init_transactions(&producer, crate::cluster::PATIENCE);
    let refused = init.unwrap_err();
    assert!(!matches!(
        refused.rdkafka_error_code(),
        None | Some(rdkafka::error::RDKafkaErrorCode::OperationTimedOut)
    ));
    assert!(started.elapsed() < crate::cluster::PATIENCE / 2);
}
