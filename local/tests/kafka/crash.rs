//! `kill -9` of a broker under load: what was acknowledged is there, once and in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset};

use crate::cluster::{PATIENCE, Process};
use crate::compaction::{noise, read_all};
use crate::durability::size;
use crate::records::{assign, next};

/// Enough for many batches to be in flight when the broker dies.
const IN_FLIGHT: usize = 500;

#[test]
fn no_acknowledged_record_is_lost_or_doubled_by_kills() {
    let runs = std::env::var("TEST_KAFKA_KILLS").map_or(5, |runs| runs.parse().unwrap());
    let mut process = Process::start();
    let topic = process.cluster().topic(1, &[("segment.bytes", "1048576")]);
    let settings = [
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "120000"),
        ("reconnect.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "50"),
        ("retry.backoff.ms", "10"),
    ];
    let producer = process.cluster().producer(&settings);
    let mut sent = 0;
    let mut acknowledged = 0;
    for run in 0..runs {
        let mut in_flight = VecDeque::new();
        // Each kill comes at another point of the load.
        let until = acknowledged + 2_000 + i64::from(run) * 137;
        while acknowledged < until {
            while in_flight.len() < IN_FLIGHT {
                in_flight.push_back(enqueue(&producer, &topic, sent));
                sent += 1;
            }
            let delivery = in_flight.pop_front().unwrap();
            assert_eq!(
                process.cluster().wait(delivery).unwrap().unwrap().offset,
                acknowledged
            );
            acknowledged += 1;
        }
        process.kill();
        process.restart();
        // The client sends again what it had no answer for; none of it may be there twice.
        for delivery in in_flight {
            assert_eq!(
                process.cluster().wait(delivery).unwrap().unwrap().offset,
                acknowledged
            );
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, sent);
    let consumer = process.cluster().consumer(&[("check.crcs", "true")]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    for number in 0..sent {
        let record = next(&consumer);
        assert_eq!(record.offset(), number);
        assert_eq!(record.payload(), Some(value(number).as_bytes()));
    }
    assert!(
        consumer.poll(Duration::from_millis(300)).is_none(),
        "more than was sent"
    );
}

fn enqueue(
    producer: &FutureProducer,
    topic: &str,
    number: i64,
) -> rdkafka::producer::DeliveryFuture {
    let value = value(number);
    let record = FutureRecord::to(topic)
        .key("k")
        .payload(&value)
        .partition(0);
    producer
        .send_result(record)
        .map_err(|(cause, _)| cause)
        .unwrap()
}

fn value(number: i64) -> String {
    format!(
        "record {number} {}",
        "x".repeat(usize::try_from(number % 700).unwrap())
    )
}

/// Segments are replaced all the time while the broker dies again and again.
#[test]
fn kills_in_the_midst_of_compaction_lose_no_key() {
    let runs = size("TEST_KAFKA_KILLS", 5);
    let mut process = Process::start_with(&["compaction-interval-ms=1"]);
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    let topic = process.cluster().topic(1, &settings);
    let settings = [
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "120000"),
        ("reconnect.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "50"),
        ("retry.backoff.ms", "10"),
        ("linger.ms", "5"),
        ("compression.type", "lz4"),
    ];
    let producer = process.cluster().producer(&settings);
    let mut last = BTreeMap::new();
    let mut sent = 0u64;
    for run in 0..runs {
        let mut in_flight = VecDeque::new();
        // Each kill comes at another point of the load.
        for _ in 0..1_500 + run * 37 {
            let (key, value) = (format!("key {}", sent * 7 % 50), noise(sent, 4_000));
            let record = FutureRecord::to(&topic)
                .key(&key)
                .payload(&value)
                .partition(0);
            in_flight.push_back(
                producer
                    .send_result(record)
                    .map_err(|(cause, _)| cause)
                    .unwrap(),
            );
            last.insert(key, value);
            sent += 1;
            if in_flight.len() > 100 {
                let delivery = in_flight.pop_front().unwrap();
                process.cluster().wait(delivery).unwrap().unwrap();
            }
        }
        process.kill();
        process.restart();
        for delivery in in_flight {
            process.cluster().wait(delivery).unwrap().unwrap();
        }
        let rows = read_all(process.cluster(), &topic);
        assert!(
            rows.keys()
                .all(|offset| *offset < i64::try_from(sent).unwrap())
        );
        let found: BTreeMap<_, _> = rows.into_values().collect();
        let expected = last
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())));
        assert!(found == expected.collect(), "after kill {run}");
    }
    let ends = process
        .cluster()
        .consumer(&[])
        .fetch_watermarks(&topic, 0, PATIENCE);
    assert_eq!(ends.unwrap(), (0, i64::try_from(sent).unwrap()));
    // There was something to compact.
    let rows = read_all(process.cluster(), &topic);
    assert!(
        rows.len() < usize::try_from(sent).unwrap() / 2,
        "{} records",
        rows.len()
    );
}

#[test]
fn commits_and_topics_survive_a_kill() {
    use rdkafka::TopicPartitionList;
    use rdkafka::consumer::CommitMode;

    let mut process = Process::start();
    let topic = process.cluster().topic(2, &[]);
    let group = [("group.id", "killed")];
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 1, Offset::Offset(77))
        .unwrap();
    process
        .cluster()
        .consumer(&group)
        .commit(&offsets, CommitMode::Sync)
        .unwrap();
    process.kill();
    process.restart();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&topic, 1);
    let found = process
        .cluster()
        .consumer(&group)
        .committed_offsets(asked, PATIENCE)
        .unwrap();
    assert_eq!(
        found.find_partition(&topic, 1).unwrap().offset(),
        Offset::Offset(77)
    );
}

#[test]
fn a_second_process_on_the_directory_is_refused_by_name() {
    let process = Process::start();
    let refused = process.second();
    assert!(!refused.status.success());
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains(&format!("process {}", process.id())),
        "{text}"
    );
}
