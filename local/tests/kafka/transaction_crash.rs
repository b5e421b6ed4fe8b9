//! `kill -9` of a broker under transactions: what was committed is there whole, once and in order,
//! and nothing else is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cluster::{Cluster, PATIENCE, Process, unique};
use crate::records::{assign, send_numbered};
use crate::transactions::{transactional, wait_until};

const PARTITIONS: i32 = 2;
const PRODUCERS: u64 = 3;

/// Clients that come back quickly after a restart.
const QUICK: [(&str, &str); 3] = [
    ("reconnect.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "50"),
    ("retry.backoff.ms", "10"),
];

fn kills() -> u32 {
    std::env::var("TEST_KAFKA_KILLS").map_or(5, |runs| runs.parse().unwrap())
}

/// How a transaction ended, as far as its producer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed,
    Aborted,
    /// The producer was fenced by its own successor, or the answer never came.
    Nothing,
}

fn is_to_be_tried_again(cause: &KafkaError) -> bool {
    matches!(cause, KafkaError::Transaction(cause) if cause.is_retriable())
}

fn wants_abort(cause: &KafkaError) -> bool {
    matches!(cause, KafkaError::Transaction(cause) if cause.txn_requires_abort())
}

/// Calls until it is done or refused for good.
fn insist(call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call() {
            Err(cause) if is_to_be_tried_again(&cause) && Instant::now() < deadline => {}
            done => return done,
        }
    }
}

fn commit(producer: &FutureProducer) -> Told {
    match insist(|| producer.commit_transaction(PATIENCE)) {
        Ok(()) => Told::Committed,
        Err(cause) if wants_abort(&cause) => abort(producer),
        Err(_) => Told::Nothing,
    }
}

fn abort(producer: &FutureProducer) -> Told {
    match insist(|| producer.abort_transaction(PATIENCE)) {
        Ok(()) => Told::Aborted,
        Err(_) => Told::Nothing,
    }
}

/// A generator of numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % limit
    }
}

/// A transaction's records by partition, in their order.
type Sent = BTreeMap<i32, Vec<String>>;

/// Commits and aborts transactions until told to stop; gives all with what was told of them.
fn run_producer(
    cluster: &Cluster,
    topic: &str,
    number: u64,
    (stop, progress): (&AtomicBool, &AtomicU64),
) -> Vec<(Sent, Told)> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (number + 1));
    let id = unique("t");
    let mut producer = transactional(cluster, &id, &QUICK);
    let mut ended = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        producer.begin_transaction().unwrap();
        let mut sent = Sent::new();
        for record in 0..random.below(40) {
            let partition = i32::try_from(random.below(2)).unwrap();
            let value = format!("{number} {} {record}", ended.len());
            let enqueued = FutureRecord::<str, _>::to(topic)
                .payload(&value)
                .partition(partition);
            // Whether it is stored is told by the end of the transaction.
            if producer.send_result(enqueued).is_err() {
                break;
            }
            sent.entry(partition).or_default().push(value);
        }
        let told = match random.below(3) {
            0 => abort(&producer),
            _ => commit(&producer),
        };
        if told == Told::Nothing {
            producer = transactional(cluster, &id, &QUICK);
        }
        ended.push((sent, told));
        progress.fetch_add(1, Ordering::Relaxed);
    }
    ended
}

/// What a reader of committed records finds in a partition.
fn read_all(cluster: &Cluster, topic: &str, partition: i32) -> Vec<String> {
    let settings = [
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
        ("check.crcs", "true"),
    ];
    let consumer = cluster.consumer(&settings);
    assign(&consumer, topic, partition, Offset::Beginning);
    let mut found = Vec::new();
    loop {
        match consumer.poll(PATIENCE).expect("the end is told") {
            Ok(record) => {
                found.push(String::from_utf8(record.payload().unwrap().to_vec()).unwrap());
            }
            Err(KafkaError::PartitionEOF(_)) => return found,
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// Kills and restarts the broker, each time after some more progress of the load.
fn kill_now_and_then(process: &mut Process, progress: &AtomicU64, steps: u64) {
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..kills() {
        let due = progress.load(Ordering::Relaxed) + steps;
        wait_until(|| progress.load(Ordering::Relaxed) >= due);
        // Each kill comes at another point of the transactions that are open now.
        thread::sleep(Duration::from_millis(random.below(150)));
        process.kill();
        process.restart();
    }
}

/// Reads while all that happens, until there is as much as at the end.
fn read_live(cluster: &Cluster, topic: &str, partition: i32, total: &AtomicUsize) -> Vec<String> {
    let committed = [
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "error"),
    ];
    let consumer = cluster.consumer(&[&QUICK[..2], &committed].concat());
    assign(&consumer, topic, partition, Offset::Offset(0));
    let mut found = Vec::new();
    let mut heard = Instant::now();
    while found.len() < total.load(Ordering::Relaxed) {
        assert!(heard.elapsed() < PATIENCE, "nothing more comes");
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(record)) => {
                found.push(String::from_utf8(record.payload().unwrap().to_vec()).unwrap());
                heard = Instant::now();
            }
            // The broker is away for a moment.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(failure)) => panic!("{failure}"),
        }
    }
    found
}

#[test]
fn committed_transactions_outlast_kills_whole_and_aborted_ones_are_never_seen() {
    let mut process = Process::start();
    let cluster = process.cluster().beside();
    let topic = &cluster.topic(PARTITIONS, &[("segment.bytes", "1048576")]);
    let (stop, progress) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let totals: Vec<AtomicUsize> = (0..PARTITIONS)
        .map(|_| AtomicUsize::new(usize::MAX))
        .collect();
    let (ended, found) = thread::scope(|scope| {
        let readers: Vec<_> = (0..)
            .zip(&totals)
            .map(|(partition, total)| {
                let cluster = cluster.beside();
                scope.spawn(move || read_live(&cluster, topic, partition, total))
            })
            .collect();
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let cluster = cluster.beside();
                scope.spawn(move || run_producer(&cluster, topic, number, (stop, progress)))
            })
            .collect();
        kill_now_and_then(&mut process, progress, 6);
        stop.store(true, Ordering::Relaxed);
        let all = producers.into_iter();
        let ended: Vec<(Sent, Told)> = all.flat_map(|producer| producer.join().unwrap()).collect();
        let found: Vec<Vec<String>> = (0..PARTITIONS)
            .map(|partition| read_all(&cluster, topic, partition))
            .collect();
        for ((reader, total), found) in readers.into_iter().zip(&totals).zip(&found) {
            total.store(found.len(), Ordering::Relaxed);
            assert!(
                reader.join().unwrap() == *found,
                "a live reader saw something else"
            );
        }
        (ended, found)
    });
    check_oracle(&ended, &found);
}

/// Holds what is there against what the producers were told.
fn check_oracle(ended: &[(Sent, Told)], found: &[Vec<String>]) {
    let in_partition = |partition: i32| &found[usize::try_from(partition).unwrap()];
    let is_there = |sent: &Sent| {
        let mut all = sent.iter();
        all.all(|(partition, values)| {
            // Of one producer's transaction, the records stand together in their order.
            let of_producer: Vec<&String> = in_partition(*partition)
                .iter()
                .filter(|value| value.split(' ').next() == values[0].split(' ').next())
                .collect();
            let start = of_producer.iter().position(|value| **value == values[0]);
            let there = start.and_then(|start| of_producer.get(start..start + values.len()));
            there.is_some_and(|there| there.iter().zip(values).all(|(a, b)| *a == b))
        })
    };
    let mut expected = 0;
    let mut committed = 0;
    for (sent, told) in ended {
        let records: usize = sent.values().map(Vec::len).sum();
        let counts = match told {
            Told::Committed => true,
            Told::Aborted => false,
            // It may have ended either way, as a whole: the number of records below shows it.
            Told::Nothing => records > 0 && is_there(sent),
        };
        if counts {
            assert!(is_there(sent), "a committed transaction is not whole");
            expected += records;
            committed += 1;
        }
    }
    assert!(
        committed > 10,
        "only {committed} transactions of {}",
        ended.len()
    );
    // Nothing twice, and nothing of what was aborted.
    assert_eq!(found.iter().map(Vec::len).sum::<usize>(), expected);
    for values in found {
        let mut last = BTreeMap::new();
        for value in values {
            let numbers: Vec<u64> = value.split(' ').map(|part| part.parse().unwrap()).collect();
            let before = last.insert(numbers[0], numbers.clone());
            assert!(before < Some(numbers), "{value} is out of order");
        }
    }
}

/// Where a group goes on.
fn committed_offset(consumer: &BaseConsumer, topic: &str) -> i64 {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.committed_offsets(asked.clone(), PATIENCE) {
            Ok(found) => {
                let found = found.find_partition(topic, 0).unwrap().offset();
                return found.to_raw().filter(|offset| *offset >= 0).unwrap_or(0);
            }
            Err(cause) => assert!(Instant::now() < deadline, "{cause}"),
        }
    }
}

/// Copies a topic to another, a few records to a transaction, until all are committed.
fn copy(cluster: &Cluster, (input, output): (&str, &str), count: i64, progress: &AtomicU64) {
    let group = unique("group");
    let settings = [&QUICK[..2], &[("group.id", &group)]].concat();
    let consumer = cluster.consumer(&settings);
    let id = unique("t");
    let mut producer = transactional(cluster, &id, &QUICK);
    let mut at = 0;
    assign(&consumer, input, 0, Offset::Offset(at));
    while at < count {
        producer.begin_transaction().unwrap();
        let until = (at + 60).min(count);
        let mut next = at;
        while next < until {
            // A broker that is away is no more than a pause.
            let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            assert_eq!(record.offset(), next);
            let copied = FutureRecord::<str, [u8]>::to(output)
                .payload(record.payload().unwrap())
                .partition(0);
            if producer.send_result(copied).is_err() {
                break;
            }
            next += 1;
        }
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(input, 0, Offset::Offset(next))
            .unwrap();
        let membership = consumer.group_metadata().unwrap();
        let added =
            insist(|| producer.send_offsets_to_transaction(&offsets, &membership, PATIENCE));
        let told = match added {
            Ok(()) => commit(&producer),
            Err(_) => abort(&producer),
        };
        if told == Told::Committed {
            at = next;
            progress.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        if told == Told::Nothing {
            producer = transactional(cluster, &id, &QUICK);
        }
        at = committed_offset(&consumer, input);
        assign(&consumer, input, 0, Offset::Offset(at));
    }
}

#[test]
fn a_copy_made_in_transactions_through_kills_is_exact() {
    let mut process = Process::start();
    let cluster = process.cluster().beside();
    let (input, output) = (cluster.topic(1, &[]), cluster.topic(1, &[]));
    // Enough for some transactions before each kill.
    let count = i64::from(kills()) * 300;
    let progress = AtomicU64::new(0);
    send_numbered(&cluster, &cluster.producer(&[]), &input, 0..count);
    thread::scope(|scope| {
        let (beside, progress) = (cluster.beside(), &progress);
        let names = (input.as_str(), output.as_str());
        let copying = scope.spawn(move || copy(&beside, names, count, progress));
        kill_now_and_then(&mut process, progress, 2);
        copying.join().unwrap();
    });
    let expected: Vec<String> = (0..count)
        .map(|number| format!("record {number}"))
        .collect();
    assert_eq!(read_all(&cluster, &output, 0), expected);
}
