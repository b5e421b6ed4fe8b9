use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cluster::{Cluster, PATIENCE};

/// Sends a record and waits until it is acknowledged; gives its offset.
pub(crate) fn send(
    cluster: &Cluster,
    producer: &FutureProducer,
    topic: &str,
    key: &str,
    value: &[u8],
) -> i64 {
    let record = FutureRecord::to(topic).key(key).payload(value).partition(0);
    cluster
        .wait(producer.send(record, PATIENCE))
        .unwrap()
        .offset
}

/// Assigns one partition from an offset on.
pub(crate) fn assign(consumer: &BaseConsumer, topic: &str, partition: i32, offset: Offset) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset).unwrap();
    consumer.assign(&list).unwrap();
}

/// The next record; fails the test when there is none.
#[track_caller]
pub(crate) fn next(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    let deadline = Instant::now() + PATIENCE;
    // A poll also ends when the consumer's assignment changes.
    while Instant::now() < deadline {
        if let Some(record) = consumer.poll(PATIENCE) {
            return record.unwrap();
        }
    }
    panic!("no record within {PATIENCE:?}");
}

#[track_caller]
pub(crate) fn take(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    (0..count).map(|_| next(consumer).detach()).collect()
}

#[test]
fn records_come_back_as_they_were_sent() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    for number in 0..10 {
        let value = format!("value {number}");
        assert_eq!(
            send(&cluster, &producer, &topic, "key", value.as_bytes()),
            number
        );
    }
    let consumer = cluster.consumer(&[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    for (number, record) in (0..10).zip(take(&consumer, 10)) {
        assert_eq!(record.offset(), number);
        assert_eq!(record.key(), Some(b"key".as_slice()));
        assert_eq!(record.payload(), Some(format!("value {number}").as_bytes()));
    }
    cluster.stop();
}

#[test]
fn headers_keep_duplicate_keys_nulls_and_order() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let headers = [
        ("a", Some(&b"1"[..])),
        ("a", Some(b"\0\xff")),
        ("n", None),
        ("a", Some(b"")),
    ];
    let owned = headers
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: *value })
        });
    let record = FutureRecord::<str, [u8]>::to(&topic)
        .headers(owned)
        .payload(b"v");
    cluster
        .wait(cluster.producer(&[]).send(record, PATIENCE))
        .unwrap();

    let consumer = cluster.consumer(&[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    let record = next(&consumer);
    let found: Vec<_> = record
        .headers()
        .unwrap()
        .iter()
        .map(|header| (header.key, header.value))
        .collect();
    assert_eq!(found, headers);
    assert_eq!(record.key(), None);
}

#[test]
fn null_keys_tombstones_and_empty_values_stay_apart() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    let sent: [(Option<&str>, Option<&[u8]>); 4] = [
        (Some("k"), None),
        (None, Some(b"v")),
        (Some(""), Some(b"")),
        (None, None),
    ];
    for (key, value) in sent {
        let mut record = FutureRecord::<str, [u8]>::to(&topic).partition(0);
        record.key = key;
        record.payload = value;
        cluster.wait(producer.send(record, PATIENCE)).unwrap();
    }
    let consumer = cluster.consumer(&[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    let records = take(&consumer, sent.len());
    let found: Vec<_> = records
        .iter()
        .map(|record| (record.key(), record.payload()))
        .collect();
    assert_eq!(
        found,
        sent.map(|(key, value)| (key.map(str::as_bytes), value))
    );
}

#[test]
fn every_compression_is_stored_as_it_was_sent() {
    let cluster = Cluster::start();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = cluster.topic(1, &[]);
        let settings = [("compression.type", compression), ("linger.ms", "20")];
        send_numbered(&cluster, &cluster.producer(&settings), &topic, 0..500);
        let consumer = cluster.consumer(&[("check.crcs", "true")]);
        assign(&consumer, &topic, 0, Offset::Beginning);
        expect_numbered(&consumer, 0..500);
    }
}

#[test]
fn large_records_are_stored_and_read() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[("max.message.bytes", "20000000")]);
    let producer = cluster.producer(&[("message.max.bytes", "20000000")]);
    let sizes = [1 << 20, 10 << 20, 1];
    let value = |size: usize| b"0123456789 abcde".repeat(size.div_ceil(16))[..size].to_vec();
    for size in sizes {
        send(&cluster, &producer, &topic, "k", &value(size));
    }
    // The consumer's limits are far below the records: the first batch comes all the same.
    let limits = [
        ("fetch.message.max.bytes", "100000"),
        ("fetch.max.bytes", "1000000"),
    ];
    let settings = [&limits[..], &[("receive.message.max.bytes", "100000000")]].concat();
    let consumer = cluster.consumer(&settings);
    assign(&consumer, &topic, 0, Offset::Beginning);
    for (size, record) in sizes.into_iter().zip(take(&consumer, sizes.len())) {
        assert!(
            record.payload() == Some(&value(size)),
            "record of {size} bytes"
        );
    }
}

#[test]
fn a_batch_beyond_the_limit_of_its_topic_is_refused() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[("max.message.bytes", "10000")]);
    let producer = cluster.producer(&[]);
    send(&cluster, &producer, &topic, "k", &[b'x'; 9_000]);
    let record = FutureRecord::to(&topic)
        .key("k")
        .payload(&[b'x'; 11_000][..])
        .partition(0);
    let (refused, _) = cluster.wait(producer.send(record, PATIENCE)).unwrap_err();
    assert_eq!(
        refused.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge)
    );
}

#[test]
fn each_acknowledgement_level_stores_the_record() {
    let cluster = Cluster::start();
    for acks in ["0", "1", "all"] {
        let topic = cluster.topic(1, &[]);
        send_numbered(
            &cluster,
            &cluster.producer(&[("acks", acks)]),
            &topic,
            0..20,
        );
        let consumer = cluster.consumer(&[]);
        assign(&consumer, &topic, 0, Offset::Beginning);
        expect_numbered(&consumer, 0..20);
    }
}

#[test]
fn each_partition_has_its_own_contiguous_offsets() {
    let cluster = Cluster::start();
    let topic = cluster.topic(6, &[]);
    let producer = cluster.producer(&[]);
    for number in 0..60 {
        let value = number.to_string();
        let record = FutureRecord::<str, _>::to(&topic)
            .payload(&value)
            .partition(number % 6);
        let delivery = cluster.wait(producer.send(record, PATIENCE)).unwrap();
        assert_eq!(
            (delivery.partition, delivery.offset),
            (number % 6, i64::from(number / 6))
        );
    }
    let consumer = cluster.consumer(&[]);
    for partition in 0..6 {
        let ends = consumer
            .fetch_watermarks(&topic, partition, PATIENCE)
            .unwrap();
        assert_eq!(ends, (0, 10));
    }
}

#[test]
fn the_append_time_replaces_the_time_of_creation_where_the_topic_wants_it() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[("message.timestamp.type", "LogAppendTime")]);
    let record = FutureRecord::<str, _>::to(&topic)
        .payload("v")
        .timestamp(1_000)
        .partition(0);
    let before = crate::offsets::now_ms();
    cluster
        .wait(cluster.producer(&[]).send(record, PATIENCE))
        .unwrap();
    let consumer = cluster.consumer(&[("check.crcs", "true")]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    let timestamp = next(&consumer).timestamp();
    let rdkafka::Timestamp::LogAppendTime(time) = timestamp else {
        panic!("{timestamp:?} is not an append time");
    };
    assert!((before..=crate::offsets::now_ms()).contains(&time));
}

/// Sends records that say their own number, without waiting for one before the next.
pub(crate) fn send_numbered(
    cluster: &Cluster,
    producer: &FutureProducer,
    topic: &str,
    numbers: std::ops::Range<i64>,
) {
    let sent: Vec<_> = numbers
        .map(|number| {
            let value = format!("record {number}");
            let record = FutureRecord::to(topic)
                .key("k")
                .payload(&value)
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
}

/// Expects the records of `send_numbered`, each once and in order.
#[track_caller]
pub(crate) fn expect_numbered(consumer: &BaseConsumer, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let record = next(consumer);
        assert_eq!(
            record.payload(),
            Some(format!("record {number}").as_bytes())
        );
    }
}
