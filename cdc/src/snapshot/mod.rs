//! The first copy of the published tables: what committed before the slot's stream begins.
//!
//! All readers take the snapshot that the slot exported, so that copy and stream meet without a gap
//! or an overlap. A table begins with a truncation, so that a snapshot that is taken anew, after it
//! was interrupted, starts from nothing.

mod chunk;
pub(crate) use chunk::column;

mod reader;
mod sink;

use std::sync::{Arc, Mutex, PoisonError};

use change::Lsn;
use prometheus::IntGauge;
use service::Shutdown;
use service::postgres::{ConnectError, Dsn};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use chunk::Chunk;
use reader::Reader;
use sink::Sink;

use crate::catalog::Shape;
use crate::encode::{EncodeError, Encoder, TablePlan, truncation};
use crate::kafka::{Kafka, KafkaFault};
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
        let reader = Reader::connect(&self.source, &self.name).await?;
        let sink = Arc::new(self.sink(reader.time().await?));
        let mut chunks = Vec::new();
        for (shape, plan) in &tables {
            sink.send(plan, &truncation()).await?;
            chunk::cut(plan, reader.blocks(shape).await?, &mut chunks);
        }
        drop(reader);
        self.submit(sink.take(), committer).await?;
        self.read(chunks, &sink, committer).await?;
        self.submit(sink.take(), committer).await?;
        self.submit(sink.complete(), committer).await?;
        while committer.waiting() > 0 {
            committer.next().await?;
        }
        tracing::info!(commit_lsn = %self.commit_lsn, "snapshot is complete");
        Ok(())
    }

    /// Reads all chunks, and publishes what was read whenever a batch is due.
    async fn read(
        &self,
        chunks: Vec<Chunk>,
        sink: &Arc<Sink>,
        committer: &mut Committer,
    ) -> Result<(), SnapshotError> {
        tracing::info!(chunks = chunks.len(), "snapshot begins");
        let mut readers = self.readers(chunks, sink);
        loop {
            tokio::select! {
                biased;
                published = committer.next() => drop(published?),
                () = sink.due(), if committer.has_room() => committer.submit(sink.take())?,
                ended = readers.join_next() => match ended {
                    Some(ended) => ended.map_err(SnapshotError::Task)??,
                    None => return Ok(()),
                }
            }
        }
    }

    /// Starts the readers, each of which takes the next chunk when it is done with one.
    fn readers(&self, chunks: Vec<Chunk>, sink: &Arc<Sink>) -> JoinSet<Result<(), SnapshotError>> {
        // Of a snapshot that was interrupted there may be something left.
        self.metrics.snapshot_chunks_left.reset();
        for chunk in &chunks {
            self.chunks_left(chunk).inc();
        }
        let count = usize::from(self.readers).min(chunks.len());
        let queue = Arc::new(Mutex::new(chunks.into_iter()));
        let mut readers = JoinSet::new();
        for _ in 0..count {
            let (snapshot, queue, sink) = (self.clone(), Arc::clone(&queue), Arc::clone(sink));
            readers.spawn(async move {
                let reader = Reader::connect(&snapshot.source, &snapshot.name).await?;
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(chunk) = next else {
                        return Ok(());
                    };
                    let rows = read_chunk(&reader, &chunk, &sink).await?;
                    snapshot.count(&chunk, rows);
                }
            });
        }
        readers
    }

    async fn submit(&self, batch: Batch, committer: &mut Committer) -> Result<(), SnapshotError> {
        while !committer.has_room() {
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return Err(SnapshotError::Stopped),
                published = committer.next() => drop(published?),
            }
        }
        Ok(committer.submit(batch)?)
    }

    fn count(&self, chunk: &Chunk, rows: u64) {
        let table = &chunk.plan.relation.table;
        let read = &self.metrics.snapshot_rows;
        read.with_label_values(&[&table.to_string()]).inc_by(rows);
        let left = self.chunks_left(chunk);
        left.dec();
        tracing::info!(%table, rows, chunks_left = left.get(), "read a chunk");
    }

    fn chunks_left(&self, chunk: &Chunk) -> IntGauge {
        let table = chunk.plan.relation.table.to_string();
        let left = &self.metrics.snapshot_chunks_left;
        left.with_label_values(&[&table])
    }

    fn sink(&self, time: i64) -> Sink {
        Sink {
            encoder: Arc::clone(&self.encoder),
            kafka: Arc::clone(&self.kafka),
            shutdown: self.shutdown.clone(),
            epoch: self.epoch,
            commit_lsn: self.commit_lsn,
            time,
            state: Mutex::default(),
            due: Notify::new(),
        }
    }
}

async fn read_chunk(reader: &Reader, chunk: &Chunk, sink: &Sink) -> Result<u64, SnapshotError> {
    let mut rows = reader.rows(chunk).await?;
    let mut count = 0;
    while rows.fill().await? {
        while let Some(step) = rows.next()? {
            sink.send(&chunk.plan, &step).await?;
            count += 1;
        }
    }
    Ok(count)
}
