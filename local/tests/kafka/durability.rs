//! What a broker keeps when the machine fails it: a full disk, a lost power supply, damaged files.
//!
//! Some of it needs a file system of its own, which only root may have: where the tests do not run
//! as root they use `sudo`, and fail without.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::Consumer;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset};
use tempfile::TempDir;

use crate::cluster::{Cluster, Launch, PATIENCE, Process};
use crate::records::{assign, expect_numbered, next, send, send_numbered};

/// A number from the environment, or the usual one, which is small.
pub(crate) fn size(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().unwrap())
}

fn as_root(words: &[&str]) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|meta| {
        use std::os::unix::fs::MetadataExt;
        meta.uid() == 0
    });
    let sudo: &[&str] = if is_root { &[] } else { &["sudo", "-n"] };
    let mut all = sudo.iter().chain(words);
    let mut command = Command::new(all.next().unwrap());
    command.args(all);
    command
}

#[track_caller]
fn run(words: &[&str]) {
    let output = as_root(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// A small file system in memory that only the broker's process sees.
struct SmallDisk {
    holder: Child,
    mount_point: TempDir,
}

impl SmallDisk {
    fn new(megabytes: u32) -> Self {
        let mount_point = tempfile::tempdir().unwrap();
        let path = mount_point.path().display();
        // Whoever holds the namespace keeps what is mounted in it.
        let script =
            format!("mount -t tmpfs -o size={megabytes}m tmpfs {path} && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 8];
        let mut output = holder.stdout.take().unwrap();
        std::io::Read::read_exact(&mut output, &mut said).expect("a file system can be mounted");
        Self {
            holder,
            mount_point,
        }
    }

    fn broker(&self) -> Process {
        let holder = self.holder.id().to_string();
        let through = [
            "nsenter",
            "-t",
            &holder,
            "-U",
            "-m",
            "--preserve-credentials",
        ];
        Process::launch(Launch {
            through: through.map(str::to_owned).to_vec(),
            directory: self.mount_point.path().join("data"),
            settings: vec!["retention-interval-ms=50".to_owned()],
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Sends a record; gives its offset unless it was refused.
fn try_send(
    cluster: &Cluster,
    producer: &FutureProducer,
    topic: &str,
    value: &[u8],
) -> Option<i64> {
    let record = FutureRecord::to(topic).key("k").payload(value).partition(0);
    let sent = cluster.wait(producer.send(record, PATIENCE));
    sent.ok().map(|delivery| delivery.offset)
}

#[test]
fn a_full_disk_refuses_records_and_loses_none() {
    let disk = SmallDisk::new(24);
    let mut process = disk.broker();
    let ballast = process.cluster().topic(1, &[]);
    let topic = process.cluster().topic(1, &[("segment.bytes", "1048576")]);
    let value = |number: i64| {
        let mut value = vec![b'x'; 100_000];
        value[..8].copy_from_slice(&number.to_be_bytes());
        value
    };
    let settings = [("message.timeout.ms", "1000"), ("retries", "0")];
    let producer = process.cluster().producer(&settings);
    for number in 0..100 {
        try_send(process.cluster(), &producer, &ballast, &value(number)).expect("there is room");
    }
    let mut stored = Vec::new();
    let mut number = 0;
    let mut refused = 0;
    let mut fill = |process: &Process, stored: &mut Vec<i64>, refused: &mut i32| {
        let (before, until) = (*refused, *refused + 3);
        while *refused < until {
            match try_send(process.cluster(), &producer, &topic, &value(number)) {
                Some(offset) => {
                    assert!(before < *refused || offset == i64::try_from(stored.len()).unwrap());
                    stored.push(number);
                }
                None => *refused += 1,
            }
            number += 1;
            assert!(number < 1_000, "the disk is never full");
        }
    };
    fill(&process, &mut stored, &mut refused);
    assert!(stored.len() > 50, "{}", stored.len());
    check(process.cluster(), &topic, &stored);
    // A restart on the full disk, and what becomes free is used.
    process.kill();
    process.restart();
    check(process.cluster(), &topic, &stored);
    let deleted = process.cluster().admin();
    let deleted = deleted.delete_topics(&[&ballast], &AdminOptions::new());
    assert!(process.cluster().wait(deleted).unwrap()[0].is_ok());
    fill(&process, &mut stored, &mut refused);
    assert!(stored.len() > 130, "{}", stored.len());
    process.kill();
    process.restart();
    check(process.cluster(), &topic, &stored);

    fn check(cluster: &Cluster, topic: &str, stored: &[i64]) {
        let consumer = cluster.consumer(&[("check.crcs", "true")]);
        assign(&consumer, topic, 0, Offset::Beginning);
        for number in stored {
            let record = next(&consumer);
            assert_eq!(record.payload().unwrap()[..8], number.to_be_bytes());
        }
        let ends = consumer.fetch_watermarks(topic, 0, PATIENCE).unwrap();
        assert_eq!(ends, (0, i64::try_from(stored.len()).unwrap()));
    }
}

/// The files of the only topic's first partition with an extension, by name.
fn files(process: &Process, extension: &str) -> Vec<PathBuf> {
    let topics = fs::read_dir(process.directory().join("topics")).unwrap();
    let topic = topics.map(|topic| topic.unwrap().path()).next().unwrap();
    let files = fs::read_dir(topic.join("0")).unwrap();
    let mut paths: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

#[test]
fn torn_tails_and_lost_indexes_are_mended_at_the_start() {
    let mut process = Process::start();
    let topic = process.cluster().topic(1, &[("segment.bytes", "1048576")]);
    let producer = process.cluster().producer(&[]);
    for _ in 0..25 {
        send(process.cluster(), &producer, &topic, "k", &[b'x'; 100_000]);
    }
    let mut count = 25;
    type Damage = fn(&Process);
    let damages: [Damage; 6] = [
        |process| {
            let log = files(process, "log").pop().unwrap();
            let whole = fs::read(&log).unwrap();
            let mut log = fs::OpenOptions::new().append(true).open(log).unwrap();
            log.write_all(&whole[..whole.len().min(5_000)]).unwrap();
        },
        |process| {
            let log = files(process, "log").pop().unwrap();
            let mut log = fs::OpenOptions::new().append(true).open(log).unwrap();
            log.write_all(&[0; 10_000]).unwrap();
        },
        |process| {
            for index in files(process, "index") {
                fs::remove_file(index).unwrap();
            }
        },
        |process| {
            for index in files(process, "index") {
                let bytes = fs::read(&index).unwrap();
                fs::write(&index, &bytes[..bytes.len() / 2 + 1]).unwrap();
            }
        },
        |process| {
            let checkpoint = files(process, "json").pop().unwrap();
            fs::write(checkpoint, "{").unwrap();
        },
        |process| {
            let log = files(process, "log").pop().unwrap();
            fs::write(
                log.with_file_name("00000000000000000000-00000000000000000009.compacting"),
                "x",
            )
            .unwrap();
        },
    ];
    for damage in damages {
        process.kill();
        damage(&process);
        process.restart();
        let consumer = process.cluster().consumer(&[("check.crcs", "true")]);
        assign(&consumer, &topic, 0, Offset::Beginning);
        for offset in 0..count {
            assert_eq!(next(&consumer).offset(), offset);
        }
        let producer = process.cluster().producer(&[]);
        assert_eq!(
            send(process.cluster(), &producer, &topic, "k", &[b'y'; 50_000]),
            count
        );
        count += 1;
    }
}

/// A file system on a file, of which a copy is what the disk has when the power fails: everything
/// that was forced there, and nothing else.
struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
}

impl Disk {
    fn mount(image: PathBuf) -> Self {
        let mount_point = image.with_extension("mounted");
        fs::create_dir(&mount_point).unwrap();
        // Nothing is written by itself for longer than a test takes.
        let options = "loop,commit=600";
        run(&["mount", "-o", options, path(&image), path(&mount_point)]);
        let owner = fs::metadata(image.parent().unwrap()).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&owner).to_string();
        run(&["chown", &owner, path(&mount_point)]);
        Self { image, mount_point }
    }

    fn broker(&self, settings: &[&str]) -> Process {
        let directory = self.mount_point.join("data");
        let identity = directory.join("broker.json");
        if let Ok(text) = fs::read_to_string(&identity) {
            // The machine has started anew.
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            assert!(text.contains(boot.trim()));
            fs::write(&identity, text.replace(boot.trim(), "another")).unwrap();
        }
        Process::launch(Launch {
            through: Vec::new(),
            directory,
            settings: settings
                .iter()
                .map(|setting| (*setting).to_owned())
                .collect(),
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(&["umount", path(&self.mount_point)]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Loads a broker, cuts its power, and gives what it had acknowledged: how many of the numbered
/// records, and of the rounds of the compacted topic. Then hands over a broker on what is left.
fn after_power_loss(
    settings: &[&str],
    records: i64,
    check: impl FnOnce(&Cluster, &[String; 2], i64, &[i64]),
) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("disk");
    let file = fs::File::create(&image).unwrap();
    file.set_len(96 << 20).unwrap();
    run(&["mkfs.ext4", "-q", "-F", path(&image)]);
    let disk = Disk::mount(image);
    // The empty file system is on the disk.
    run(&["sync", "-f", path(&disk.mount_point)]);
    let mut process = disk.broker(settings);
    let cluster = process.cluster();
    let topics = [
        cluster.topic(1, &[("segment.bytes", "1048576")]),
        cluster.topic(
            1,
            &[
                ("segment.bytes", "1048576"),
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0.001"),
            ],
        ),
    ];
    let producer = cluster.producer(&[("batch.num.messages", "10")]);
    let mut rounds = Vec::new();
    let mut sent = 0;
    while sent < records {
        send_numbered(cluster, &producer, &topics[0], sent..sent + 50);
        sent += 50;
        let mut value = vec![b'x'; 100_000];
        value[..8].copy_from_slice(&sent.to_be_bytes());
        send(cluster, &producer, &topics[1], "k", &value);
        rounds.push(sent);
    }
    process.kill();
    let left = disk.image.with_file_name("left");
    fs::copy(&disk.image, &left).unwrap();
    drop(process);
    drop(disk);

    let disk = Disk::mount(left);
    let process = disk.broker(settings);
    check(process.cluster(), &topics, sent, &rounds);
    drop(process);
}

#[test]
fn a_power_loss_takes_nothing_acknowledged_where_each_request_is_forced() {
    for loss in 0..size("TEST_KAFKA_POWER_LOSSES", 2) {
        let records = 1_000 + i64::try_from(loss % 10).unwrap() * 150;
        let settings = ["fsync=each-request", "compaction-interval-ms=20"];
        after_power_loss(&settings, records, |cluster, topics, sent, rounds| {
            let consumer = cluster.consumer(&[("check.crcs", "true")]);
            assign(&consumer, &topics[0], 0, Offset::Beginning);
            expect_numbered(&consumer, 0..sent);
            let ends = consumer.fetch_watermarks(&topics[0], 0, PATIENCE).unwrap();
            assert_eq!(ends, (0, sent));
            // Of the compacted topic the last record of the key is there, whatever else.
            let count = i64::try_from(rounds.len()).unwrap();
            assert_eq!(
                consumer
                    .fetch_watermarks(&topics[1], 0, PATIENCE)
                    .unwrap()
                    .1,
                count
            );
            assign(&consumer, &topics[1], 0, Offset::Offset(count - 1));
            let last = rounds.last().unwrap();
            assert_eq!(next(&consumer).payload().unwrap()[..8], last.to_be_bytes());
            let producer = cluster.producer(&[]);
            send_numbered(cluster, &producer, &topics[0], sent..sent + 10);
        });
    }
}

#[test]
fn a_power_loss_leaves_a_beginning_of_what_was_sent_where_requests_are_not_forced() {
    for fsync in ["fsync=operating-system", "fsync=20"] {
        let settings = [fsync, "compaction-interval-ms=20"];
        after_power_loss(&settings, 1_000, |cluster, topics, sent, rounds| {
            let consumer = cluster.consumer(&[("check.crcs", "true")]);
            let (start, end) = consumer.fetch_watermarks(&topics[0], 0, PATIENCE).unwrap();
            println!("{fsync}: {end} of {sent} records are left");
            assert!(start == 0 && end <= sent, "{start} to {end} of {sent}");
            assign(&consumer, &topics[0], 0, Offset::Beginning);
            expect_numbered(&consumer, 0..end);
            let (_, end) = consumer.fetch_watermarks(&topics[1], 0, PATIENCE).unwrap();
            assert!(end <= i64::try_from(rounds.len()).unwrap());
            if end > 0 {
                assign(&consumer, &topics[1], 0, Offset::Offset(end - 1));
                let last = rounds[usize::try_from(end - 1).unwrap()];
                assert_eq!(next(&consumer).payload().unwrap()[..8], last.to_be_bytes());
            }
            // It goes on from there.
            let producer = cluster.producer(&[]);
            let offset = send(cluster, &producer, &topics[0], "k", b"after");
            assign(&consumer, &topics[0], 0, Offset::Offset(offset));
            assert_eq!(next(&consumer).payload(), Some(&b"after"[..]));
        });
    }
}

/// The time of a start, as the broker's process has it until it says where it serves.
#[test]
fn a_start_takes_no_longer_with_a_large_log() {
    let megabytes = size("TEST_KAFKA_LOG_MB", 200);
    let mut process = Process::start();
    let segment = if megabytes > 2_000 {
        "104857600"
    } else {
        "5242880"
    };
    let topic = process
        .cluster()
        .topic(4, &[("segment.bytes", segment), ("retention.ms", "-1")]);
    let settings = [
        ("batch.size", "1000000"),
        ("queue.buffering.max.kbytes", "65536"),
        ("message.timeout.ms", "300000"),
    ];
    let producer = process.cluster().producer(&settings);
    let value = vec![b'x'; 64 << 10];
    let mut deliveries = std::collections::VecDeque::new();
    let mut count = 0;
    for number in 0..megabytes * 16 {
        let partition = i32::try_from(number % 4).unwrap();
        let record = FutureRecord::<str, _>::to(&topic)
            .payload(&value)
            .partition(partition);
        deliveries.push_back(
            producer
                .send_result(record)
                .map_err(|(cause, _)| cause)
                .unwrap(),
        );
        if deliveries.len() > 500 {
            let delivery: rdkafka::producer::DeliveryFuture = deliveries.pop_front().unwrap();
            process.cluster().wait(delivery).unwrap().unwrap();
        }
        count += 1;
    }
    for delivery in deliveries {
        process.cluster().wait(delivery).unwrap().unwrap();
    }
    for _ in 0..2 {
        process.kill();
        let started = Instant::now();
        process.restart();
        let took = started.elapsed();
        println!("start with {megabytes} MB after a kill: {took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
        let consumer = process.cluster().consumer(&[]);
        let ends = (0..4).map(|number| {
            consumer
                .fetch_watermarks(&topic, number, PATIENCE)
                .unwrap()
                .1
        });
        assert_eq!(ends.sum::<i64>(), count);
    }
}
