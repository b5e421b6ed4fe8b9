//! Where all readers put their rows: one batch at a time.

use std::sync::Arc;

use change::commit::CommitKind;
use change::{Lsn, Position};
use service::Shutdown;
use tokio::sync::{Mutex, Notify};

use super::SnapshotError;
use super::ledger::Note;
use crate::encode::{Encoder, Meta, Origin, Record, Step, TablePlan, prepare};
use crate::kafka::{Kafka, Queued};
use crate::publish::Batch;

/// Records after which a batch is due: enough that commits records cost nothing, few enough that
/// the target follows closely.
const BATCH_RECORDS: u64 = 50_000;
/// Chunks after which a batch is due, if its rows are few and large, and the most that it ends: what
/// does not count is read again after an interruption.
const BATCH_CHUNKS: usize = 8;

/// The batch that the readers fill together.
///
/// A row gets its ordinal and goes to Kafka under one lock, all parts of it, and so does a batch get
/// its end: in each partition positions rise, and the ranges of two batches never overlap. Apply
/// relies on both.
pub(super) struct Sink {
    pub(super) encoder: Arc<Encoder>,
    pub(super) kafka: Arc<Kafka>,
    pub(super) shutdown: Shutdown,
    pub(super) epoch: i64,
    pub(super) commit_lsn: Lsn,
    /// The source's clock when the snapshot began: microseconds since 1970-01-01 UTC.
    pub(super) time: i64,
    pub(super) state: Mutex<State>,
    pub(super) due: Notify,
    pub(super) taken: Notify,
}

/// What the lock guards.
pub(super) struct State {
    filled: Filled,
    ordinal: u64,
}

/// What is published together.
pub(super) struct Filled {
    pub(super) batch: Batch,
    /// The chunks whose last row is in it.
    pub(super) chunks: Vec<Note>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            filled: Filled::new(CommitKind::SnapshotChunk),
            ordinal: 0,
        }
    }
}

impl Filled {
    fn new(kind: CommitKind) -> Self {
        Self {
            batch: Batch::new(kind),
            chunks: Vec::new(),
        }
    }
}

impl Sink {
    /// Sends a row, waiting while Kafka takes none.
    pub(super) async fn send(
        &self,
        plan: &TablePlan,
        step: &Step<'_>,
    ) -> Result<(), SnapshotError> {
        let prepared = prepare(plan, step)?;
        let mut guard = self.state.lock().await;
        let state = &mut *guard;
        let meta = self.meta(state.ordinal);
        let record = self.encoder.encode(&prepared, &meta)?;
        match self.encoder.limit.cut(&record, meta.head())? {
            None => self.queue(&plan.topic, &record, state).await,
            Some(cut) => {
                for part in cut {
                    self.queue(&plan.topic, &part?, state).await?;
                }
                Ok(())
            }
        }
    }

    async fn queue(
        &self,
        topic: &str,
        record: &Record<'_>,
        state: &mut State,
    ) -> Result<(), SnapshotError> {
        let batch = &mut state.filled.batch;
        let time_ms = self.time.div_euclid(1000);
        while self
            .kafka
            .records
            .send(topic, record, time_ms, &batch.tracker)?
            == Queued::Full
        {
            if self.shutdown.is_requested() {
                return Err(SnapshotError::Stopped);
            }
            self.kafka.space().await;
        }
        state.ordinal += 1;
        batch.records += 1;
        if batch.records == BATCH_RECORDS {
            self.due.notify_one();
        }
        Ok(())
    }

    /// All rows of a chunk were sent. Waits while the batch has as many as it may.
    pub(super) async fn ended(&self, chunk: Note) {
        loop {
            // Before the look: whoever takes the batch after it wakes us.
            let taken = self.taken.notified();
            {
                let chunks = &mut self.state.lock().await.filled.chunks;
                if chunks.len() < BATCH_CHUNKS {
                    chunks.push(chunk);
                    if chunks.len() == BATCH_CHUNKS {
                        self.due.notify_one();
                    }
                    return;
                }
            }
            taken.await;
        }
    }

    /// Waits until a batch is due. Cancel-safe.
    pub(super) async fn due(&self) {
        self.due.notified().await;
    }

    /// What was sent since the last call.
    pub(super) async fn take(&self) -> Filled {
        let next = Filled::new(CommitKind::SnapshotChunk);
        let filled = std::mem::replace(&mut self.state.lock().await.filled, next);
        self.taken.notify_waiters();
        self.dated(filled)
    }

    /// The batch that says that there is no more.
    pub(super) fn complete(&self) -> Filled {
        self.dated(Filled::new(CommitKind::SnapshotComplete))
    }

    fn dated(&self, mut filled: Filled) -> Filled {
        filled.batch.commit_lsn = self.commit_lsn;
        filled.batch.commit_time = self.time;
        filled
    }

    fn meta(&self, ordinal: u64) -> Meta {
        Meta {
            epoch: self.epoch,
            position: Position {
                commit_lsn: self.commit_lsn,
                ordinal,
            },
            commit_time: self.time,
            now_ms: self.time.div_euclid(1000),
            origin: Origin::Snapshot,
        }
    }
}
