//! Leader epochs: what a client may say and learn about them (KIP-101, KIP-320).

use bytes::Buf;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::producer::FutureRecord;
use rdkafka::{Message, Offset};

use crate::cluster::{Cluster, PATIENCE, Restarting, unique};
use crate::offsets::now_ms;
use crate::records::{assign, next, send_numbered};
use crate::wire::{connect, exchange};

const FENCED: i16 = 74;
const UNKNOWN: i16 = 75;
/// Timestamps that ask for something else than a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_TIMESTAMP: i64 = -3;

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// The current epoch of the first partition.
fn epoch(cluster: &Cluster, topic: &str) -> i32 {
    let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let answer = exchange(&mut connect(cluster.bootstrap()), 12, &request);
    answer.topics[0].partitions[0].leader_epoch
}

fn fetch(cluster: &Cluster, topic: &str, wanted: FetchPartition) -> PartitionData {
    let wanted = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![wanted.with_partition_max_bytes(1 << 20)]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![wanted]);
    let answer = exchange(&mut connect(cluster.bootstrap()), 12, &request);
    answer.responses[0].partitions[0].clone()
}

fn list(cluster: &Cluster, topic: &str, time: i64, current: i32) -> ListOffsetsPartitionResponse {
    let wanted = ListOffsetsPartition::default()
        .with_timestamp(time)
        .with_current_leader_epoch(current);
    let wanted = ListOffsetsTopic::default()
        .with_name(name(topic))
        .with_partitions(vec![wanted]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![wanted]);
    let answer = exchange(&mut connect(cluster.bootstrap()), 7, &request);
    answer.topics[0].partitions[0].clone()
}

/// Error code, epoch and end offset of the answer.
fn end_of(cluster: &Cluster, topic: &str, wanted: i32, current: i32) -> (i16, i32, i64) {
    let wanted = OffsetForLeaderPartition::default()
        .with_leader_epoch(wanted)
        .with_current_leader_epoch(current);
    let wanted = OffsetForLeaderTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![wanted]);
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![wanted]);
    let answer = exchange(&mut connect(cluster.bootstrap()), 4, &request);
    let partition = &answer.topics[0].partitions[0];
    (
        partition.error_code,
        partition.leader_epoch,
        partition.end_offset,
    )
}

/// The leader epoch in the header of a batch.
fn epoch_of_batch(data: &PartitionData) -> i32 {
    let mut header = data.records.clone().unwrap().slice(12..16);
    header.get_i32()
}

#[test]
fn the_current_epoch_is_told_and_taken_and_a_later_one_is_not_known() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..10);
    let current = epoch(&cluster, &topic);
    assert!(current >= 0);

    let asking = |current: i32| FetchPartition::default().with_current_leader_epoch(current);
    for known in [-1, current] {
        let data = fetch(&cluster, &topic, asking(known));
        assert_eq!((data.error_code, data.high_watermark), (0, 10));
        assert_eq!(epoch_of_batch(&data), current);
    }
    assert_eq!(
        fetch(&cluster, &topic, asking(current + 1)).error_code,
        UNKNOWN
    );
    // An error is told at once, also where there is nothing to read.
    let at_end = asking(current + 1).with_fetch_offset(10);
    assert_eq!(fetch(&cluster, &topic, at_end).error_code, UNKNOWN);

    for (time, offset) in [(LATEST, 10), (EARLIEST, 0), (0, 0)] {
        for known in [-1, current] {
            let found = list(&cluster, &topic, time, known);
            let expected = (0, offset, current);
            assert_eq!(
                (found.error_code, found.offset, found.leader_epoch),
                expected
            );
        }
        let found = list(&cluster, &topic, time, current + 1);
        assert_eq!((found.error_code, found.offset), (UNKNOWN, -1));
    }

    assert_eq!(end_of(&cluster, &topic, current, -1), (0, current, 10));
    assert_eq!(end_of(&cluster, &topic, current, current), (0, current, 10));
    assert_eq!(end_of(&cluster, &topic, current + 1, -1), (0, -1, -1));
    assert_eq!(
        end_of(&cluster, &topic, current, current + 1),
        (UNKNOWN, -1, -1)
    );
    assert_eq!(end_of(&cluster, &unique("missing"), 0, -1), (3, -1, -1));
}

#[test]
fn the_record_with_the_largest_timestamp_is_found() {
    let cluster = Cluster::start();
    for compression in ["none", "zstd"] {
        let topic = cluster.topic(1, &[]);
        assert_eq!(list(&cluster, &topic, NEWEST_TIMESTAMP, -1).offset, -1);
        let settings = [("compression.type", compression), ("linger.ms", "200")];
        let producer = cluster.producer(&settings);
        let start = now_ms() - 100_000;
        let sent: Vec<_> = [5, 1, 90, 7, 90, 3]
            .into_iter()
            .map(|late| {
                let record = FutureRecord::<str, _>::to(&topic)
                    .payload("v")
                    .timestamp(start + late)
                    .partition(0);
                let sent = producer.send_result(record);
                sent.map_err(|(cause, _)| cause).unwrap()
            })
            .collect();
        for delivery in sent {
            cluster.wait(delivery).unwrap().unwrap();
        }
        let found = list(&cluster, &topic, NEWEST_TIMESTAMP, -1);
        assert_eq!((found.offset, found.timestamp), (2, start + 90));
    }
}

/// Each start is a new leader, which another cluster's brokers are not told to be.
#[test]
fn an_epoch_of_before_a_restart_is_fenced_and_its_end_is_known() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(1, &[]);
    let mut ends = Vec::new();
    for round in 0..4i64 {
        let producer = cluster.now().producer(&[]);
        // The third start appends nothing.
        let count = if round == 2 { 0 } else { 10 };
        let sent = ends.last().map_or(0, |(_, end)| *end);
        send_numbered(cluster.now(), &producer, &topic, sent..sent + count);
        ends.push((epoch(cluster.now(), &topic), sent + count));
        cluster.restart();
    }
    assert!(ends.is_sorted_by(|(before, _), (after, _)| before < after));
    let current = epoch(cluster.now(), &topic);
    let (old, _) = ends[3];
    assert!(current > old);
    let asking = FetchPartition::default().with_current_leader_epoch(old);
    assert_eq!(fetch(cluster.now(), &topic, asking).error_code, FENCED);
    assert_eq!(list(cluster.now(), &topic, LATEST, old).error_code, FENCED);
    assert_eq!(end_of(cluster.now(), &topic, old, old), (FENCED, -1, -1));

    let second = ends[1].0;
    for (number, (epoch, end)) in ends.iter().enumerate() {
        let known = if number == 2 { second } else { *epoch };
        assert_eq!(
            end_of(cluster.now(), &topic, *epoch, current),
            (0, known, *end)
        );
    }
    assert_eq!(
        list(cluster.now(), &topic, EARLIEST, -1).leader_epoch,
        ends[0].0
    );
    let newest = list(cluster.now(), &topic, LATEST, -1);
    assert_eq!((newest.offset, newest.leader_epoch), (30, current));

    // One that says what it read last is told where it parts from the log (KIP-595).
    let read = FetchPartition::default()
        .with_last_fetched_epoch(ends[0].0)
        .with_fetch_offset(25);
    let told = fetch(cluster.now(), &topic, read).diverging_epoch;
    assert_eq!((told.epoch, told.end_offset), (ends[0].0, 10));
    let read = FetchPartition::default()
        .with_last_fetched_epoch(second)
        .with_fetch_offset(15);
    let data = fetch(cluster.now(), &topic, read);
    assert_eq!((data.error_code, data.diverging_epoch.epoch), (0, -1));
}

#[test]
fn a_consumer_that_checks_its_place_goes_on_after_a_restart() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(1, &[]);
    let settings = [
        ("topic.metadata.refresh.interval.ms", "500"),
        ("reconnect.backoff.max.ms", "100"),
    ];
    let consumer = cluster.now().consumer(&settings);
    assign(&consumer, &topic, 0, Offset::Beginning);
    for round in 0..3 {
        let producer = cluster.now().producer(&[]);
        let numbers = round * 10..round * 10 + 10;
        send_numbered(cluster.now(), &producer, &topic, numbers.clone());
        for number in numbers {
            let deadline = std::time::Instant::now() + PATIENCE;
            let offset = loop {
                assert!(
                    std::time::Instant::now() < deadline,
                    "nothing after a restart"
                );
                // Or an error, while the broker was away.
                if let Some(Ok(record)) = consumer.poll(PATIENCE) {
                    break record.offset();
                }
            };
            assert_eq!(offset, number);
        }
        cluster.restart();
    }
    let again = cluster.now().consumer(&[]);
    assign(&again, &topic, 0, Offset::Beginning);
    assert_eq!(next(&again).offset(), 0);
}
