//! The spool against a list in memory, and against disks that fail.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cdc::spool::{Memory, Replay, Spool, SpoolError};
use cdc::wire::Xid;
use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_oneof, proptest};
use tempfile::TempDir;

/// Nothing stays in memory.
const ALL_TO_DISK: Memory = Memory {
    per_transaction: 0,
    total: 0,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Append {
        xid: Xid,
        subxid: Xid,
        length: usize,
    },
    Abort {
        xid: Xid,
        subxid: Xid,
    },
    Commit {
        xid: Xid,
    },
}

/// Three transactions, each with two subtransactions.
fn step() -> impl Strategy<Value = Step> {
    let writer = (1_u32..4, 0_u32..3).prop_map(|(xid, sub)| (Xid(xid * 10), Xid(xid * 10 + sub)));
    prop_oneof![
        20 => (writer.clone(), 0_usize..60)
            .prop_map(|((xid, subxid), length)| Step::Append { xid, subxid, length }),
        2 => writer.clone().prop_map(|(xid, subxid)| Step::Abort { xid, subxid }),
        1 => writer.prop_map(|(xid, _)| Step::Commit { xid }),
    ]
}

proptest! {
    #[test]
    fn what_committed_comes_back_in_order(
        steps in vec(step(), 0..120),
        per_transaction in 0_usize..300,
        total in 0_usize..500,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(&steps, Memory { per_transaction, total }));
    }
}

async fn compare(steps: &[Step], memory: Memory) {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), memory).unwrap();
    let mut expected: HashMap<Xid, Vec<(Xid, Vec<u8>)>> = HashMap::new();
    for (number, step) in (0_u8..).zip(steps) {
        match *step {
            Step::Append {
                xid,
                subxid,
                length,
            } => {
                let message = vec![number; length];
                spool.append(xid, subxid, &message).await.unwrap();
                expected.entry(xid).or_default().push((subxid, message));
                assert!(spool.usage().memory_bytes <= u64::try_from(memory.total).unwrap());
            }
            Step::Abort { xid, subxid } if xid == subxid => {
                spool.abort(xid, subxid).unwrap();
                expected.remove(&xid);
            }
            Step::Abort { xid, subxid } => {
                spool.abort(xid, subxid).unwrap();
                // A rolled back subtransaction writes no more: here it would be another one.
                let kept = expected.entry(xid).or_default();
                kept.retain(|(writer, _)| *writer != subxid);
                finish(&mut spool, xid, &mut expected).await;
            }
            Step::Commit { xid } => finish(&mut spool, xid, &mut expected).await,
        }
    }
    for xid in expected.keys().copied().collect::<Vec<_>>() {
        finish(&mut spool, xid, &mut expected).await;
    }
    assert_eq!(spool.usage().transactions, 0);
    assert_eq!(spool.usage().memory_bytes, 0);
    assert_eq!(files(directory.path()), Vec::<String>::new());
}

async fn finish(spool: &mut Spool, xid: Xid, expected: &mut HashMap<Xid, Vec<(Xid, Vec<u8>)>>) {
    let expected = expected.remove(&xid).unwrap_or_default();
    let expected: Vec<_> = expected.into_iter().map(|(_, message)| message).collect();
    let replayed = messages(spool.commit(xid).unwrap()).await.unwrap();
    assert_eq!(replayed, expected);
}

#[tokio::test]
async fn a_message_larger_than_every_buffer_comes_back() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), Memory::default()).unwrap();
    let xid = Xid(1);
    let large = vec![7; 5_000_000];
    for message in [b"before".as_slice(), &large, b"after"] {
        spool.append(xid, xid, message).await.unwrap();
    }
    assert!(spool.usage().disk_bytes > 5_000_000);
    let replayed = messages(spool.commit(xid).unwrap()).await.unwrap();
    assert_eq!(replayed, [b"before".to_vec(), large, b"after".to_vec()]);
}

#[tokio::test]
async fn small_transactions_never_reach_the_disk() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), Memory::default()).unwrap();
    spool.append(Xid(1), Xid(1), b"small").await.unwrap();
    assert_eq!(files(directory.path()), Vec::<String>::new());
    let replayed = messages(spool.commit(Xid(1)).unwrap()).await.unwrap();
    assert_eq!(replayed, [b"small"]);
}

#[tokio::test]
async fn a_transaction_of_which_nothing_came_is_empty() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), Memory::default()).unwrap();
    spool.abort(Xid(1), Xid(2)).unwrap();
    spool.abort(Xid(3), Xid(3)).unwrap();
    let replayed = messages(spool.commit(Xid(1)).unwrap()).await.unwrap();
    assert!(replayed.is_empty());
}

#[tokio::test]
async fn what_an_earlier_spool_left_is_removed_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), ALL_TO_DISK).unwrap();
    spool.append(Xid(1), Xid(1), b"lost").await.unwrap();
    assert_eq!(files(directory.path()), ["1.spool"]);
    fs::write(directory.path().join("letter"), "of someone else").unwrap();
    drop(spool);

    let mut spool = Spool::open(directory.path(), ALL_TO_DISK).unwrap();
    assert_eq!(files(directory.path()), ["letter"]);
    let replayed = messages(spool.commit(Xid(1)).unwrap()).await.unwrap();
    assert!(replayed.is_empty());
}

#[tokio::test]
async fn two_spools_do_not_share_a_directory() {
    let directory = TempDir::new().unwrap();
    let first = Spool::open(directory.path(), ALL_TO_DISK).unwrap();
    let error = Spool::open(directory.path(), ALL_TO_DISK).unwrap_err();
    assert!(matches!(error, SpoolError::InUse { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(directory.path().to_str().unwrap())
    );
    drop(first);
    Spool::open(directory.path(), ALL_TO_DISK).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_named_and_its_transaction_does_not_come_back_with_a_gap() {
    let directory = TempDir::new().unwrap();
    let mut spool = Spool::open(directory.path(), ALL_TO_DISK).unwrap();
    spool.append(Xid(1), Xid(1), b"kept").await.unwrap();
    symlink("/dev/full", directory.path().join("2.spool")).unwrap();
    let error = spool.append(Xid(2), Xid(2), b"lost").await.unwrap_err();
    assert!(matches!(error, SpoolError::Full { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(directory.path().to_str().unwrap())
    );
    assert!(error.is_transient());

    let error = spool.commit(Xid(2)).unwrap_err();
    assert!(
        matches!(error, SpoolError::Damaged { xid: Xid(2) }),
        "{error:?}"
    );
    let replayed = messages(spool.commit(Xid(1)).unwrap()).await.unwrap();
    assert_eq!(replayed, [b"kept"]);
}

#[test]
fn a_write_that_was_given_up_leaves_no_gap() {
    with_one_thread_for_files(async |threads| {
        let directory = TempDir::new().unwrap();
        let mut spool = Spool::open(directory.path(), ALL_TO_DISK).unwrap();
        let busy = threads.occupy();
        let given_up = spool.append(Xid(1), Xid(1), b"lost").now_or_never();
        assert!(given_up.is_none());
        drop(busy);
        let error = spool.commit(Xid(1)).unwrap_err();
        assert!(matches!(error, SpoolError::Damaged { .. }), "{error:?}");
    });
}

#[test]
fn a_read_that_was_given_up_leaves_no_gap() {
    with_one_thread_for_files(async |threads| {
        let directory = TempDir::new().unwrap();
        let mut spool = Spool::open(directory.path(), ALL_TO_DISK).unwrap();
        spool.append(Xid(1), Xid(1), b"lost").await.unwrap();
        let mut replay = spool.commit(Xid(1)).unwrap();
        let busy = threads.occupy();
        assert!(replay.next().now_or_never().is_none());
        drop(busy);
        let error = replay.next().await.unwrap_err();
        assert!(matches!(error, SpoolError::Damaged { .. }), "{error:?}");
    });
}

struct OneThread;

impl OneThread {
    /// Keeps files from being read and written until the sender is dropped.
    fn occupy(&self) -> std::sync::mpsc::SyncSender<()> {
        let (busy, released) = std::sync::mpsc::sync_channel(0);
        drop(tokio::task::spawn_blocking(move || released.recv()));
        busy
    }
}

fn with_one_thread_for_files(test: impl AsyncFnOnce(OneThread)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(test(OneThread));
}

#[tokio::test]
async fn a_file_that_lost_its_end_is_refused() {
    for length in [0, 5, 12, 20] {
        let directory = TempDir::new().unwrap();
        let mut spool = Spool::open(directory.path(), ALL_TO_DISK).unwrap();
        for message in [b"whole", b"lost "] {
            spool.append(Xid(1), Xid(1), message).await.unwrap();
        }
        let file = fs::File::options()
            .write(true)
            .open(directory.path().join("1.spool"))
            .unwrap();
        file.set_len(length).unwrap();
        let error = messages(spool.commit(Xid(1)).unwrap()).await.unwrap_err();
        assert!(matches!(error, SpoolError::Damaged { .. }), "{error:?}");
    }
}

async fn messages(mut replay: Replay) -> Result<Vec<Vec<u8>>, SpoolError> {
    let mut messages = Vec::new();
    while let Some(message) = replay.next().await? {
        messages.push(message.to_vec());
    }
    Ok(messages)
}

/// What is in the directory beside its lock.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect()
}
