use rdkafka::consumer::{BaseConsumer, Consumer};
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
    consumer.poll(PATIENCE).expect("a record arrives").unwrap()
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
