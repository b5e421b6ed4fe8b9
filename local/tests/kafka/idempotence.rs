use std::time::Instant;

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer;

use crate::cluster::{Cluster, PATIENCE};
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
    assert_eq!(
        consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap(),
        (0, 5_000)
    );
}

/// A limit of the local broker, which another cluster need not have.
#[test]
fn a_transactional_producer_is_told_at_once_that_there_are_no_transactions() {
    let cluster = Cluster::local(|_| {});
    let settings = [("transactional.id", "t"), ("message.timeout.ms", "10000")];
    let started = Instant::now();
    let refused = cluster
        .producer(&settings)
        .init_transactions(PATIENCE)
        .unwrap_err();
    let code = refused.rdkafka_error_code();
    assert_eq!(
        code,
        Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed)
    );
    assert!(started.elapsed() < PATIENCE / 2);
}
