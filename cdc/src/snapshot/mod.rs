//! The first copy of the published tables: what committed before the slot's stream begins.
//!
//! All readers take the snapshot that the slot exported, so that copy and stream meet without a gap
//! or an overlap. A table begins with a truncation, so that a snapshot that is taken anew, after it
//! was interrupted, starts from nothing.

mod chunk;
mod reader;

use std::sync::Arc;

use change::commit::CommitKind;
use change::{Lsn, Position};
use service::Shutdown;
use service::postgres::{ConnectError, Dsn};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) use chunk::Chunk;
use reader::Reader;

use crate::catalog::Shape;
use crate::encode::{EncodeError, Encoder, Meta, Origin, TablePlan};
use crate::kafka::{Kafka, KafkaFault, Queued};
use crate::metrics::Metrics;
use crate::publish::{Batch, Committer, PublishError};
use crate::wire::WireError;

/// What every part of a snapshot needs.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub source: Dsn,
    /// For `set transaction snapshot`.
    pub name: String,
    /// Everything in the snapshot committed up to here: the byte before the slot's consistent point,
    /// since a commit record may start at that point itself.
    pub commit_lsn: Lsn,
    pub epoch: i64,
    pub readers: u16,
    pub encoder: Arc<Encoder>,
    pub kafka: Arc<Kafka>,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
}

/// Why a snapshot is not complete.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("connect a snapshot reader")]
    Connect(#[from] ConnectError),
    #[error("read the snapshot of {what}")]
    Read {
        what: String,
        source: tokio_postgres::Error,
    },
    #[error("read the rows of table {table}")]
    Wire { table: String, source: WireError },
    #[error("encode a row of the snapshot")]
    Encode(#[from] EncodeError),
    #[error("send a row of the snapshot")]
    Kafka(#[from] KafkaFault),
    #[error("publish the snapshot")]
    Publish(#[from] PublishError),
    #[error("a task that reads the snapshot ended early")]
    Task(#[source] tokio::task::JoinError),
    #[error("stopped before the snapshot was complete")]
    Stopped,
}

impl SnapshotError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Read { source, .. } => source.is_closed() || source.code().is_none(),
            Self::Kafka(fault) => fault.is_transient(),
            Self::Publish(error) => error.is_transient(),
            Self::Wire { .. } | Self::Encode(_) | Self::Task(_) | Self::Stopped => false,
        }
    }
}

impl Snapshot {
    /// Copies `tables` and returns when all of it counts in the topics.
    ///
    /// # Errors
    /// When a table cannot be read or published; what was published then does not matter, for the
    /// next snapshot starts from nothing.
    pub(crate) async fn copy(
        &self,
        tables: Vec<(Shape, Arc<TablePlan>)>,
        committer: &mut Committer,
    ) -> Result<(), SnapshotError> {
        let time = self.reader().await?.time().await?;
        self.submit(self.truncations(&tables, time).await?, committer)
            .await?;
        let chunks = self.chunks(tables).await?;
        let total = chunks.len();
        tracing::info!(chunks = total, "snapshot begins");
        let mut left = total;
        let mut batches = self.read(chunks, time);
        while let Some(batch) = batches.next().await? {
            self.submit(batch, committer).await?;
            left -= 1;
            self.metrics
                .snapshot_chunks_left
                .set(i64::try_from(left).unwrap_or(i64::MAX));
            tracing::info!(chunks_left = left, chunks = total, "snapshot goes on");
        }
        self.submit(self.batch(CommitKind::SnapshotComplete, time), committer)
            .await?;
        while committer.waiting() > 0 {
            committer.next().await?;
        }
        tracing::info!(commit_lsn = %self.commit_lsn, "snapshot is complete");
        Ok(())
    }

    /// One batch that empties every table on the target.
    async fn truncations(
        &self,
        tables: &[(Shape, Arc<TablePlan>)],
        time: i64,
    ) -> Result<Batch, SnapshotError> {
        let mut batch = self.batch(CommitKind::SnapshotChunk, time);
        for (ordinal, (_, plan)) in (0..).zip(tables) {
            let record = self.encoder.truncation(plan, &self.meta(ordinal, time))?;
            self.send(plan, &record, time, &mut batch).await?;
        }
        Ok(batch)
    }

    async fn chunks(
        &self,
        tables: Vec<(Shape, Arc<TablePlan>)>,
    ) -> Result<Vec<Chunk>, SnapshotError> {
        let reader = self.reader().await?;
        let mut chunks = Vec::new();
        for (shape, plan) in tables {
            let blocks = reader.blocks(&shape).await?;
            chunk::cut(&plan, blocks, &mut chunks);
        }
        Ok(chunks)
    }

    /// Starts the readers, each of which takes the next chunk when it is done with one.
    fn read(&self, chunks: Vec<Chunk>, time: i64) -> Batches {
        let readers = usize::from(self.readers).min(chunks.len());
        let queue = Arc::new(std::sync::Mutex::new(chunks.into_iter().enumerate()));
        // A finished batch waits for its acknowledgements only: one a reader is enough.
        let (finished, batches) = mpsc::channel(readers.max(1));
        let mut tasks = JoinSet::new();
        for _ in 0..readers {
            let (snapshot, queue, finished) = (self.clone(), Arc::clone(&queue), finished.clone());
            tasks.spawn(async move {
                let reader = snapshot.reader().await?;
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .next();
                    let Some((number, chunk)) = next else {
                        return Ok(());
                    };
                    let batch = snapshot.read_chunk(&reader, number, &chunk, time).await?;
                    if finished.send(batch).await.is_err() {
                        return Ok(());
                    }
                }
            });
        }
        Batches { tasks, batches }
    }

    async fn read_chunk(
        &self,
        reader: &Reader,
        number: usize,
        chunk: &Chunk,
        time: i64,
    ) -> Result<Batch, SnapshotError> {
        let mut batch = self.batch(CommitKind::SnapshotChunk, time);
        let mut rows = reader.rows(chunk).await?;
        let mut ordinal = chunk::first_ordinal(number);
        while rows.fill().await? {
            while let Some(step) = rows.next()? {
                let record = self
                    .encoder
                    .encode(&chunk.plan, &self.meta(ordinal, time), &step)?;
                self.send(&chunk.plan, &record, time, &mut batch).await?;
                ordinal += 1;
            }
        }
        self.metrics.snapshot_rows.inc_by(batch.records);
        Ok(batch)
    }

    async fn send(
        &self,
        plan: &TablePlan,
        record: &crate::encode::Record,
        time: i64,
        batch: &mut Batch,
    ) -> Result<(), SnapshotError> {
        let time_ms = time.div_euclid(1000);
        while self
            .kafka
            .send(&plan.topic, record, time_ms, &batch.tracker)?
            == Queued::Full
        {
            if self.shutdown.is_requested() {
                return Err(SnapshotError::Stopped);
            }
            self.kafka.space().await;
        }
        batch.records += 1;
        Ok(())
    }

    async fn submit(&self, batch: Batch, committer: &mut Committer) -> Result<(), SnapshotError> {
        while !committer.has_room() {
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return Err(SnapshotError::Stopped),
                published = committer.next() => published?,
            };
        }
        Ok(committer.submit(batch)?)
    }

    fn batch(&self, kind: CommitKind, time: i64) -> Batch {
        Batch {
            commit_lsn: self.commit_lsn,
            commit_time: time,
            ..Batch::new(kind)
        }
    }

    fn meta(&self, ordinal: u64, time: i64) -> Meta {
        Meta {
            epoch: self.epoch,
            position: Position {
                commit_lsn: self.commit_lsn,
                ordinal,
            },
            commit_time: time,
            now_ms: time.div_euclid(1000),
            origin: Origin::Snapshot,
        }
    }

    async fn reader(&self) -> Result<Reader, SnapshotError> {
        Reader::connect(&self.source, &self.name).await
    }
}

/// The batches that readers finish, and the readers.
struct Batches {
    tasks: JoinSet<Result<(), SnapshotError>>,
    batches: mpsc::Receiver<Batch>,
}

impl Batches {
    /// The next batch whose records are all sent; none after the last.
    async fn next(&mut self) -> Result<Option<Batch>, SnapshotError> {
        loop {
            tokio::select! {
                // Batches first: the end of the readers must not hide what they finished.
                biased;
                Some(batch) = self.batches.recv() => return Ok(Some(batch)),
                Some(ended) = self.tasks.join_next() => ended.map_err(SnapshotError::Task)??,
                else => return Ok(None),
            }
        }
    }
}
