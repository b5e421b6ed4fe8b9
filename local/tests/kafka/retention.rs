use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::producer::FutureRecord;
use rdkafka::{Message, Offset};

use crate::cluster::{Cluster, PATIENCE};
use crate::offsets::now_ms;
use crate::records::{assign, next, send};

const SEGMENT: (&str, &str) = ("segment.bytes", "1048576");

fn often(config: &mut local::kafka::Config) {
    config.retention_interval = Duration::from_millis(50);
}

/// Waits until the partition starts at or after an offset.
#[track_caller]
fn wait_for_start(cluster: &Cluster, topic: &str, at_least: i64) -> (i64, i64) {
    let consumer = cluster.consumer(&[]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ends = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
        if ends.0 >= at_least {
            return ends;
        }
        assert!(
            Instant::now() < deadline,
            "the partition still starts at {}",
            ends.0
        );
    }
}

#[test]
fn old_segments_go_when_there_are_more_bytes_than_kept() {
    let cluster = Cluster::start_with(often);
    let topic = cluster.topic(1, &[SEGMENT, ("retention.bytes", "3000000")]);
    let producer = cluster.producer(&[]);
    // Each segment holds ten of these.
    for _ in 0..60 {
        send(&cluster, &producer, &topic, "k", &[b'x'; 100_000]);
    }
    // Six segments, of which the oldest go while what is left is still as much as is kept.
    let (start, end) = wait_for_start(&cluster, &topic, 30);
    assert_eq!((start, end), (30, 60));
    let consumer = cluster.consumer(&[("auto.offset.reset", "earliest")]);
    assign(&consumer, &topic, 0, Offset::Offset(3));
    assert_eq!(next(&consumer).offset(), 30);
}

#[test]
fn records_go_when_they_are_older_than_kept() {
    let cluster = Cluster::start_with(often);
    let topic = cluster.topic(1, &[SEGMENT, ("retention.ms", "600000")]);
    let producer = cluster.producer(&[]);
    let old = now_ms() - 3_600_000;
    let value = vec![b'x'; 100_000];
    for number in 0..30 {
        let record = FutureRecord::to(&topic)
            .key("k")
            .payload(&value)
            .timestamp(old + number);
        cluster
            .wait(producer.send(record.partition(0), PATIENCE))
            .unwrap();
    }
    let (start, end) = wait_for_start(&cluster, &topic, 30);
    assert_eq!((start, end), (30, 30));
    // What is young stays, and offsets go on.
    assert_eq!(send(&cluster, &producer, &topic, "k", b"young"), 30);
    let consumer = cluster.consumer(&[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    assert_eq!(next(&consumer).payload(), Some(&b"young"[..]));
}
