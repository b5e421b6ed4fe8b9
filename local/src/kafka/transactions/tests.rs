//! The coordinator over its files, with the time in the test's hands.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::coordinator::{Decided, Transactions};
use super::store::Store;
use super::transaction::{Outcome, Producer, State, TransactionError};
use crate::kafka::config::{Config, Fsync};
use crate::kafka::journal::Sync;
use crate::kafka::log::{Partition, Settings, Trust};
use crate::kafka::offsets::{Offset, Offsets};
use crate::kafka::producer_ids::ProducerIds;
use crate::kafka::topics::Topics;

const NOW: i64 = 1_700_000_000_000;
const TIMEOUT: i32 = 60_000;

/// A broker's state as a start finds it, with one topic.
struct World {
    transactions: Transactions,
    offsets: Arc<Offsets>,
    partition: Arc<Partition>,
}

impl World {
    fn open(directory: &Path) -> Self {
        let settings = Settings {
            fsync: Fsync::OperatingSystem,
            leader_epoch: 0,
            open_files: Arc::new(Semaphore::new(1)),
        };
        let config = Config::new(directory);
        let topics = Topics::open(directory, &config, &settings, Trust::Written).unwrap();
        let topics = Arc::new(topics);
        let topic = topics
            .named("t")
            .unwrap_or_else(|| topics.create("t", Some(1), BTreeMap::new()).unwrap());
        let offsets = Arc::new(Offsets::open(directory, Sync::Never).unwrap());
        let producer_ids = Arc::new(ProducerIds::open(directory).unwrap());
        let parts = (topics, Arc::clone(&offsets), producer_ids);
        let longest = Duration::from_mins(15);
        Self {
            transactions: Transactions::open(directory, Sync::Never, longest, parts, NOW).unwrap(),
            offsets,
            partition: topic.partition(0).unwrap(),
        }
    }

    /// A producer with a transaction that has taken in the partition and an offset of a group.
    fn begin(&self) -> Producer {
        let Decided { producer_id, epoch } =
            self.transactions.init("id", TIMEOUT, None, NOW).unwrap();
        let producer = Producer {
            transactional_id: "id".to_owned(),
            producer_id,
            epoch,
        };
        let partitions = [("t".to_owned(), 0)];
        self.transactions
            .add_partitions(&producer, &partitions, NOW)
            .unwrap();
        self.transactions.add_group(&producer, "g", NOW).unwrap();
        let offset = Offset {
            offset: 5,
            leader_epoch: 0,
            metadata: String::new(),
            at: NOW,
        };
        let offsets = vec![("t".to_owned(), 0, offset)];
        self.transactions
            .commit_offsets(&producer, "g", offsets)
            .unwrap();
        producer
    }

    fn state(&self) -> State {
        self.transactions.describe("id").unwrap().state
    }

    fn committed(&self) -> Option<i64> {
        Some(self.offsets.committed("g", "t", 0)?.offset)
    }
}

#[test]
fn what_was_decided_before_a_crash_is_completed_at_the_start() {
    for (outcome, committed) in [(Outcome::Commit, Some(5)), (Outcome::Abort, None)] {
        let directory = tempfile::tempdir().unwrap();
        let world = World::open(directory.path());
        world.begin();
        let decided = world.transactions.describe("id").unwrap();
        drop(world);
        // The crash came right after the decision was kept.
        let mut store = Store::open(directory.path(), Sync::Never).unwrap();
        store.set("id", &decided.prepared(outcome, NOW)).unwrap();
        drop(store);
        let world = World::open(directory.path());
        assert_eq!(world.state(), State::Complete(outcome));
        assert_eq!(world.partition.end_offset(), 1);
        assert!(!world.offsets.is_pending("g", "t", 0));
        assert_eq!(world.committed(), committed);
    }
}

#[test]
fn an_open_transaction_goes_on_after_a_start_and_times_out_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let producer = World::open(directory.path()).begin();
    let world = World::open(directory.path());
    assert_eq!(world.state(), State::Ongoing);
    assert!(world.offsets.is_pending("g", "t", 0));
    let limit = NOW + i64::from(TIMEOUT);
    world.transactions.keep_time(limit - 1);
    assert_eq!(world.state(), State::Ongoing);
    world.transactions.keep_time(limit);
    assert_eq!(world.state(), State::Complete(Outcome::Abort));
    assert_eq!(world.committed(), None);
    let refused = world.transactions.end(&producer, Outcome::Commit, limit);
    assert!(matches!(refused, Err(TransactionError::Fenced)));
}

#[test]
fn a_producer_that_has_used_up_its_epochs_gets_another_id() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let first = world.transactions.init("id", TIMEOUT, None, NOW).unwrap();
    let mut last = world.transactions.describe("id").unwrap();
    drop(world);
    last.epoch = i16::MAX - 2;
    let mut store = Store::open(directory.path(), Sync::Never).unwrap();
    store.set("id", &last).unwrap();
    drop(store);
    let world = World::open(directory.path());
    let given = world.transactions.init("id", TIMEOUT, None, NOW).unwrap();
    let expected = Decided {
        epoch: i16::MAX - 1,
        ..first
    };
    assert_eq!(given, expected);
    let given = world.transactions.init("id", TIMEOUT, None, NOW).unwrap();
    assert_eq!(given.epoch, 0);
    assert_ne!(given.producer_id, first.producer_id);
}

#[test]
fn an_id_is_forgotten_when_it_is_not_used_and_never_while_a_transaction_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path());
    let producer = world.begin();
    world.transactions.expire(NOW + 1).unwrap();
    assert_eq!(world.state(), State::Ongoing);
    world
        .transactions
        .end(&producer, Outcome::Commit, NOW)
        .unwrap();
    world.transactions.expire(NOW).unwrap();
    assert_eq!(world.state(), State::Complete(Outcome::Commit));
    world.transactions.expire(NOW + 1).unwrap();
    assert!(world.transactions.describe("id").is_none());
    let refused = world.transactions.end(&producer, Outcome::Commit, NOW);
    assert!(matches!(refused, Err(TransactionError::Mapping)));
    assert_eq!(world.committed(), Some(5));
}
