//! Where all readers put their rows: one batch at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use change::commit::CommitKind;
use change::{Lsn, Position};
use service::Shutdown;
use tokio::sync::Notify;

use super::SnapshotError;
use crate::encode::{Encoder, Meta, Origin, Step, TablePlan, prepare};
use crate::kafka::{Kafka, Queued};
use crate::publish::Batch;

/// Records after which a batch is due: enough that commits records cost nothing, few enough that
/// the target follows closely.
const BATCH_RECORDS: u64 = 50_000;

/// The batch that the readers fill together.
///
/// A row gets its ordinal and goes to Kafka under one lock, and so does a batch get its end: in
/// each partition positions rise, and the ranges of two batches never overlap. Apply relies on both.
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
}

/// What the lock guards.
pub(super) struct State {
    batch: Batch,
    ordinal: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            batch: Batch::new(CommitKind::SnapshotChunk),
            ordinal: 0,
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
        loop {
            {
                let mut state = self.state();
                let record = self.encoder.encode(&prepared, &self.meta(state.ordinal))?;
                let time_ms = self.time.div_euclid(1000);
                let queued =
                    self.kafka
                        .send(&plan.topic, &record, time_ms, &state.batch.tracker)?;
                if queued == Queued::Yes {
                    state.ordinal += 1;
                    state.batch.records += 1;
                    if state.batch.records == BATCH_RECORDS {
                        self.due.notify_one();
                    }
                    return Ok(());
                }
            }
            if self.shutdown.is_requested() {
                return Err(SnapshotError::Stopped);
            }
            self.kafka.space().await;
        }
    }

    /// Waits until a batch is due. Cancel-safe.
    pub(super) async fn due(&self) {
        self.due.notified().await;
    }

    /// What was sent since the last call.
    pub(super) fn take(&self) -> Batch {
        let next = Batch::new(CommitKind::SnapshotChunk);
        self.dated(std::mem::replace(&mut self.state().batch, next))
    }

    /// The batch that says that there is no more.
    pub(super) fn complete(&self) -> Batch {
        self.dated(Batch::new(CommitKind::SnapshotComplete))
    }

    fn dated(&self, batch: Batch) -> Batch {
        Batch {
            commit_lsn: self.commit_lsn,
            commit_time: self.time,
            ..batch
        }
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

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
