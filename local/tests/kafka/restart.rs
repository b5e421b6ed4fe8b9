//! What an orderly stop and a start leave as it was.

use std::time::Duration;

use local::kafka::Fsync;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::{PATIENCE, Restarting};
use crate::records::{assign, expect_numbered, send_numbered};

#[test]
fn topics_records_and_commits_are_there_after_a_restart() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(3, &[("retention.ms", "-1")]);
    let gone = cluster.now().topic(1, &[]);
    send_numbered(
        cluster.now(),
        &cluster.now().producer(&[]),
        &topic,
        0..1_000,
    );
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(400))
        .unwrap();
    let group = [("group.id", "restarted")];
    cluster
        .now()
        .consumer(&group)
        .commit(&offsets, CommitMode::Sync)
        .unwrap();
    let options = rdkafka::admin::AdminOptions::new();
    let deleted = cluster.now().admin().delete_topics(&[&gone], &options);
    cluster.now().wait(deleted).unwrap();

    for round in 0..3 {
        cluster.restart();
        let consumer = cluster.now().consumer(&group);
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let names: Vec<_> = metadata.topics().iter().map(MetadataTopic::name).collect();
        assert_eq!(names, [&topic]);
        assert_eq!(metadata.topics()[0].partitions().len(), 3);
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&topic, 0);
        let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
        assert_eq!(
            found.find_partition(&topic, 0).unwrap().offset(),
            Offset::Offset(400)
        );
        assign(&consumer, &topic, 0, Offset::Beginning);
        let sent = 1_000 + round * 10;
        expect_numbered(&consumer, 0..sent);
        let producer = cluster.now().producer(&[]);
        send_numbered(cluster.now(), &producer, &topic, sent..sent + 10);
    }
}

#[test]
fn a_producer_goes_on_across_a_restart_without_a_duplicate() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(1, &[]);
    let producer = cluster.now().producer(&[("enable.idempotence", "true")]);
    for round in 0..3 {
        send_numbered(
            cluster.now(),
            &producer,
            &topic,
            round * 100..round * 100 + 100,
        );
        cluster.restart();
    }
    send_numbered(cluster.now(), &producer, &topic, 300..400);
    let consumer = cluster.now().consumer(&[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    expect_numbered(&consumer, 0..400);
}

#[test]
fn records_are_kept_under_every_fsync_policy() {
    for fsync in [Fsync::EachRequest, Fsync::Every(Duration::from_millis(5))] {
        let mut cluster = Restarting::start_with(|config| config.fsync = fsync);
        let topic = cluster.now().topic(2, &[("segment.bytes", "1048576")]);
        let producer = cluster.now().producer(&[("batch.num.messages", "20")]);
        send_numbered(cluster.now(), &producer, &topic, 0..500);
        cluster.restart();
        let consumer = cluster.now().consumer(&[]);
        assign(&consumer, &topic, 0, Offset::Beginning);
        expect_numbered(&consumer, 0..500);
    }
}
