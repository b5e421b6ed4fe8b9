//! A partition as a whole: what was appended is read, after every kind of end.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};
use crate::kafka::config::{Config, Fsync};
use crate::kafka::topic_config::TopicConfig;

const NOW: i64 = 1_700_000_000_000;

fn settings() -> Settings {
    let open_files = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    Settings {
        fsync: Fsync::OperatingSystem,
        leader_epoch: 0,
        open_files,
    }
}

fn open(directory: &Path, trust: Trust) -> Partition {
    Partition::open(directory, trust, &settings()).unwrap()
}

/// Settings with segments of this size, far below what a client may ask for.
fn config(segment_bytes: u64) -> TopicConfig {
    let defaults = TopicConfig::new(Default::default(), &Config::new("/")).unwrap();
    TopicConfig {
        segment_bytes,
        ..defaults
    }
}

/// A batch of `count` records in `size` bytes, whose records are not looked at here.
fn batch(count: i32, size: usize, timestamp: i64) -> Vec<u8> {
    produced(count, size, timestamp, (-1, -1, -1))
}

fn produced(count: i32, size: usize, timestamp: i64, producer: (i64, i16, i32)) -> Vec<u8> {
    let (producer_id, producer_epoch, base_sequence) = producer;
    let records: Vec<u8> = (0..size - HEADER_LENGTH)
        .map(|at| (at % 251) as u8)
        .collect();
    let mut header = BatchHeader {
        base_offset: 0,
        size,
        leader_epoch: 0,
        crc: 0,
        // Stamped by a broker: a search by time needs no records then.
        attributes: 1 << 3,
        last_offset_delta: count - 1,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count: count,
    };
    let bytes = [&header.encode()[..], &records].concat();
    header.crc = crc32c::crc32c(&bytes[21..]);
    [&header.encode()[..], &records].concat()
}

/// The base offsets of all batches that can be read from the start, a few bytes at a time.
fn bases(partition: &Partition) -> Vec<i64> {
    let mut offset = partition.start_offset();
    let mut found = Vec::new();
    while offset < partition.end_offset() {
        let records = partition.read(offset, 1, FirstBatch::Whole).unwrap();
        let header = BatchHeader::parse(&records.bytes).unwrap();
        header.verify(&records.bytes).unwrap();
        assert_eq!(header.size, records.bytes.len());
        found.push(header.base_offset);
        offset = header.next_offset();
    }
    found
}

fn files(directory: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

#[test]
fn a_read_returns_whole_batches_from_the_one_with_the_offset_on() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    for _ in 0..10 {
        partition
            .append(&batch(5, 1000, NOW), &config(1 << 20), NOW)
            .unwrap();
    }
    let lengths = |offset, max_bytes, first| {
        partition
            .read(offset, max_bytes, first)
            .unwrap()
            .bytes
            .len()
    };
    assert_eq!(lengths(0, 3_999, FirstBatch::Whole), 3_000);
    assert_eq!(lengths(7, 2_000, FirstBatch::Whole), 2_000);
    assert_eq!(lengths(7, 999, FirstBatch::Whole), 1_000);
    assert_eq!(lengths(7, 999, FirstBatch::WithinLimit), 0);
    assert_eq!(lengths(49, 100_000, FirstBatch::Whole), 1_000);
    assert_eq!(lengths(50, 100_000, FirstBatch::Whole), 0);
    let beyond = partition.read(51, 1, FirstBatch::Whole).unwrap_err();
    assert!(matches!(
        beyond,
        ReadError::OutOfRange {
            offset: 51,
            start: 0,
            end: 50
        }
    ));
}

#[test]
fn what_is_not_a_sound_batch_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    let refused = |bytes: &[u8]| partition.append(bytes, &config(10_000), NOW).unwrap_err();
    let sound = batch(3, 500, NOW);
    assert!(matches!(refused(&sound[..400]), AppendError::Batch(_)));
    assert!(matches!(
        refused(&[&sound[..], b"x"].concat()),
        AppendError::NotOneBatch
    ));
    assert!(matches!(refused(&[]), AppendError::Batch(_)));
    for at in 16..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        assert!(
            matches!(refused(&damaged), AppendError::Batch(_)),
            "byte {at}"
        );
    }
    let limit = batch(1, 10_001, NOW);
    assert!(matches!(
        refused(&limit),
        AppendError::LargerThanSegment { .. }
    ));
    let future = batch(1, 100, NOW + 3_600_001);
    assert!(matches!(refused(&future), AppendError::Timestamp { .. }));
    assert_eq!(partition.end_offset(), 0);
}

#[test]
fn a_log_that_is_cut_anywhere_keeps_its_whole_batches() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    let sizes = [100, 61, 300, 200];
    for size in sizes {
        partition
            .append(&batch(2, size, NOW), &config(1 << 20), NOW)
            .unwrap();
    }
    drop(partition);
    let log = files(directory.path(), "log").pop().unwrap();
    let whole = fs::read(&log).unwrap();
    for length in 0..=whole.len() {
        fs::write(&log, &whole[..length]).unwrap();
        let partition = open(directory.path(), Trust::Written);
        let mut end = 0;
        let kept = sizes.iter().take_while(|size| {
            end += **size;
            end <= length
        });
        let kept = i64::try_from(kept.count()).unwrap();
        assert_eq!(partition.end_offset(), kept * 2, "cut at {length}");
        let appended = partition
            .append(&batch(1, 70, NOW), &config(1 << 20), NOW)
            .unwrap();
        assert_eq!(appended.base_offset, kept * 2);
    }
}

#[test]
fn after_a_power_failure_damage_before_the_end_is_cut_too() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    for _ in 0..30 {
        partition
            .append(&batch(1, 1000, NOW), &config(5_000), NOW)
            .unwrap();
    }
    // The first five segments are forced to the disk, which the checkpoint tells.
    partition.flush_finished().unwrap();
    partition.checkpoint(NOW).unwrap();
    drop(partition);
    let logs = files(directory.path(), "log");
    assert_eq!(logs.len(), 6);
    // The last segment lost a page; sizes were kept.
    let last = OpenOptions::new().write(true).open(&logs[5]).unwrap();
    last.write_all_at(&[0; 500], 2_300).unwrap();
    let partition = open(directory.path(), Trust::Forced);
    assert_eq!(partition.end_offset(), 27);
    assert_eq!(bases(&partition), (0..27).collect::<Vec<_>>());
}

#[test]
fn a_lost_or_torn_index_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    for number in 0..60 {
        partition
            .append(&batch(1, 1000, NOW + number), &config(20_000), NOW)
            .unwrap();
    }
    partition.checkpoint(NOW).unwrap();
    drop(partition);
    let indexes = files(directory.path(), "index");
    assert_eq!(indexes.len(), 3);
    let sound: Vec<_> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    for (index, sound) in indexes.iter().zip(&sound) {
        for length in [0, 1, 17, sound.len() - 1] {
            fs::write(index, &sound[..length]).unwrap();
            let partition = open(directory.path(), Trust::Written);
            assert_eq!(bases(&partition), (0..60).collect::<Vec<_>>());
        }
    }
    for (index, sound) in indexes.iter().zip(&sound) {
        assert_eq!(&fs::read(index).unwrap(), sound);
    }
}

#[test]
fn a_batch_is_found_where_the_index_has_a_hole() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    for number in 0..60 {
        partition
            .append(&batch(1, 1000, NOW + number), &config(1 << 20), NOW)
            .unwrap();
    }
    partition.checkpoint(NOW).unwrap();
    drop(partition);
    // The last entries in place of the first ones.
    let index = files(directory.path(), "index").pop().unwrap();
    let sound = fs::read(&index).unwrap();
    let (early, late) = sound.split_at(sound.len() / 2 / 16 * 16);
    fs::write(&index, [late, early].concat()).unwrap();
    OpenOptions::new()
        .write(true)
        .open(&index)
        .unwrap()
        .set_len(late.len() as u64)
        .unwrap();
    let checkpoint = directory.path().join("checkpoint.json");
    let text = fs::read_to_string(&checkpoint).unwrap();
    let entries = |bytes: &[u8]| format!("\"index_entries\":{}", bytes.len() / 16);
    assert!(text.contains(&entries(&sound)));
    fs::write(&checkpoint, text.replace(&entries(&sound), &entries(late))).unwrap();
    let partition = open(directory.path(), Trust::Written);
    assert_eq!(bases(&partition), (0..60).collect::<Vec<_>>());
    assert_eq!(partition.first_at_time(NOW + 7).unwrap().unwrap().offset, 7);
}

#[test]
fn a_producer_is_remembered_by_checkpoint_and_by_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(1 << 20);
    let batch = |sequence: i32| produced(10, 200, NOW, (7, 0, sequence * 10));
    let partition = open(directory.path(), Trust::Written);
    for number in 0..6 {
        partition.append(&batch(number), &config, NOW).unwrap();
        if number == 3 {
            partition.checkpoint(NOW).unwrap();
        }
    }
    for trust in [Trust::Written, Trust::Forced] {
        let partition = open(directory.path(), trust);
        // The last five were acknowledged, maybe without the producer hearing of it.
        for number in 1..6 {
            let again = partition.append(&batch(number), &config, NOW).unwrap();
            assert_eq!(again.base_offset, i64::from(number) * 10);
        }
        let gap = partition.append(&batch(7), &config, NOW).unwrap_err();
        assert!(matches!(gap, AppendError::OutOfOrder { expected: 60, .. }));
        assert_eq!(partition.end_offset(), 60);
    }
}

#[test]
fn retention_by_size_leaves_at_least_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    let config = TopicConfig {
        retention_bytes: Some(7_000),
        ..config(2_000)
    };
    for _ in 0..20 {
        partition
            .append(&batch(1, 1000, NOW), &config, NOW)
            .unwrap();
    }
    assert_eq!(partition.enforce_retention(&config, NOW).unwrap(), 6);
    assert_eq!((partition.start_offset(), partition.end_offset()), (12, 20));
    assert_eq!(bases(&partition), (12..20).collect::<Vec<_>>());
    drop(partition);
    assert_eq!(open(directory.path(), Trust::Written).start_offset(), 12);
}

#[test]
fn the_offset_goes_on_where_retention_removed_everything() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    let retention = Some(std::time::Duration::from_secs(60));
    let config = TopicConfig {
        retention,
        ..config(1 << 20)
    };
    partition
        .append(&batch(5, 1000, NOW), &config, NOW)
        .unwrap();
    assert_eq!(
        partition.enforce_retention(&config, NOW + 60_000).unwrap(),
        0
    );
    assert_eq!(
        partition.enforce_retention(&config, NOW + 60_001).unwrap(),
        1
    );
    assert_eq!((partition.start_offset(), partition.end_offset()), (5, 5));
    drop(partition);
    let partition = open(directory.path(), Trust::Written);
    assert_eq!((partition.start_offset(), partition.end_offset()), (5, 5));
    assert_eq!(
        partition
            .append(&batch(1, 100, NOW), &config, NOW)
            .unwrap()
            .base_offset,
        5
    );
}

#[test]
fn files_that_stay_open_are_few() {
    let settings = settings();
    let directory = tempfile::tempdir().unwrap();
    let partitions: Vec<_> = (0..3)
        .map(|number| {
            let path = directory.path().join(number.to_string());
            Partition::open(&path, Trust::Written, &settings).unwrap()
        })
        .collect();
    for partition in &partitions {
        partition
            .append(&batch(1, 100, NOW), &config(1 << 20), NOW)
            .unwrap();
    }
    assert_eq!(settings.open_files.available_permits(), 0);
    for partition in &partitions {
        partition.close_unused_files();
        partition.close_unused_files();
        assert_eq!(bases(partition), [0]);
    }
    assert_eq!(settings.open_files.available_permits(), 1);
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn every_record_is_found_by_offset_and_by_time_after_any_restart(
        appends in proptest::collection::vec((1i32..20, 61usize..3_000, 0i64..50), 1..80),
        segment_bytes in 3_000u64..40_000,
        checkpoint_after in any::<proptest::sample::Index>(),
        forced in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let config = config(segment_bytes);
        let partition = open(directory.path(), Trust::Written);
        let checkpoint_after = checkpoint_after.index(appends.len());
        let mut expected = Vec::new();
        let mut next = 0;
        for (number, (count, size, late)) in appends.into_iter().enumerate() {
            // Times mostly rise, and now and then fall back a little.
            let timestamp = NOW + i64::try_from(number).unwrap() * 10 - late;
            let appended = partition.append(&batch(count, size, timestamp), &config, NOW).unwrap();
            prop_assert_eq!(appended.base_offset, next);
            expected.push((next, timestamp));
            next += i64::from(count);
            if number == checkpoint_after {
                partition.checkpoint(NOW).unwrap();
            }
        }
        for reopened in [false, true] {
            let trust = if forced { Trust::Forced } else { Trust::Written };
            let again;
            let partition = if reopened {
                again = open(directory.path(), trust);
                &again
            } else {
                &partition
            };
            prop_assert_eq!(partition.end_offset(), next);
            prop_assert_eq!(bases(partition), expected.iter().map(|(base, _)| *base).collect::<Vec<_>>());
            for (_, timestamp) in &expected {
                let first = expected.iter().find(|(_, found)| found >= timestamp).map(|(base, _)| *base);
                let found = partition.first_at_time(*timestamp).unwrap();
                prop_assert_eq!(found.map(|moment| moment.offset), first);
            }
            prop_assert!(partition.first_at_time(NOW + 1_000_000).unwrap().is_none());
        }
    }
}
