//! Deletion of records by a client: the low watermark moves.

use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::consumer::Consumer;
use rdkafka::{Message, Offset};

use crate::cluster::{Cluster, PATIENCE, Process, Restarting, unique};
use crate::records::{assign, next, send_numbered};
use crate::wire::{connect, exchange};

/// Low watermark and error code of each partition that is asked for.
fn delete(cluster: &Cluster, topic: &str, wanted: &[(i32, i64)]) -> Vec<(i64, i16)> {
    let partitions = wanted.iter().map(|(partition, offset)| {
        DeleteRecordsPartition::default()
            .with_partition_index(*partition)
            .with_offset(*offset)
    });
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions.collect());
    let request = DeleteRecordsRequest::default()
        .with_timeout_ms(10_000)
        .with_topics(vec![topic]);
    let answer = exchange(&mut connect(cluster.bootstrap()), 2, &request);
    let mut partitions = answer.topics[0].partitions.clone();
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions
        .iter()
        .map(|partition| (partition.low_watermark, partition.error_code))
        .collect()
}

#[test]
fn records_before_an_offset_are_gone_at_once() {
    let cluster = Cluster::start();
    let topic = cluster.topic(2, &[]);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..100);
    let ends = || {
        cluster
            .consumer(&[])
            .fetch_watermarks(&topic, 0, PATIENCE)
            .unwrap()
    };
    assert_eq!(delete(&cluster, &topic, &[(0, 40)]), [(40, 0)]);
    assert_eq!(ends(), (40, 100));
    // What is gone stays gone.
    assert_eq!(delete(&cluster, &topic, &[(0, 10)]), [(40, 0)]);
    // One partition that fails does not keep the others.
    assert_eq!(
        delete(&cluster, &topic, &[(0, 50), (1, 1), (2, 0)]),
        [(50, 0), (-1, 1), (-1, 3)]
    );
    assert_eq!(delete(&cluster, &topic, &[(0, 101)]), [(-1, 1)]);
    assert_eq!(delete(&cluster, &topic, &[(0, -2)]), [(-1, 1)]);
    assert_eq!(delete(&cluster, &unique("missing"), &[(0, 0)]), [(-1, 3)]);

    let consumer = cluster.consumer(&[("auto.offset.reset", "earliest")]);
    assign(&consumer, &topic, 0, Offset::Offset(10));
    assert_eq!(next(&consumer).offset(), 50);
    assert_eq!(delete(&cluster, &topic, &[(0, -1)]), [(100, 0)]);
    assert_eq!(ends(), (100, 100));
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 100..101);
    assert_eq!(ends(), (100, 101));
}

#[test]
fn records_of_a_topic_that_is_only_compacted_are_not_deleted() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[("cleanup.policy", "compact")]);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 0..10);
    assert_eq!(delete(&cluster, &topic, &[(0, 5)]), [(-1, 44)]);
    let both = cluster.topic(1, &[("cleanup.policy", "compact,delete")]);
    send_numbered(&cluster, &cluster.producer(&[]), &both, 0..10);
    assert_eq!(delete(&cluster, &both, &[(0, 5)]), [(5, 0)]);
}

#[test]
fn deleted_records_stay_deleted_across_stops_and_kills() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(1, &[]);
    send_numbered(cluster.now(), &cluster.now().producer(&[]), &topic, 0..100);
    for offset in [30, 70, 100] {
        assert_eq!(delete(cluster.now(), &topic, &[(0, offset)]), [(offset, 0)]);
        cluster.restart();
        let consumer = cluster.now().consumer(&[]);
        let ends = consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap();
        assert_eq!(ends, (offset, 100));
    }
    let mut process = Process::start();
    let topic = process.cluster().topic(1, &[]);
    send_numbered(
        process.cluster(),
        &process.cluster().producer(&[]),
        &topic,
        0..100,
    );
    assert_eq!(delete(process.cluster(), &topic, &[(0, 60)]), [(60, 0)]);
    process.kill();
    process.restart();
    let consumer = process.cluster().consumer(&[]);
    let ends = consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap();
    assert_eq!(ends, (60, 100));
}

#[test]
fn files_that_hold_deleted_records_only_go() {
    let cluster = Cluster::local(|config| {
        config.retention_interval = std::time::Duration::from_millis(50);
    });
    let topic = cluster.topic(1, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    let producer = cluster.producer(&[]);
    for _ in 0..30 {
        crate::records::send(&cluster, &producer, &topic, "k", &[b'x'; 100_000]);
    }
    assert_eq!(delete(&cluster, &topic, &[(0, 25)]), [(25, 0)]);
    let logs = || {
        let directory = cluster.data_dir().join("topics");
        let topic = std::fs::read_dir(directory)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let files = std::fs::read_dir(topic.path().join("0")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".log")).count()
    };
    let deadline = std::time::Instant::now() + PATIENCE;
    // Ten to a segment.
    while logs() > 1 {
        assert!(
            std::time::Instant::now() < deadline,
            "{} files stay",
            logs()
        );
    }
}
