use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use super::store::Store;
use super::transaction::{Outcome, Producer, State, Transaction, TransactionError};
use crate::kafka::journal::Sync;
use crate::kafka::offsets::{Offset, Offsets};
use crate::kafka::producer_ids::ProducerIds;
use crate::kafka::topics::Topics;

/// All transactional ids. Calls block on files.
#[derive(Debug)]
pub(in crate::kafka) struct Transactions {
    topics: Arc<Topics>,
    offsets: Arc<Offsets>,
    producer_ids: Arc<ProducerIds>,
    /// Each is locked for the length of one request. Whoever holds one may lock the store, not
    /// another and not the map.
    by_id: Mutex<HashMap<String, Arc<Mutex<Transaction>>>>,
    store: Mutex<Store>,
    timeout_max: Duration,
}

/// The producer id and epoch that a producer is to use from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Decided {
    pub(in crate::kafka) producer_id: i64,
    pub(in crate::kafka) epoch: i16,
}

impl Transactions {
    /// Takes up the transactions of the last process: what was decided is completed, what was open
    /// goes on, and what nobody knows any more is aborted.
    pub(in crate::kafka) fn open(
        data_dir: &Path,
        sync: Sync,
        timeout_max: Duration,
        (topics, offsets, producer_ids): (Arc<Topics>, Arc<Offsets>, Arc<ProducerIds>),
        now_ms: i64,
    ) -> io::Result<Self> {
        let store = Store::open(data_dir, sync)?;
        let entry = |(id, state): (&String, &Transaction)| {
            (id.clone(), Arc::new(Mutex::new(state.clone())))
        };
        let transactions = Self {
            topics,
            offsets,
            producer_ids,
            by_id: Mutex::new(store.all().iter().map(entry).collect()),
            store: Mutex::new(store),
            timeout_max,
        };
        transactions.keep_time(now_ms);
        let ongoing = transactions.all(|transaction| transaction.state == State::Ongoing);
        for (_, transaction) in &ongoing {
            transactions.admit(transaction, &transaction.partitions);
        }
        transactions.abort_unknown(&ongoing, now_ms)?;
        Ok(transactions)
    }

    /// Gives the transactional id to a producer and fences the one before it, whose transaction is
    /// aborted. `expected` is the id and epoch from which a producer wants to go on.
    pub(in crate::kafka) fn init(
        &self,
        id: &str,
        timeout_ms: i32,
        expected: Option<(i64, i16)>,
        now_ms: i64,
    ) -> Result<Decided, TransactionError> {
        if id.is_empty() {
            return Err(TransactionError::InvalidId);
        }
        let timeout = u64::try_from(timeout_ms).map_or(Duration::ZERO, Duration::from_millis);
        if timeout.is_zero() || timeout > self.timeout_max {
            return Err(TransactionError::InvalidTimeout);
        }
        let entry = self.entry_or_new(id)?;
        let mut transaction = lock(&entry);
        transaction.check_expected(expected)?;
        if transaction.is_asked_again(expected) {
            return Ok(decided(&transaction));
        }
        if transaction.state == State::Ongoing {
            info!(
                transactional_id = id,
                "a new producer ends the open transaction"
            );
            let fenced = transaction.fenced(now_ms);
            self.set(id, &mut transaction, fenced)?;
        }
        self.complete(id, &mut transaction, now_ms)
            .map_err(|cause| not_complete(id, &cause))?;
        if transaction.has_no_epoch_left() {
            *transaction = Transaction::unused(self.producer_ids.next()?);
        }
        let went_on_from = expected.map(|(_, epoch)| epoch);
        let initialized = transaction.initialized(went_on_from, timeout_ms, now_ms);
        self.set(id, &mut transaction, initialized)?;
        Ok(decided(&transaction))
    }

    /// Makes partitions part of the producer's transaction, which begins when there is none.
    pub(in crate::kafka) fn add_partitions(
        &self,
        producer: &Producer,
        partitions: &[(String, i32)],
        now_ms: i64,
    ) -> Result<(), TransactionError> {
        self.add(producer, partitions, None, now_ms)
    }

    /// Makes a group's offsets part of the producer's transaction.
    pub(in crate::kafka) fn add_group(
        &self,
        producer: &Producer,
        group: &str,
        now_ms: i64,
    ) -> Result<(), TransactionError> {
        self.add(producer, &[], Some(group), now_ms)
    }

    fn add(
        &self,
        producer: &Producer,
        partitions: &[(String, i32)],
        group: Option<&str>,
        now_ms: i64,
    ) -> Result<(), TransactionError> {
        let id = &producer.transactional_id;
        let entry = self.entry(id)?;
        let mut transaction = lock(&entry);
        transaction.check(producer)?;
        if matches!(transaction.state, State::Prepared(_)) {
            return Err(TransactionError::Concurrent);
        }
        let next = transaction.with(partitions, group, now_ms);
        if *transaction != next {
            self.set(id, &mut transaction, next)?;
        }
        // Only now that it is kept: what a partition takes in must be ended there one day.
        self.admit(&transaction, partitions);
        Ok(())
    }

    /// Keeps a group's offsets until the transaction ends.
    pub(in crate::kafka) fn commit_offsets(
        &self,
        producer: &Producer,
        group: &str,
        offsets: Vec<(String, i32, Offset)>,
    ) -> Result<(), TransactionError> {
        let entry = self.entry(&producer.transactional_id)?;
        let transaction = lock(&entry);
        transaction.check(producer)?;
        if transaction.state != State::Ongoing || !transaction.groups.contains(group) {
            return Err(TransactionError::InvalidState);
        }
        Ok(self.offsets.pend(group, producer.producer_id, offsets)?)
    }

    /// Ends the producer's transaction. Once the decision is kept it is final, and completed later
    /// if that fails now.
    pub(in crate::kafka) fn end(
        &self,
        producer: &Producer,
        outcome: Outcome,
        now_ms: i64,
    ) -> Result<(), TransactionError> {
        let id = &producer.transactional_id;
        let entry = self.entry(id)?;
        let mut transaction = lock(&entry);
        transaction.check(producer)?;
        match transaction.state {
            State::Ongoing => {}
            // The answer was lost.
            State::Complete(done) if done == outcome => return Ok(()),
            State::Prepared(decided) if decided == outcome => {
                return Err(TransactionError::Concurrent);
            }
            State::Empty | State::Prepared(_) | State::Complete(_) => {
                return Err(TransactionError::InvalidState);
            }
        }
        let prepared = transaction.prepared(outcome, now_ms);
        self.set(id, &mut transaction, prepared)?;
        if let Err(cause) = self.complete(id, &mut transaction, now_ms) {
            not_complete(id, &cause);
        }
        Ok(())
    }

    /// Aborts transactions that are open for too long, and completes what could not be completed.
    pub(in crate::kafka) fn keep_time(&self, now_ms: i64) {
        let is_due = |transaction: &Transaction| {
            transaction.has_timed_out(now_ms) || matches!(transaction.state, State::Prepared(_))
        };
        for (id, _) in self.all(is_due) {
            let Ok(entry) = self.entry(&id) else {
                continue;
            };
            let mut transaction = lock(&entry);
            if let Err(cause) = self.end_if_due(&id, &mut transaction, now_ms) {
                not_complete(&id, &cause);
            }
        }
    }

    fn end_if_due(&self, id: &str, transaction: &mut Transaction, now_ms: i64) -> io::Result<()> {
        if transaction.has_timed_out(now_ms) {
            warn!(transactional_id = id, "abort a transaction that timed out");
            let fenced = transaction.fenced(now_ms);
            self.set(id, transaction, fenced)?;
        }
        self.complete(id, transaction, now_ms)
    }

    /// Forgets ids under which nothing has happened since a time.
    pub(in crate::kafka) fn expire(&self, before_ms: i64) -> io::Result<()> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, _) in self.all(|transaction| transaction.is_idle_since(before_ms)) {
            // Unless a request is at work on it.
            if by_id
                .get(&id)
                .is_some_and(|entry| Arc::strong_count(entry) == 1)
            {
                self.store().forget(&id)?;
                by_id.remove(&id);
            }
        }
        Ok(())
    }

    /// The ids whose last kept state passes, with that state.
    pub(in crate::kafka) fn all(
        &self,
        passes: impl Fn(&Transaction) -> bool,
    ) -> Vec<(String, Transaction)> {
        let store = self.store();
        let passing = store.all().iter().filter(|(_, state)| passes(state));
        passing
            .map(|(id, state)| (id.clone(), state.clone()))
            .collect()
    }

    pub(in crate::kafka) fn describe(&self, id: &str) -> Option<Transaction> {
        self.store().all().get(id).cloned()
    }

    /// Forces all states to the disk.
    pub(in crate::kafka) fn sync(&self) -> io::Result<()> {
        self.store().sync()
    }

    fn entry(&self, id: &str) -> Result<Arc<Mutex<Transaction>>, TransactionError> {
        if id.is_empty() {
            return Err(TransactionError::InvalidId);
        }
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.get(id).cloned().ok_or(TransactionError::Mapping)
    }

    fn entry_or_new(&self, id: &str) -> io::Result<Arc<Mutex<Transaction>>> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = by_id.get(id) {
            return Ok(Arc::clone(entry));
        }
        let unused = Transaction::unused(self.producer_ids.next()?);
        let entry = Arc::new(Mutex::new(unused));
        by_id.insert(id.to_owned(), Arc::clone(&entry));
        Ok(entry)
    }

    fn set(&self, id: &str, current: &mut Transaction, next: Transaction) -> io::Result<()> {
        self.store().set(id, &next)?;
        *current = next;
        Ok(())
    }

    /// Tells the partitions and groups of a decided transaction how it ended.
    fn complete(&self, id: &str, transaction: &mut Transaction, now_ms: i64) -> io::Result<()> {
        let State::Prepared(outcome) = transaction.state else {
            return Ok(());
        };
        let (producer_id, epoch) = (transaction.producer_id, transaction.epoch);
        for (name, index) in &transaction.partitions {
            // A topic that was deleted meanwhile has nothing to end.
            if let Some(topic) = self.topics.named(name)
                && let Some(partition) = topic.partition(*index)
            {
                let config = topic.config();
                partition.end_transaction((producer_id, epoch), outcome, &config, now_ms)?;
            }
        }
        for group in &transaction.groups {
            self.offsets.settle(group, producer_id, outcome)?;
        }
        let completed = transaction.completed(outcome, now_ms);
        self.set(id, transaction, completed)
    }

    /// Lets the partitions take records of the transaction.
    fn admit<'a>(
        &self,
        transaction: &Transaction,
        partitions: impl IntoIterator<Item = &'a (String, i32)>,
    ) {
        for (name, index) in partitions {
            let topic = self.topics.named(name);
            if let Some(partition) = topic.and_then(|topic| topic.partition(*index)) {
                partition.admit(transaction.producer_id, transaction.epoch);
            }
        }
    }

    /// Aborts what is open in a partition or pending for a group and belongs to no transaction: a
    /// power failure may have taken the journal's last records. Nobody else would end it, and
    /// readers would wait for its end for ever.
    fn abort_unknown(&self, ongoing: &[(String, Transaction)], now_ms: i64) -> io::Result<()> {
        let by_producer: HashMap<i64, &Transaction> = ongoing
            .iter()
            .map(|(_, transaction)| (transaction.producer_id, transaction))
            .collect();
        for topic in self.topics.all() {
            for (index, partition) in (0..).zip(topic.partitions()) {
                let here = (topic.name.clone(), index);
                for (producer_id, epoch) in partition.open_transactions() {
                    let known = by_producer.get(&producer_id);
                    if known.is_some_and(|transaction| transaction.partitions.contains(&here)) {
                        continue;
                    }
                    warn!(
                        topic = topic.name,
                        partition = index,
                        producer_id,
                        "abort a lost transaction"
                    );
                    let config = topic.config();
                    let producer = (producer_id, epoch);
                    partition.end_transaction(producer, Outcome::Abort, &config, now_ms)?;
                }
            }
        }
        for (group, producer_id) in self.offsets.all_pending() {
            let known = by_producer.get(&producer_id);
            if !known.is_some_and(|transaction| transaction.groups.contains(&group)) {
                self.offsets.settle(&group, producer_id, Outcome::Abort)?;
            }
        }
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(entry: &Mutex<Transaction>) -> MutexGuard<'_, Transaction> {
    entry.lock().unwrap_or_else(PoisonError::into_inner)
}

fn decided(transaction: &Transaction) -> Decided {
    Decided {
        producer_id: transaction.producer_id,
        epoch: transaction.epoch,
    }
}

/// Notes that a decided transaction is still to be completed.
fn not_complete(id: &str, cause: &io::Error) -> TransactionError {
    error!(transactional_id = id, %cause, "end a transaction; it is tried again");
    TransactionError::Concurrent
}
