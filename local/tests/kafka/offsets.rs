use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::FutureRecord;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cluster::{Cluster, PATIENCE};
use crate::records::{assign, next, send_numbered};

#[test]
fn a_consumer_seeks_forwards_and_back() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..100);
    let consumer = cluster.consumer(&[]);
    assign(&consumer, &topic, 0, Offset::Offset(40));
    assert_eq!(next(&consumer).offset(), 40);
    for target in [90, 5, 99, 0] {
        consumer
            .seek(&topic, 0, Offset::Offset(target), PATIENCE)
            .unwrap();
        assert_eq!(next(&consumer).offset(), target);
    }
}

#[test]
fn the_end_of_a_partition_is_told() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..3);
    let consumer = cluster.consumer(&[("enable.partition.eof", "true")]);
    assign(&consumer, &topic, 0, Offset::Offset(2));
    assert_eq!(next(&consumer).offset(), 2);
    let end = consumer
        .poll(PATIENCE)
        .unwrap()
        .map(|record| record.offset());
    assert_eq!(end, Err(KafkaError::PartitionEOF(0)));
}

#[test]
fn an_offset_beyond_the_end_is_out_of_range() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..3);
    let consumer = cluster.consumer(&[("auto.offset.reset", "error")]);
    assign(&consumer, &topic, 0, Offset::Offset(1_000));
    let refused = consumer
        .poll(PATIENCE)
        .unwrap()
        .map(|record| record.offset())
        .unwrap_err();
    assert_eq!(
        refused.rdkafka_error_code(),
        Some(rdkafka::error::RDKafkaErrorCode::AutoOffsetReset)
    );
}

#[test]
fn watermarks_follow_the_records() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let consumer = cluster.consumer(&[]);
    assert_eq!(
        consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap(),
        (0, 0)
    );
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..25);
    assert_eq!(
        consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap(),
        (0, 25)
    );
}

#[test]
fn offsets_are_found_by_time_in_every_compression() {
    let cluster = Cluster::start();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = cluster.topic(1, &[]);
        // Ten records to a batch, so that the time lies inside one.
        let settings = [
            ("compression.type", compression),
            ("batch.num.messages", "10"),
            ("linger.ms", "1000"),
        ];
        let producer = cluster.producer(&settings);
        let start = now_ms() - 1_000_000;
        let sent: Vec<_> = (0..100)
            .map(|number| {
                let record = FutureRecord::<str, _>::to(&topic)
                    .payload("some text that can be compressed, some text")
                    .timestamp(start + number * 10)
                    .partition(0);
                producer
                    .send_result(record)
                    .map_err(|(cause, _)| cause)
                    .unwrap()
            })
            .collect();
        for delivery in sent {
            cluster.wait(delivery).unwrap().unwrap();
        }
        let consumer = cluster.consumer(&[]);
        let check = |time: i64, expected: Offset| {
            assert_eq!(
                offset_at(&consumer, &topic, time),
                expected,
                "{compression} {time}"
            );
        };
        check(start - 5, Offset::Offset(0));
        check(start, Offset::Offset(0));
        check(start + 470, Offset::Offset(47));
        check(start + 471, Offset::Offset(48));
        check(start + 990, Offset::Offset(99));
        check(start + 991, Offset::End);
    }
}

fn offset_at(consumer: &BaseConsumer, topic: &str, time: i64) -> Offset {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(time))
        .unwrap();
    let found = consumer.offsets_for_times(list, PATIENCE).unwrap();
    found.find_partition(topic, 0).unwrap().offset()
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
