//! What a partition knows of transactions, after every kind of end.

use std::path::Path;

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};
use crate::kafka::config::{Config, Fsync};
use crate::kafka::topic_config::TopicConfig;
use crate::kafka::transactions::Outcome;

const NOW: i64 = 1_700_000_000_000;

fn open(directory: &Path, trust: Trust) -> Partition {
    let settings = Settings {
        fsync: Fsync::OperatingSystem,
        leader_epoch: 0,
        open_files: std::sync::Arc::new(tokio::sync::Semaphore::new(1)),
    };
    Partition::open(directory, trust, &settings).unwrap()
}

/// Segments of a few batches.
fn config() -> TopicConfig {
    let defaults = TopicConfig::new(Default::default(), &Config::new("/")).unwrap();
    TopicConfig {
        segment_bytes: 500,
        ..defaults
    }
}

/// A batch of one record, whose bytes are not looked at here.
fn batch(producer_id: i64, sequence: i32) -> Vec<u8> {
    let record = [7; 20];
    let mut header = BatchHeader::marker(producer_id, 0, NOW, &record);
    header.attributes = 1 << 4;
    header.base_sequence = sequence;
    let bytes = [&header.encode()[..], &record].concat();
    header.crc = crc32c::crc32c(&bytes[21..]);
    let bytes = [&header.encode()[..], &record].concat();
    assert_eq!(bytes.len(), HEADER_LENGTH + record.len());
    bytes
}

#[derive(Debug, Clone)]
enum Step {
    Append(i64),
    End(i64, Outcome),
    Checkpoint,
    /// The process is killed, or the machine, without loss of what was written.
    Reopen(Trust),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    prop_oneof![
        6 => (0..3i64).prop_map(Step::Append),
        3 => ((0..3i64), outcome).prop_map(|(id, outcome)| Step::End(id, outcome)),
        1 => Just(Step::Checkpoint),
        1 => any::<bool>().prop_map(|written| Step::Reopen(match written {
            true => Trust::Written,
            false => Trust::Forced,
        })),
    ]
}

/// All that a reader can be told.
fn told(partition: &Partition) -> (i64, i64, Vec<(i64, i16)>, Vec<Aborted>) {
    let aborted = partition.lock().transactions.aborted_within(0, i64::MAX);
    (
        partition.end_offset(),
        partition.last_stable_offset(),
        partition.open_transactions(),
        aborted,
    )
}

proptest! {
    #[test]
    fn a_start_knows_the_transactions_that_the_last_process_knew(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut partition = open(directory.path(), Trust::Written);
        let mut sequences = [0; 3];
        for step in steps {
            match step {
                Step::Append(id) => {
                    let sequence = &mut sequences[usize::try_from(id).unwrap()];
                    partition.admit(id, 0);
                    partition.append(&batch(id, *sequence), &config(), NOW).unwrap();
                    *sequence += 1;
                }
                Step::End(id, outcome) => {
                    partition.end_transaction((id, 0), outcome, &config(), NOW).unwrap();
                }
                Step::Checkpoint => partition.checkpoint(NOW).unwrap(),
                Step::Reopen(trust) => {
                    let before = told(&partition);
                    drop(partition);
                    partition = open(directory.path(), trust);
                    prop_assert_eq!(told(&partition), before);
                }
            }
        }
    }
}

#[test]
fn a_transaction_whose_beginning_is_removed_holds_readers_no_longer_than_its_rest() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    partition.admit(1, 0);
    for sequence in 0..20 {
        let appended = partition.append(&batch(1, sequence), &config(), NOW);
        appended.unwrap();
    }
    assert_eq!(partition.last_stable_offset(), 0);
    let small = TopicConfig {
        retention_bytes: Some(500),
        ..config()
    };
    assert!(partition.enforce_retention(&small, NOW).unwrap() > 0);
    let start = partition.start_offset();
    assert_eq!(partition.last_stable_offset(), start);
    partition
        .end_transaction((1, 0), Outcome::Abort, &config(), NOW)
        .unwrap();
    assert_eq!(partition.last_stable_offset(), 21);
    let (_, aborted) = partition
        .read_committed(start, 1 << 20, FirstBatch::Whole)
        .unwrap();
    assert_eq!(aborted.len(), 1);
    // What lies before the start of the log is forgotten with it.
    assert!(partition.enforce_retention(&small, NOW).unwrap() == 0);
    partition.checkpoint(NOW).unwrap();
    assert_eq!(told(&partition).3.len(), 1);
}

#[test]
fn a_reader_of_committed_records_gets_only_what_is_decided() {
    let directory = tempfile::tempdir().unwrap();
    let partition = open(directory.path(), Trust::Written);
    let append = |id, sequence| {
        partition.admit(id, 0);
        partition
            .append(&batch(id, sequence), &config(), NOW)
            .unwrap();
    };
    append(1, 0);
    append(2, 0);
    let end = |id, outcome| {
        partition
            .end_transaction((id, 0), outcome, &config(), NOW)
            .unwrap();
    };
    let committed = |offset| {
        let (records, aborted) = partition
            .read_committed(offset, 1 << 20, FirstBatch::Whole)
            .unwrap();
        let aborted: Vec<_> = aborted
            .iter()
            .map(|aborted| (aborted.producer_id, aborted.first_offset))
            .collect();
        (records.bytes.len(), records.stable_offset, aborted)
    };
    end(2, Outcome::Abort);
    assert_eq!(committed(0), (0, 0, vec![]));
    assert_eq!(committed(3), (0, 0, vec![]));
    append(2, 1);
    end(1, Outcome::Commit);
    // Offsets 0 to 2; the second transaction of the other producer starts at 3.
    let batch_size = HEADER_LENGTH + 20;
    let marker_size = HEADER_LENGTH + 17;
    let decided = 2 * batch_size + marker_size;
    assert_eq!(committed(0), (decided, 3, vec![(2, 1)]));
    assert_eq!(committed(2), (marker_size, 3, vec![(2, 1)]));
    assert_eq!(committed(3), (0, 3, vec![]));
    let beyond = partition.read_committed(9, 1, FirstBatch::Whole);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
}
