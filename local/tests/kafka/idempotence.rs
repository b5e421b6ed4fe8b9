use rdkafka::Offset;
use rdkafka::consumer::Consumer;

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
