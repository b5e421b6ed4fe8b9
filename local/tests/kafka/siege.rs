//! Hostile clients, many at once, against a broker in a process of its own: it neither ends nor grows,
//! and an honest client beside them is served all the while.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::Offset;
use rdkafka::message::Message;

use crate::cluster::{PATIENCE, Process};
use crate::hostile::{expect_end, sound_requests};
use crate::records::{assign, next, send};
use crate::transactions::wait_until;
use crate::wire::{connect, exchange, frame, response};

/// Between two rounds of the honest client, so that it leaves the processor to the others.
const PAUSE: Duration = Duration::from_millis(2);

/// The longest that the honest client may wait for a record of its own.
const ROUND_MAX: Duration = Duration::from_secs(5);

const MIB: u64 = 1 << 20;

/// How often the honest client has sent a record and got it back.
struct Rounds(AtomicI64);

impl Rounds {
    /// Waits until it has done so once more, from beginning to end.
    fn wait_for_another(&self) {
        let before = self.0.load(Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while self.0.load(Ordering::Relaxed) < before + 2 {
            assert!(Instant::now() < deadline, "the honest client stands still");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Has an honest client send records and read them again while `hostile` acts, and checks that the
/// broker's memory grows by no more than `growth_max` bytes meanwhile.
#[track_caller]
fn besiege(broker: &Process, growth_max: u64, hostile: impl FnOnce(&Rounds)) {
    let cluster = broker.cluster();
    let topic = cluster.topic(1, &[]);
    let (producer, consumer) = (cluster.producer(&[]), cluster.consumer(&[]));
    assign(&consumer, &topic, 0, Offset::Beginning);
    let rounds = Rounds(AtomicI64::new(0));
    let round = || {
        let start = Instant::now();
        let number = rounds.0.load(Ordering::Relaxed);
        let value = number.to_string();
        send(cluster, &producer, &topic, "k", value.as_bytes());
        assert_eq!(next(&consumer).payload(), Some(value.as_bytes()));
        rounds.0.store(number + 1, Ordering::Relaxed);
        start.elapsed()
    };
    // It is connected before the others come.
    round();
    let before = peak_memory(broker);
    let over = AtomicBool::new(false);
    let slowest = thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                slowest = slowest.max(round());
                thread::sleep(PAUSE);
            }
            slowest
        });
        let over = SetWhenDropped(&over);
        hostile(&rounds);
        rounds.wait_for_another();
        drop(over);
        honest.join().unwrap()
    });
    let growth = peak_memory(broker) - before;
    println!(
        "{} rounds, the slowest {slowest:?}; {} KiB more memory",
        rounds.0.load(Ordering::Relaxed),
        growth / 1024
    );
    assert!(slowest < ROUND_MAX, "a round took {slowest:?}");
    assert!(growth < growth_max, "memory grew by {growth} bytes");
    check_served(broker);
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most memory that a process ever had resident, in bytes.
fn peak_memory(broker: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// Expects that a client that comes now is served, as soon as the broker knows that others left.
#[track_caller]
fn check_served(broker: &Process) {
    let deadline = Instant::now() + PATIENCE;
    let served = || {
        let mut stream = connect(broker.cluster().bootstrap());
        let sent = stream.write_all(&frame(0, 1, &ApiVersionsRequest::default()));
        sent.is_ok() && response::<ApiVersionsRequest>(&mut stream, 0).is_ok()
    };
    while !served() {
        assert!(Instant::now() < deadline, "nobody is served any more");
    }
}

fn named(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

#[test]
fn of_ten_thousand_connections_those_beyond_the_limit_are_closed() {
    const CONNECTIONS: usize = 10_000;
    const LIMIT: usize = 500;
    raise_limit_of_open_files();
    let broker = Process::start();
    besiege(&broker, 64 * MIB, |_| {
        let bootstrap = broker.cluster().bootstrap();
        let mut streams: Vec<TcpStream> = Vec::new();
        let mut open = 0;
        let deadline = Instant::now() + PATIENCE;
        // No more at once than the kernel's queue holds, or its patience is what is measured.
        while streams.len() < CONNECTIONS {
            streams.extend((0..LIMIT).map(|_| connect(bootstrap)));
            open = count_open(&streams);
            while open > LIMIT {
                assert!(Instant::now() < deadline, "{open} connections stay open");
                open = count_open(&streams);
            }
        }
        // The honest client has some of the places.
        assert!(open > LIMIT - 20, "only {open} connections are open");
    });
    let log = broker.log();
    let told = log
        .lines()
        .filter(|line| line.contains("there are too many"));
    let told = told.count();
    assert!((1..100).contains(&told), "it is told in {told} lines");
}

/// For this process, which has one end of each connection.
fn raise_limit_of_open_files() {
    let process = std::process::id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &process, "--nofile=12000:"])
        .status();
    let raised = raised.expect("prlimit, of the Debian package util-linux");
    assert!(raised.success(), "12,000 files may not be opened here");
}

fn count_open(streams: &[TcpStream]) -> usize {
    let is_open = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let seen = stream.peek(&mut [0]);
        seen.is_err_and(|failure| failure.kind() == ErrorKind::WouldBlock)
    };
    streams.iter().filter(is_open).count()
}

#[test]
fn requests_that_are_announced_and_not_sent_take_neither_memory_nor_places() {
    let broker = Process::start();
    let cluster = broker.cluster();
    let topic = cluster.topic(1, &[("max.message.bytes", "20000000")]);
    let large = cluster.producer(&[("message.max.bytes", "20000000")]);
    besiege(&broker, 100 * MIB, |rounds| {
        let announce = |_| {
            let mut stream = connect(cluster.bootstrap());
            stream.write_all(&(100u32 << 20).to_be_bytes()).unwrap();
            stream.write_all(&[0; 1000]).unwrap();
            stream
        };
        let streams: Vec<TcpStream> = (0..400).map(announce).collect();
        rounds.wait_for_another();
        // A request of several megabytes needs one of few places.
        send(cluster, &large, &topic, "k", &vec![b'x'; 8 << 20]);
        drop(streams);
    });
}

#[test]
fn slow_clients_are_waited_for_by_nobody_else() {
    let broker = Process::start();
    besiege(&broker, 32 * MIB, |rounds| {
        let bootstrap = broker.cluster().bootstrap();
        let mut streams: Vec<TcpStream> = (0..300).map(|_| connect(bootstrap)).collect();
        for byte in frame(0, 7, &ApiVersionsRequest::default()) {
            for stream in &mut streams {
                stream.write_all(&[byte]).unwrap();
            }
            rounds.wait_for_another();
        }
        for stream in &mut streams {
            let (id, _) = response::<ApiVersionsRequest>(stream, 0).unwrap();
            assert_eq!(id, 7);
        }
    });
}

#[test]
fn clients_that_never_read_hold_little_more_than_an_answer_each() {
    const CLIENTS: usize = 30;
    const RECORDS: usize = 8;
    let broker = Process::start();
    let cluster = broker.cluster();
    let topic = cluster.topic(1, &[]);
    let producer = cluster.producer(&[]);
    for _ in 0..RECORDS {
        send(cluster, &producer, &topic, "k", &[b'x'; 500_000]);
    }
    let partition = FetchPartition::default().with_partition_max_bytes(i32::MAX);
    let wanted = FetchTopic::default()
        .with_topic(named(&topic))
        .with_partitions(vec![partition]);
    let fetch = FetchRequest::default()
        .with_max_bytes(i32::MAX)
        .with_topics(vec![wanted]);
    let many = frame(12, 1, &fetch).repeat(1000);
    // 2 MiB are the longest answer; a job that reads another for the next has as much.
    besiege(&broker, 150 * MIB, |rounds| {
        let ask = |_| {
            let mut stream = connect(cluster.bootstrap());
            stream.set_nonblocking(true).unwrap();
            // What the broker does not take is not sent.
            let _ = stream.write(&many);
            stream
        };
        let streams: Vec<TcpStream> = (0..CLIENTS).map(ask).collect();
        for _ in 0..20 {
            rounds.wait_for_another();
        }
        drop(streams);
    });
}

#[test]
fn requests_that_are_cut_short_are_not_answered() {
    let broker = Process::start();
    let cluster = broker.cluster();
    let topic = named(&cluster.topic(1, &[]));
    besiege(&broker, 32 * MIB, |_| {
        for request in sound_requests(&topic) {
            for length in 1..request.len() {
                let mut stream = connect(cluster.bootstrap());
                stream.write_all(&request[..length]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                expect_end(&mut stream);
            }
        }
    });
}

#[test]
fn lengths_inside_of_requests_take_no_memory() {
    let broker = Process::start();
    let cluster = broker.cluster();
    let topic = named(&cluster.topic(1, &[]));
    let lengths: [&[u8]; 3] = [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x07", b"\x80\0\0\0"];
    besiege(&broker, 64 * MIB, |_| {
        for request in sound_requests(&topic) {
            // The frame's own length stays, and what kind of request it is.
            for at in 8..request.len() - 5 {
                for length in lengths {
                    let mut request = request.to_vec();
                    request[at..at + length.len()].copy_from_slice(length);
                    let mut stream = connect(cluster.bootstrap());
                    stream.write_all(&request).unwrap();
                }
            }
        }
    });
}

#[test]
fn a_batch_that_decompresses_to_gigabytes_is_searched_within_bounds() {
    let broker = Process::start();
    let topic = store_bomb(&broker, 64 << 10);
    let mut stream = connect(broker.cluster().bootstrap());
    besiege(&broker, 32 * MIB, |_| {
        for _ in 0..10 {
            let found = exchange(&mut stream, 5, &search(&topic, 1));
            let partition = &found.topics[0].partitions[0];
            assert_eq!((partition.error_code, partition.offset), (0, -1));
        }
    });
}

#[test]
fn a_batch_that_decompresses_to_gigabytes_arrives_within_bounds() {
    let broker = Process::start();
    let cluster = broker.cluster();
    // Records of the second must have keys, for which a broker may look.
    let topics = [&[][..], &[("cleanup.policy", "compact")]];
    let topics = topics.map(|settings| named(&cluster.topic(1, settings)));
    let mut stream = connect(cluster.bootstrap());
    besiege(&broker, 32 * MIB, |_| {
        for topic in &topics {
            for _ in 0..3 {
                // Taken or refused.
                exchange(&mut stream, 9, &produce(topic, bomb(64 << 10)));
            }
        }
    });
}

#[test]
fn batches_that_decompress_to_much_are_compacted_within_bounds() {
    // Nearly as much as a batch may become.
    const BLOCKS: usize = 900;
    let broker = Process::start_with(&["compaction-interval-ms=50"]);
    let cluster = broker.cluster();
    let eager = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    let topic = cluster.topic(1, &eager);
    let producer = cluster.producer(&[]);
    let mut stream = connect(cluster.bootstrap());
    besiege(&broker, 64 * MIB, |_| {
        for key in b"abc" {
            let batch = pair(*key, BLOCKS);
            let stored = exchange(&mut stream, 9, &produce(&named(&topic), batch));
            assert_eq!(stored.responses[0].partition_responses[0].error_code, 0);
        }
        // What ends their segment.
        for number in 0..4 {
            let value = vec![b'x'; 500_000];
            send(cluster, &producer, &topic, &number.to_string(), &value);
        }
        // The last batch has both its records, the others one each.
        wait_until(|| record_counts(&mut stream, &topic).starts_with(&[1, 1, 2]));
    });
}

/// How many records each batch has from the beginning of a topic on, as the batches say it.
fn record_counts(stream: &mut TcpStream, topic: &str) -> Vec<i32> {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let wanted = FetchTopic::default()
        .with_topic(named(topic))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_topics(vec![wanted]);
    let answer = exchange(stream, 12, &request);
    let records = answer.responses[0].partitions[0].records.clone();
    let mut rest = &records.unwrap_or_default()[..];
    let mut counts = Vec::new();
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_be_bytes(length.try_into().unwrap());
        let Some((batch, after)) = rest.split_at_checked(12 + usize::try_from(length).unwrap())
        else {
            break;
        };
        counts.push(i32::from_be_bytes(batch[57..61].try_into().unwrap()));
        rest = after;
    }
    counts
}

#[test]
fn long_searches_let_others_have_their_turn() {
    let broker = Process::start();
    let topic = store_bomb(&broker, 32);
    let many = frame(5, 1, &search(&topic, 10_000));
    // More than the disk's jobs, in case each search should take one for itself.
    besiege(&broker, 64 * MIB, |rounds| {
        let ask = |_| {
            let mut stream = connect(broker.cluster().bootstrap());
            stream.write_all(&many).unwrap();
            stream
        };
        let streams: Vec<TcpStream> = (0..20).map(ask).collect();
        for _ in 0..5 {
            rounds.wait_for_another();
        }
        drop(streams);
    });
}

/// The time of the only record of a bomb.
const BOMB_TIME: i64 = 1_000_000;

/// A topic with one batch that is a bomb of so many times 128 KiB.
fn store_bomb(broker: &Process, blocks: usize) -> TopicName {
    let topic = named(&broker.cluster().topic(1, &[]));
    let mut stream = connect(broker.cluster().bootstrap());
    let stored = exchange(&mut stream, 9, &produce(&topic, bomb(blocks)));
    assert_eq!(stored.responses[0].partition_responses[0].error_code, 0);
    topic
}

fn produce(topic: &TopicName, batch: Vec<u8>) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(batch.into()));
    let data = TopicProduceData::default()
        .with_name(topic.clone())
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(1)
        .with_topic_data(vec![data])
}

/// Asks for a time that is later than the only record's, so that all of it is gone through.
fn search(topic: &TopicName, times: usize) -> ListOffsetsRequest {
    let wanted = ListOffsetsPartition::default().with_timestamp(BOMB_TIME + 1);
    let wanted = ListOffsetsTopic::default()
        .with_name(topic.clone())
        .with_partitions(vec![wanted; times]);
    ListOffsetsRequest::default().with_topics(vec![wanted])
}

/// A batch of one record of so many blocks, with a later time in the batch's header.
fn bomb(blocks: usize) -> Vec<u8> {
    // Its length as a varint, then attributes and deltas of zero.
    zeros_after(b"\x80\x80\x80\x80\x40\0\0\0", 1, blocks)
}

/// A batch of a short record whose key is empty, and one whose key is `key` and whose value is of so
/// many blocks.
fn pair(key: u8, blocks: usize) -> Vec<u8> {
    // All zero: attributes, deltas, the lengths of key and value, the number of headers.
    let short = [&varint(6)[..], &[0; 6]].concat();
    // The last zero of the blocks is the number of headers.
    let value = varint(blocks * BLOCK - 1);
    let start = [&[0, 0][..], &varint(1), &varint(1), &[key], &value].concat();
    let length = varint(start.len() + blocks * BLOCK);
    zeros_after(&[short, length, start].concat(), 2, blocks)
}

/// A number as records have it, which is not negative.
fn varint(number: usize) -> Vec<u8> {
    let mut rest = number << 1;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// What one block of zstd becomes at most.
const BLOCK: usize = 128 << 10;

/// A batch of so many records, which begin as they are given and end with blocks of zeros.
fn zeros_after(start: &[u8], count: i32, blocks: usize) -> Vec<u8> {
    // RFC 8878: the magic, no content size, a window of 128 KiB; blocks with their size in 21 bits,
    // their kind in 2, and whether they are the last. First the start as it is.
    let block = |size: usize, kind: usize| {
        let header = (size << 3 | kind << 1).to_le_bytes();
        header[..3].to_vec()
    };
    let mut zeros = block(BLOCK, 1);
    zeros.push(0);
    let records = [
        b"\x28\xb5\x2f\xfd\x00\x38".to_vec(),
        block(start.len(), 0),
        start.to_vec(),
        zeros.repeat(blocks),
        b"\x01\0\0".to_vec(),
    ]
    .concat();
    let checked = [
        &4i16.to_be_bytes()[..],    // zstd
        &(count - 1).to_be_bytes(), // last offset delta
        &BOMB_TIME.to_be_bytes(),
        &(BOMB_TIME + 2).to_be_bytes(),
        &(-1i64).to_be_bytes(), // producer id, epoch and sequence
        &(-1i16).to_be_bytes(),
        &(-1i32).to_be_bytes(),
        &count.to_be_bytes(),
        &records,
    ]
    .concat();
    // Leader epoch, format and checksum come before what is checked.
    let length = i32::try_from(checked.len() + 9).unwrap();
    [
        &0i64.to_be_bytes()[..],
        &length.to_be_bytes(),
        &0i32.to_be_bytes(),
        &[2],
        &crc32c::crc32c(&checked).to_be_bytes(),
        &checked,
    ]
    .concat()
}
