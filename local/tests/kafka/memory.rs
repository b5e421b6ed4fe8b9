//! Memory that does not grow with what is stored.

use std::fs;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;
use rdkafka::consumer::Consumer;

use crate::cluster::{PATIENCE, Process};
use crate::compaction::batch;
use crate::durability::size;
use crate::wire::{connect, exchange};

const PARTITIONS: i32 = 1_000;

/// What the process holds in memory, in megabytes.
fn resident(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes >> 10
}

/// The usual number of batches is small; each round is a batch for every partition.
#[test]
fn single_record_batches_in_many_partitions_take_no_memory() {
    let rounds = size("TEST_KAFKA_ROUNDS", 30);
    let process = Process::start();
    let topic = process
        .cluster()
        .topic(PARTITIONS, &[("segment.bytes", "1048576")]);
    let partitions = (0..PARTITIONS).map(|number| {
        PartitionProduceData::default()
            .with_index(number)
            .with_records(Some(batch(&[Some("k")], Compression::None)))
    });
    let data = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.clone())))
        .with_partition_data(partitions.collect());
    let request = ProduceRequest::default()
        .with_acks(1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![data]);
    let mut stream = connect(process.cluster().bootstrap());
    let mut append = |rounds: u64| {
        for _ in 0..rounds {
            let answer = exchange(&mut stream, 9, &request);
            let mut answers = answer.responses[0].partition_responses.iter();
            assert!(answers.all(|answer| answer.error_code == 0));
        }
    };
    // Buffers have their size, and files are open that stay so.
    append(rounds / 3);
    let before = resident(&process);
    append(rounds - rounds / 3);
    let after = resident(&process);
    println!("{} batches: {before} MB, then {after} MB", rounds * 1_000);
    assert!(after < before + 16, "{before} MB became {after} MB");
    let consumer = process.cluster().consumer(&[]);
    for partition in [0, PARTITIONS - 1] {
        let ends = consumer
            .fetch_watermarks(&topic, partition, PATIENCE)
            .unwrap();
        assert_eq!(ends, (0, i64::try_from(rounds).unwrap()));
    }
}
