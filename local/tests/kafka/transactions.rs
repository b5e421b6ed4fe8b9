//! Transactions as stock clients use them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use local::kafka::Fsync;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cluster::{Cluster, PATIENCE, Restarting, unique};
use crate::records::{assign, expect_numbered, next, send, send_numbered, take};

const COMMITTED: (&str, &str) = ("isolation.level", "read_committed");
const UNCOMMITTED: (&str, &str) = ("isolation.level", "read_uncommitted");

/// A producer that has the transactional id to itself.
pub(crate) fn transactional(
    cluster: &Cluster,
    id: &str,
    settings: &[(&str, &str)],
) -> FutureProducer {
    let common = [
        ("transactional.id", id),
        ("transaction.timeout.ms", "60000"),
    ];
    let producer = cluster.producer(&[&common[..], settings].concat());
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

/// Sends records in a transaction that stays open.
fn begin(cluster: &Cluster, producer: &FutureProducer, topic: &str, numbers: std::ops::Range<i64>) {
    producer.begin_transaction().unwrap();
    send_numbered(cluster, producer, topic, numbers);
}

/// The end of a topic's first partition for a reader.
fn end(cluster: &Cluster, topic: &str, isolation: (&str, &str)) -> i64 {
    let consumer = cluster.consumer(&[isolation]);
    consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap().1
}

/// Waits for an end to be told everywhere, which may be after the producer hears of it.
#[track_caller]
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn reader(cluster: &Cluster, topic: &str, isolation: (&str, &str)) -> BaseConsumer {
    let consumer = cluster.consumer(&[isolation, ("enable.partition.eof", "true")]);
    assign(&consumer, topic, 0, Offset::Beginning);
    consumer
}

/// A reader of committed records, once every transaction is ended everywhere.
fn settled_reader(cluster: &Cluster, topic: &str) -> BaseConsumer {
    wait_until(|| end(cluster, topic, COMMITTED) == end(cluster, topic, UNCOMMITTED));
    reader(cluster, topic, COMMITTED)
}

#[track_caller]
fn expect_end(consumer: &BaseConsumer) {
    let end = consumer.poll(PATIENCE).unwrap();
    let end = end.map(|record| record.offset());
    assert_eq!(end, Err(KafkaError::PartitionEOF(0)));
}

/// Why a producer can no longer be used.
#[track_caller]
fn expect_fenced(refused: Result<(), KafkaError>) {
    let Err(KafkaError::Transaction(cause)) = refused else {
        panic!("{refused:?} does not fence");
    };
    assert!(cause.is_fatal(), "{cause}");
    let code = cause.code();
    assert!(
        matches!(
            code,
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        ),
        "{cause}"
    );
}

#[test]
fn a_committed_transaction_is_seen_and_an_open_one_is_not() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let producer = transactional(&cluster, &unique("t"), &[]);
    begin(&cluster, &producer, &topic, 0..10);
    assert_eq!(end(&cluster, &topic, UNCOMMITTED), 10);
    assert_eq!(end(&cluster, &topic, COMMITTED), 0);
    let committed = reader(&cluster, &topic, COMMITTED);
    expect_end(&committed);
    expect_numbered(&reader(&cluster, &topic, UNCOMMITTED), 0..10);
    producer.commit_transaction(PATIENCE).unwrap();
    expect_numbered(&committed, 0..10);
    expect_end(&committed);
    // The marker takes an offset.
    assert_eq!(end(&cluster, &topic, COMMITTED), 11);
}

#[test]
fn an_aborted_transaction_is_never_seen() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let producer = transactional(&cluster, &unique("t"), &[("batch.num.messages", "3")]);
    for round in 0..3 {
        begin(&cluster, &producer, &topic, round * 20..round * 20 + 10);
        producer.abort_transaction(PATIENCE).unwrap();
        begin(
            &cluster,
            &producer,
            &topic,
            round * 20 + 10..round * 20 + 20,
        );
        producer.commit_transaction(PATIENCE).unwrap();
    }
    let consumer = settled_reader(&cluster, &topic);
    for round in 0..3 {
        expect_numbered(&consumer, round * 20 + 10..round * 20 + 20);
    }
    expect_end(&consumer);
    expect_numbered(&reader(&cluster, &topic, UNCOMMITTED), 0..60);
    // A reader that starts in the middle of what was aborted does not see it either.
    let consumer = cluster.consumer(&[COMMITTED]);
    assign(&consumer, &topic, 0, Offset::Offset(25));
    expect_numbered(&consumer, 30..40);
}

#[test]
fn a_reader_waits_for_the_first_open_transaction_and_keeps_the_order() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let first = transactional(&cluster, &unique("t"), &[]);
    let second = transactional(&cluster, &unique("t"), &[]);
    begin(&cluster, &first, &topic, 0..5);
    begin(&cluster, &second, &topic, 5..10);
    send_numbered(&cluster, &cluster.producer(&[]), &topic, 10..15);
    second.commit_transaction(PATIENCE).unwrap();
    assert_eq!(end(&cluster, &topic, COMMITTED), 0);
    // Its wait is ended by the end of the transaction.
    let settings = [COMMITTED, ("fetch.wait.max.ms", "20000")];
    let consumer = cluster.consumer(&settings);
    assign(&consumer, &topic, 0, Offset::Beginning);
    assert!(consumer.poll(Duration::from_millis(300)).is_none());
    send_numbered(&cluster, &first, &topic, 15..20);
    let started = Instant::now();
    first.abort_transaction(PATIENCE).unwrap();
    expect_numbered(&consumer, 5..15);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_second_producer_fences_the_first_and_ends_its_transaction() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let id = unique("t");
    let first = transactional(&cluster, &id, &[]);
    begin(&cluster, &first, &topic, 0..10);
    let second = transactional(&cluster, &id, &[]);
    expect_fenced(first.commit_transaction(PATIENCE));
    begin(&cluster, &second, &topic, 10..20);
    second.commit_transaction(PATIENCE).unwrap();
    let consumer = settled_reader(&cluster, &topic);
    expect_numbered(&consumer, 10..20);
    expect_end(&consumer);
}

#[test]
fn a_transaction_that_is_open_for_too_long_is_aborted() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let id = unique("t");
    let short = [
        ("transaction.timeout.ms", "1000"),
        ("message.timeout.ms", "1000"),
    ];
    let late = transactional(&cluster, &id, &short);
    begin(&cluster, &late, &topic, 0..10);
    assert_eq!(end(&cluster, &topic, COMMITTED), 0);
    wait_until(|| end(&cluster, &topic, COMMITTED) == 11);
    expect_fenced(late.commit_transaction(PATIENCE));
    let next = transactional(&cluster, &id, &[]);
    begin(&cluster, &next, &topic, 10..20);
    next.commit_transaction(PATIENCE).unwrap();
    let consumer = settled_reader(&cluster, &topic);
    expect_numbered(&consumer, 10..20);
    expect_end(&consumer);
}

#[test]
fn a_transaction_spans_partitions_and_compressions() {
    let cluster = Cluster::start();
    let topics = ["none", "lz4", "zstd"].map(|compression| {
        let topic = cluster.topic(1, &[]);
        (topic, compression)
    });
    let id = unique("t");
    for (topic, compression) in &topics {
        let settings = [("compression.type", *compression), ("linger.ms", "20")];
        let producer = transactional(&cluster, &id, &settings);
        producer.begin_transaction().unwrap();
        for (other, _) in &topics {
            send_numbered(&cluster, &producer, other, 0..50);
        }
        producer.abort_transaction(PATIENCE).unwrap();
        begin(&cluster, &producer, topic, 0..50);
        producer.commit_transaction(PATIENCE).unwrap();
    }
    for (topic, _) in &topics {
        let consumer = settled_reader(&cluster, topic);
        expect_numbered(&consumer, 0..50);
        expect_end(&consumer);
    }
}

fn committed(cluster: &Cluster, group: &str, topic: &str) -> Offset {
    let consumer = cluster.consumer(&[("group.id", group)]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
    found.find_partition(topic, 0).unwrap().offset()
}

fn offsets(topic: &str, offset: i64) -> TopicPartitionList {
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(topic, 0, Offset::Offset(offset))
        .unwrap();
    offsets
}

#[test]
fn offsets_count_with_the_records_of_their_transaction() {
    let cluster = Cluster::start();
    let (input, output) = (cluster.topic(1, &[]), cluster.topic(1, &[]));
    let group = unique("group");
    send_numbered(&cluster, &cluster.producer(&[]), &input, 0..30);
    let producer = transactional(&cluster, &unique("t"), &[]);
    let consumer = cluster.consumer(&[("group.id", &group)]);
    assign(&consumer, &input, 0, Offset::Beginning);
    let membership = consumer.group_metadata().unwrap();
    let (mut at, mut aborted_once) = (0, false);
    while at < 30 {
        let records = take(&consumer, 10);
        producer.begin_transaction().unwrap();
        for record in &records {
            let value = record.payload().unwrap();
            send(&cluster, &producer, &output, "k", value);
        }
        producer
            .send_offsets_to_transaction(&offsets(&input, at + 10), &membership, PATIENCE)
            .unwrap();
        if at == 10 && !aborted_once {
            producer.abort_transaction(PATIENCE).unwrap();
            aborted_once = true;
            assert_eq!(committed(&cluster, &group, &input), Offset::Offset(at));
            consumer
                .seek(&input, 0, Offset::Offset(at), PATIENCE)
                .unwrap();
        } else {
            producer.commit_transaction(PATIENCE).unwrap();
            at += 10;
            // The client asks for stable offsets, and so waits for this one.
            assert_eq!(committed(&cluster, &group, &input), Offset::Offset(at));
        }
    }
    let consumer = settled_reader(&cluster, &output);
    expect_numbered(&consumer, 0..30);
    expect_end(&consumer);
}

#[test]
fn an_open_transaction_goes_on_after_a_restart() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(1, &[]);
    let group = unique("group");
    let id = unique("t");
    let producer = transactional(cluster.now(), &id, &[]);
    begin(cluster.now(), &producer, &topic, 0..10);
    let consumer = cluster.now().consumer(&[("group.id", &group)]);
    consumer
        .commit(&offsets(&topic, 1), CommitMode::Sync)
        .unwrap();
    producer
        .send_offsets_to_transaction(
            &offsets(&topic, 5),
            &consumer.group_metadata().unwrap(),
            PATIENCE,
        )
        .unwrap();
    cluster.restart();
    assert_eq!(end(cluster.now(), &topic, COMMITTED), 0);
    send_numbered(cluster.now(), &producer, &topic, 10..20);
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed(cluster.now(), &group, &topic), Offset::Offset(5));

    // One whose producer is gone waits for the next with its id.
    begin(cluster.now(), &producer, &topic, 20..30);
    drop(producer);
    cluster.restart();
    assert_eq!(end(cluster.now(), &topic, COMMITTED), 21);
    let next = transactional(cluster.now(), &id, &[]);
    begin(cluster.now(), &next, &topic, 30..40);
    next.commit_transaction(PATIENCE).unwrap();
    let consumer = reader(cluster.now(), &topic, COMMITTED);
    expect_numbered(&consumer, 0..20);
    expect_numbered(&consumer, 30..40);
    // What was aborted is still known when nothing of it has to be read again.
    cluster.restart();
    let consumer = reader(cluster.now(), &topic, COMMITTED);
    expect_numbered(&consumer, 0..20);
    expect_numbered(&consumer, 30..40);
    expect_end(&consumer);
}

#[test]
fn a_transaction_that_the_journal_lost_does_not_hold_readers_up() {
    let mut cluster = Restarting::start();
    let topic = cluster.now().topic(1, &[]);
    let group = unique("group");
    let producer = transactional(cluster.now(), &unique("t"), &[]);
    begin(cluster.now(), &producer, &topic, 0..10);
    let consumer = cluster.now().consumer(&[("group.id", &group)]);
    let membership = consumer.group_metadata().unwrap();
    producer
        .send_offsets_to_transaction(&offsets(&topic, 5), &membership, PATIENCE)
        .unwrap();
    drop(producer);
    // As after a power failure that took its last records.
    cluster.restart_after(|directory| {
        std::fs::remove_file(directory.join("transactions.journal")).unwrap();
    });
    assert_eq!(end(cluster.now(), &topic, COMMITTED), 11);
    expect_end(&reader(cluster.now(), &topic, COMMITTED));
    assert_eq!(committed(cluster.now(), &group, &topic), Offset::Invalid);
}

#[test]
fn a_transaction_ends_although_a_topic_of_it_is_deleted() {
    let cluster = Cluster::start();
    let (topic, deleted) = (cluster.topic(1, &[]), cluster.topic(1, &[]));
    let producer = transactional(&cluster, &unique("t"), &[]);
    begin(&cluster, &producer, &topic, 0..10);
    send_numbered(&cluster, &producer, &deleted, 0..10);
    let options = AdminOptions::new();
    let gone = cluster.wait(cluster.admin().delete_topics(&[&deleted], &options));
    assert_eq!(gone.unwrap(), [Ok(deleted)]);
    producer.commit_transaction(PATIENCE).unwrap();
    expect_numbered(&settled_reader(&cluster, &topic), 0..10);
    begin(&cluster, &producer, &topic, 10..20);
    producer.commit_transaction(PATIENCE).unwrap();
    expect_numbered(&settled_reader(&cluster, &topic), 0..20);
}

#[test]
fn transactions_are_kept_under_every_fsync_policy() {
    for fsync in [Fsync::EachRequest, Fsync::Every(Duration::from_millis(5))] {
        let mut cluster = Restarting::start_with(|config| config.fsync = fsync);
        let topic = cluster.now().topic(1, &[]);
        let producer = transactional(cluster.now(), &unique("t"), &[]);
        begin(cluster.now(), &producer, &topic, 0..10);
        producer.commit_transaction(PATIENCE).unwrap();
        begin(cluster.now(), &producer, &topic, 10..20);
        producer.abort_transaction(PATIENCE).unwrap();
        cluster.restart();
        let consumer = reader(cluster.now(), &topic, COMMITTED);
        expect_numbered(&consumer, 0..10);
        expect_end(&consumer);
    }
}

/// The last committed value of each key, by its first byte, and how many records there are in all.
fn committed_state(cluster: &Cluster, topic: &str) -> (BTreeMap<Vec<u8>, u8>, usize) {
    let read = |isolation| {
        let consumer = reader(cluster, topic, isolation);
        let mut rows = Vec::new();
        loop {
            match consumer.poll(PATIENCE).unwrap() {
                Ok(record) => {
                    let value = record.payload().unwrap()[0];
                    rows.push((record.key().unwrap().to_vec(), value));
                }
                Err(KafkaError::PartitionEOF(_)) => return rows,
                Err(failure) => panic!("{failure}"),
            }
        }
    };
    let count = read(UNCOMMITTED).len();
    (read(COMMITTED).into_iter().collect(), count)
}

#[test]
fn compaction_keeps_what_was_committed_and_hides_what_was_aborted() {
    let mut cluster = Restarting::start_with(|config| {
        config.compaction_interval = Duration::from_millis(50);
    });
    let eager = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    let topic = cluster.now().topic(1, &eager);
    let producer = transactional(cluster.now(), &unique("t"), &[]);
    let plain = cluster.now().producer(&[]);
    let mut expected = BTreeMap::new();
    for round in 0..30u8 {
        let value = vec![round; 50_000];
        producer.begin_transaction().unwrap();
        for key in ["a", "b"] {
            send(cluster.now(), &producer, &topic, key, &value);
        }
        send(cluster.now(), &plain, &topic, "plain", &value);
        expected.insert(b"plain".to_vec(), round);
        if round % 3 == 0 {
            producer.commit_transaction(PATIENCE).unwrap();
            expected.extend([(b"a".to_vec(), round), (b"b".to_vec(), round)]);
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    // One that is open while segments before and behind its beginning are compacted.
    begin(cluster.now(), &producer, &topic, 0..1);
    for round in 30..60u8 {
        send(
            cluster.now(),
            &plain,
            &topic,
            "behind",
            &vec![round; 50_000],
        );
    }
    // Of 30 and 30 plain records most go.
    wait_until(|| committed_state(cluster.now(), &topic).1 < 100);
    for _ in 0..2 {
        assert_eq!(committed_state(cluster.now(), &topic).0, expected);
        cluster.restart();
    }
    producer.abort_transaction(PATIENCE).unwrap();
    expected.insert(b"behind".to_vec(), 59);
    assert_eq!(committed_state(cluster.now(), &topic).0, expected);
}

#[test]
fn an_idempotent_producer_and_a_transactional_one_share_a_partition() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let idempotent = cluster.producer(&[("enable.idempotence", "true")]);
    let producer = transactional(&cluster, &unique("t"), &[]);
    for round in 0..3 {
        producer.begin_transaction().unwrap();
        send(&cluster, &producer, &topic, "k", b"dropped");
        let value = format!("record {round}");
        send(&cluster, &idempotent, &topic, "k", value.as_bytes());
        producer.abort_transaction(PATIENCE).unwrap();
    }
    let consumer = settled_reader(&cluster, &topic);
    for round in 0..3 {
        let record = next(&consumer);
        assert_eq!(record.payload(), Some(format!("record {round}").as_bytes()));
        assert_eq!(record.offset(), round * 3 + 1);
    }
}
