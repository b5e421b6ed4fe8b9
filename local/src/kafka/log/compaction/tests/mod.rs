//! What compaction leaves, judged by the record decoder of another maker.

mod interrupted;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use tempfile::TempDir;

use super::*;
use crate::kafka::config::{Config, Fsync};
use crate::kafka::log::{AppendError, FirstBatch, Settings, Trust};
use crate::kafka::topic_config::Cleanup;

const NOW: i64 = 1_700_000_000_000;
const DAY: i64 = 24 * 60 * 60 * 1000;
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// A partition in a directory of its own.
struct Subject {
    directory: TempDir,
    partition: Partition,
}

impl Subject {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let partition = open(directory.path(), Trust::Written);
        Self {
            directory,
            partition,
        }
    }

    fn reopen(&mut self, trust: Trust) {
        self.partition = open(self.directory.path(), trust);
    }

    fn append(&self, batch: &[u8]) -> i64 {
        self.partition
            .append(batch, &config(), NOW)
            .unwrap()
            .base_offset
    }

    /// A pass with the usual settings.
    fn compact(&self) -> Option<Compacted> {
        self.partition.compact(&config(), NOW, &|| true).unwrap()
    }
}

fn open(directory: &Path, trust: Trust) -> Partition {
    let settings = Settings {
        fsync: Fsync::OperatingSystem,
        leader_epoch: 0,
        open_files: Arc::new(tokio::sync::Semaphore::new(1)),
    };
    Partition::open(directory, trust, &settings).unwrap()
}

/// A compacted topic with small segments that is compacted whenever there is anything to do.
fn config() -> TopicConfig {
    let defaults = TopicConfig::new(Default::default(), &Config::new("/")).unwrap();
    TopicConfig {
        segment_bytes: 2_000,
        cleanup: Cleanup::Compact,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: DAY,
        ..defaults
    }
}

#[derive(Clone, Copy)]
struct Producer {
    id: i64,
    sequence: i32,
}

const NOBODY: Producer = Producer {
    id: -1,
    sequence: -1,
};

type Pair<'a> = (Option<&'a str>, Option<&'a str>);

fn batch(pairs: &[Pair<'_>], codec: Compression, producer: Producer) -> Bytes {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let records: Vec<Record> = (0..)
        .zip(pairs)
        .map(|(number, (key, value))| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: producer.id,
            producer_epoch: if producer.id < 0 { -1 } else { 0 },
            timestamp_type: TimestampType::Creation,
            offset: number,
            sequence: producer.sequence + i32::try_from(number).unwrap(),
            timestamp: NOW + number,
            key: key.map(bytes),
            value: value.map(bytes),
            headers: Default::default(),
        })
        .collect();
    let mut encoded = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: codec,
    };
    RecordBatchEncoder::encode(&mut encoded, &records, &options).unwrap();
    encoded.freeze()
}

/// Records of one key each, with a value long enough for a few batches to fill a segment.
fn pairs<'a>(keys: &'a [String], value: &'a str) -> Vec<Pair<'a>> {
    let pair = |key: &'a String| (Some(key.as_str()), Some(value));
    keys.iter().map(pair).collect()
}

/// All records that can be read from an offset on.
fn read_from(partition: &Partition, start: i64) -> Vec<Record> {
    let mut offset = start;
    let mut found = Vec::new();
    while offset < partition.end_offset() {
        let read = partition.read(offset, 700, FirstBatch::Whole).unwrap();
        if read.bytes.is_empty() {
            break;
        }
        let mut rest = read.bytes;
        while !rest.is_empty() {
            let header = BatchHeader::parse(&rest).unwrap();
            header.verify(&rest).unwrap();
            let mut batch = rest.split_to(header.size);
            offset = header.next_offset();
            if header.record_count > 0 {
                found.extend(RecordBatchDecoder::decode(&mut batch).unwrap().records);
            }
        }
    }
    found.retain(|record| record.offset >= start);
    found
}

fn text(bytes: &Option<Bytes>) -> String {
    let bytes = bytes.as_deref().unwrap_or(b"(none)");
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Key and value of every record, by offset.
fn content(partition: &Partition) -> BTreeMap<i64, (String, String)> {
    let records = read_from(partition, partition.start_offset());
    let row = |record: &Record| (record.offset, (text(&record.key), text(&record.value)));
    records.iter().map(row).collect()
}

/// What a reader of the whole log ends up with for each key.
fn state(content: &BTreeMap<i64, (String, String)>) -> BTreeMap<String, String> {
    content.values().cloned().collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key {number}")).collect()
}

#[test]
fn the_last_record_of_each_key_stays_where_it_was_in_every_compression() {
    for codec in CODECS {
        let mut subject = Subject::new();
        let keys = keys(10);
        for round in 0..40 {
            let value = format!("round {round} {}", "x".repeat(40));
            subject.append(&batch(&pairs(&keys, &value), codec, NOBODY));
        }
        let before = content(&subject.partition);
        let until = subject.compact().unwrap().until;
        for reopened in [None, Some(Trust::Written), Some(Trust::Forced)] {
            if let Some(trust) = reopened {
                subject.reopen(trust);
            }
            let after = content(&subject.partition);
            assert_eq!(after.range(..until).count(), 10, "{codec:?}");
            assert_eq!(after.range(until..).count(), before.range(until..).count());
            assert!(after.iter().all(|(offset, row)| before[offset] == *row));
            assert_eq!(state(&after), state(&before));
            assert_eq!(subject.partition.end_offset(), 400);
        }
        // Timestamps are those of before, in what is decoded and in a search.
        for record in read_from(&subject.partition, 0) {
            assert_eq!(record.timestamp, NOW + record.offset % 10);
        }
    }
}

#[test]
fn a_read_in_a_gap_goes_on_behind_it() {
    let subject = Subject::new();
    let keys = keys(10);
    for round in 0..40 {
        let value = format!("round {round} {}", "x".repeat(40));
        subject.append(&batch(&pairs(&keys, &value), Compression::None, NOBODY));
    }
    subject.compact().unwrap();
    let offsets: Vec<i64> = content(&subject.partition).into_keys().collect();
    for start in 0..400 {
        let found = read_from(&subject.partition, start);
        let expected = offsets.iter().copied().filter(|offset| *offset >= start);
        assert!(
            found.iter().map(|record| record.offset).eq(expected),
            "{start}"
        );
    }
}

#[test]
fn tombstones_stay_for_their_time_and_then_go() {
    let mut subject = Subject::new();
    let filler = "x".repeat(300);
    let fill = |subject: &Subject| {
        for _ in 0..8 {
            subject.append(&batch(
                &[(Some("filler"), Some(&filler))],
                Compression::Lz4,
                NOBODY,
            ));
        }
    };
    subject.append(&batch(
        &[(Some("gone"), Some("value"))],
        Compression::None,
        NOBODY,
    ));
    subject.append(&batch(
        &[(Some("gone"), None), (Some("stays"), Some("v"))],
        Compression::Zstd,
        NOBODY,
    ));
    let at = |subject: &Subject, now_ms: i64| {
        subject
            .partition
            .compact(&config(), now_ms, &|| true)
            .unwrap()
    };
    let has = |subject: &Subject| {
        let found = content(&subject.partition);
        let has = |key: &str| found.values().any(|row| row.0 == key);
        assert!(has("stays"));
        has("gone")
    };
    for _ in 0..3 {
        fill(&subject);
    }
    at(&subject, NOW).unwrap();
    assert!(
        !content(&subject.partition)
            .values()
            .any(|row| row.1 == "value")
    );
    // Its time begins with that pass, and the record still has its own.
    subject.reopen(Trust::Written);
    for (now_ms, expected) in [(NOW + DAY - 1, true), (NOW + DAY, false)] {
        let tombstone = read_from(&subject.partition, 0).remove(0);
        assert_eq!((tombstone.timestamp, tombstone.value), (NOW, None));
        for _ in 0..2 {
            fill(&subject);
        }
        at(&subject, now_ms).unwrap();
        assert_eq!(has(&subject), expected);
    }
}

#[test]
fn a_producer_goes_on_although_all_its_records_are_compacted_away() {
    let mut subject = Subject::new();
    let value = "x".repeat(300);
    let one = |sequence: i32| {
        let producer = Producer { id: 7, sequence };
        batch(&[(Some("k"), Some(&value))], Compression::Gzip, producer)
    };
    for sequence in 0..3 {
        subject.append(&one(sequence));
    }
    for _ in 0..40 {
        subject.append(&batch(
            &[(Some("k"), Some(&value))],
            Compression::None,
            NOBODY,
        ));
    }
    subject.compact().unwrap();
    assert_eq!(
        read_from(&subject.partition, 0)
            .iter()
            .filter(|record| record.producer_id == 7)
            .count(),
        0
    );
    // The log alone must tell where the sequence stands.
    fs::remove_file(subject.directory.path().join("checkpoint.json")).unwrap();
    subject.reopen(Trust::Forced);
    assert_eq!(subject.append(&one(2)), 2);
    let gap = subject
        .partition
        .append(&one(4), &config(), NOW)
        .unwrap_err();
    assert!(matches!(gap, AppendError::OutOfOrder { expected: 3, .. }));
    assert_eq!(subject.append(&one(3)), 43);
    // Once the producer has gone on, its emptied batch is of no more use.
    for _ in 0..20 {
        subject.append(&batch(
            &[(Some("k"), Some(&value))],
            Compression::None,
            NOBODY,
        ));
    }
    subject.compact().unwrap();
    let first = subject.partition.read(0, 1, FirstBatch::Whole).unwrap();
    let first = BatchHeader::parse(&first.bytes).unwrap();
    assert!(first.base_offset > 2, "{first:?}");
}

#[test]
fn what_is_too_young_or_too_little_waits_and_what_is_too_old_does_not() {
    let subject = Subject::new();
    let value = "x".repeat(300);
    let append = |count: usize| {
        for _ in 0..count {
            subject.append(&batch(
                &[(Some("k"), Some(&value))],
                Compression::None,
                NOBODY,
            ));
        }
    };
    append(20);
    let with = |change: &dyn Fn(&mut TopicConfig), now_ms: i64| {
        let mut config = config();
        change(&mut config);
        subject
            .partition
            .compact(&config, now_ms, &|| true)
            .unwrap()
    };
    let young = |config: &mut TopicConfig| config.min_compaction_lag_ms = 1_000;
    assert_eq!(with(&young, NOW + 999), None);
    assert!(with(&young, NOW + 1_000).is_some());
    assert_eq!(with(&|_| {}, NOW), None, "nothing is new");
    // Two new segments beside one of a single record: hardly anything is old.
    append(12);
    let ratio = |config: &mut TopicConfig| config.min_cleanable_dirty_ratio = 0.99;
    assert_eq!(with(&ratio, NOW), None);
    let overdue = |config: &mut TopicConfig| {
        config.min_cleanable_dirty_ratio = 0.99;
        config.max_compaction_lag_ms = 1_000;
    };
    assert_eq!(with(&overdue, NOW + 1_000), None);
    assert!(with(&overdue, NOW + 1_001).is_some());
    let deleted = |config: &mut TopicConfig| config.cleanup = Cleanup::Delete;
    append(20);
    assert_eq!(with(&deleted, NOW), None);
}

#[test]
fn a_segment_is_finished_in_time_to_be_compacted() {
    let logs = |change: &dyn Fn(&mut TopicConfig), lag_ms: i64| {
        let subject = Subject::new();
        let mut config = config();
        change(&mut config);
        let mut late = batch(&[(Some("k"), Some("v"))], Compression::None, NOBODY).to_vec();
        let first = late.clone();
        for field in [27..35, 35..43] {
            late[field].copy_from_slice(&(NOW + lag_ms).to_be_bytes());
        }
        let crc = crc32c::crc32c(&late[21..]);
        late[17..21].copy_from_slice(&crc.to_be_bytes());
        for batch in [&first, &late] {
            subject.partition.append(batch, &config, NOW).unwrap();
        }
        let names = names(subject.directory.path());
        names.iter().filter(|name| name.ends_with(".log")).count()
    };
    let age = |config: &mut TopicConfig| config.segment_ms = 1_000;
    let lag = |config: &mut TopicConfig| config.max_compaction_lag_ms = 1_000;
    let deleting = |config: &mut TopicConfig| {
        config.max_compaction_lag_ms = 1_000;
        config.cleanup = Cleanup::Delete;
    };
    assert_eq!([logs(&age, 1_000), logs(&age, 1_001)], [1, 2]);
    assert_eq!([logs(&lag, 1_000), logs(&lag, 1_001)], [1, 2]);
    assert_eq!(logs(&deleting, 1_001), 1);
}

#[test]
fn the_last_segment_is_never_touched_and_small_ones_become_one() {
    let subject = Subject::new();
    let value = "x".repeat(300);
    for _ in 0..60 {
        subject.append(&batch(
            &[(Some("k"), Some(&value))],
            Compression::None,
            NOBODY,
        ));
    }
    let logs = |directory: &Path| {
        let mut logs = names(directory);
        logs.retain(|name| name.ends_with(".log"));
        logs
    };
    let before = logs(subject.directory.path());
    let last = subject.directory.path().join(before.last().unwrap());
    let bytes = fs::read(&last).unwrap();
    subject.compact().unwrap();
    // One pass writes neighbours together that fit by their size of before, the next by that of now.
    for _ in 0..10 {
        subject.append(&batch(
            &[(Some("k"), Some(&value))],
            Compression::None,
            NOBODY,
        ));
    }
    assert_eq!(fs::read(&last).unwrap()[..bytes.len()], bytes);
    subject.compact().unwrap();
    let after = logs(subject.directory.path());
    assert!(after.len() <= 4, "{before:?} became {after:?}");
}

#[test]
fn more_keys_than_fit_into_memory_take_more_passes() {
    let subject = Subject::new();
    let keys = keys(30);
    for round in 0..12 {
        let value = format!("round {round}");
        for key in &keys {
            subject.append(&batch(
                &[(Some(key), Some(&value))],
                Compression::None,
                NOBODY,
            ));
        }
    }
    let before = content(&subject.partition);
    let mut passes = 0;
    let mut until = 0;
    while let Some(pass) = subject
        .partition
        .compact_with(Keys::with_limit(7), &config(), NOW, &|| true)
        .unwrap()
    {
        assert!(pass.until > until);
        until = pass.until;
        passes += 1;
        assert_eq!(state(&content(&subject.partition)), state(&before));
    }
    assert!(passes > 10, "{passes}");
    assert_eq!(content(&subject.partition).range(..until).count(), 30);
}

#[test]
fn records_that_cannot_be_read_end_the_pass_and_stay() {
    let subject = Subject::new();
    let value = "x".repeat(300);
    let mut damaged = batch(&[(Some("k"), Some(&value))], Compression::None, NOBODY).to_vec();
    // Not compressed as it says, under a checksum that holds.
    damaged[22] = 4;
    let crc = crc32c::crc32c(&damaged[21..]);
    damaged[17..21].copy_from_slice(&crc.to_be_bytes());
    let deleting = TopicConfig {
        cleanup: Cleanup::Delete,
        ..config()
    };
    subject.partition.append(&damaged, &deleting, NOW).unwrap();
    let refused = subject
        .partition
        .append(&damaged, &config(), NOW)
        .unwrap_err();
    assert!(matches!(refused, AppendError::Records(_)), "{refused}");
    for _ in 0..20 {
        subject.append(&batch(
            &[(Some("k"), Some(&value))],
            Compression::None,
            NOBODY,
        ));
    }
    let failed = subject
        .partition
        .compact(&config(), NOW, &|| true)
        .unwrap_err();
    assert!(
        matches!(failed, CompactError::Records { offset: 0, .. }),
        "{failed}"
    );
    assert!(!failed.is_transient());
    assert_eq!(subject.partition.end_offset(), 21);
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    #[test]
    fn any_history_leaves_the_state_that_a_reader_of_all_of_it_has(
        appends in proptest::collection::vec(
            (proptest::collection::vec((0usize..8, any::<bool>(), 0usize..200), 1..8), 0usize..5, any::<bool>()),
            1..80,
        ),
        limit in 1usize..20,
        every in 1usize..30,
        forced in any::<bool>(),
    ) {
        let mut subject = Subject::new();
        let mut sequence = 0;
        let mut appended = BTreeMap::new();
        let trust = if forced { Trust::Forced } else { Trust::Written };
        for (number, (records, codec, idempotent)) in appends.into_iter().enumerate() {
            let rows: Vec<(String, Option<String>)> = records
                .into_iter()
                .map(|(key, has_value, length)| {
                    let value = has_value.then(|| format!("{number} {}", "y".repeat(length)));
                    (format!("key {key}"), value)
                })
                .collect();
            let pairs: Vec<Pair<'_>> = rows
                .iter()
                .map(|(key, value)| (Some(key.as_str()), value.as_deref()))
                .collect();
            let producer = if idempotent { Producer { id: 3, sequence } } else { NOBODY };
            let base = subject.append(&batch(&pairs, CODECS[codec], producer));
            if idempotent {
                sequence += i32::try_from(rows.len()).unwrap();
            }
            for (at, (key, value)) in (base..).zip(rows) {
                appended.insert(at, (key, value.unwrap_or_else(|| "(none)".to_owned())));
            }
            if number % every == 0 {
                let keys = Keys::with_limit(limit);
                let pass = subject.partition.compact_with(keys, &config(), NOW, &|| true);
                let pass = pass.unwrap();
                if number % 2 == 0 {
                    subject.reopen(trust);
                }
                let found = content(&subject.partition);
                prop_assert_eq!(state(&found), state(&appended));
                prop_assert!(found.iter().all(|(at, row)| appended[at] == *row));
                if let Some(pass) = pass {
                    let compacted: Vec<_> = found.range(..pass.until).map(|(_, row)| &row.0).collect();
                    let different: std::collections::BTreeSet<_> = compacted.iter().collect();
                    prop_assert_eq!(compacted.len(), different.len());
                }
            }
        }
        // Whatever is left, the producer's sequence goes on.
        fs::remove_file(subject.directory.path().join("checkpoint.json")).ok();
        subject.reopen(trust);
        let next = batch(&[(Some("k"), Some("v"))], Compression::None, Producer { id: 3, sequence });
        prop_assert_eq!(subject.append(&next), i64::try_from(appended.len()).unwrap());
    }
}
