//! The first copy of the published tables: what committed before the stream brings the rest.
//!
//! ```text
//!        first snapshot            killed    another: what is missing
//! log ────────┼──────────────────────┼──────────────┼──────────▶
//!             slot begins ───────── stream ────────▶│ complete, and on
//! ```
//!
//! All readers take the snapshot that a slot exported, so that copy and stream meet without a gap or
//! an overlap. A table begins with a truncation. A chunk whose rows count is noted in a [`Ledger`]: a
//! snapshot that was interrupted is continued by another one, of a temporary slot. The stream first
//! brings all changes up to there; what then is missing are the rows of chunks that were not read, and
//! rows that moved from such a chunk into one that was (of their large values the log has nothing).

mod chunk;
pub(crate) use chunk::{Table, column, written_since};

mod reader;

mod sink;

mod outbox;

mod ledger;
pub(crate) use ledger::{Ledger, State};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use change::{Lsn, TableName};
use prometheus::IntGauge;
use service::Shutdown;
use service::postgres::{ConnectError, Dsn, passes};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use chunk::{Chunk, Extent};
use ledger::{Done, Note};
use outbox::Outbox;
use reader::Reader;
use sink::Sink;

use crate::control::{self, ParseVisibilityError};
use crate::encode::{EncodeError, Encoder, truncation};
use crate::goal::Goal;
use crate::kafka::{Kafka, KafkaFault};
use crate::metrics::Metrics;
use crate::publish::{Committer, PublishError};
use crate::source::{CreatedSlot, has_settled};
use crate::wire::WireError;

/// Between two looks whether the snapshot can be read under.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// A state of the source, which its readers keep.
pub(crate) struct Snapshot {
    readers: Vec<Reader>,
    /// What committed before is in it, and nothing else.
    consistent_point: Lsn,
    /// It has all that transactions before this one did.
    horizon: u64,
}

/// What copying needs.
pub(crate) struct Copying<'a> {
    pub epoch: i64,
    pub encoder: Arc<Encoder>,
    pub kafka: Arc<Kafka>,
    pub metrics: Metrics,
    pub shutdown: &'a Shutdown,
    /// None where our role may not have one.
    pub ledger: Option<Ledger<'a>>,
    pub committer: &'a mut Committer,
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
    #[error("read which transactions the snapshot shows")]
    Visibility(#[from] ParseVisibilityError),
    #[error("table {table} was altered, truncated or rewritten after the snapshot was taken")]
    Changed { table: String },
    #[error("read the rows of table {table}")]
    Wire { table: String, source: WireError },
    #[error("encode a row of the snapshot")]
    Encode(#[from] EncodeError),
    #[error("send a row of the snapshot")]
    Kafka(#[from] KafkaFault),
    #[error("publish the snapshot")]
    Publish(#[from] PublishError),
    #[error("keep on the source what of the snapshot counts")]
    Ledger(#[source] tokio_postgres::Error),
    #[error("another capture has taken the snapshot over")]
    TakenOver,
    #[error("a task that reads the snapshot ended early")]
    Task(#[source] tokio::task::JoinError),
    #[error("stopped before the snapshot was complete")]
    Stopped,
}

impl SnapshotError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            // A table that was dropped is not looked for again.
            Self::Read { source, .. } => {
                passes(source) || source.code() == Some(&SqlState::UNDEFINED_TABLE)
            }
            Self::Ledger(source) => passes(source),
            Self::Kafka(fault) => fault.is_transient(),
            Self::Publish(error) => error.is_transient(),
            // Who begins again finds the slot in use.
            Self::Changed { .. } | Self::TakenOver => true,
            Self::Wire { .. }
            | Self::Visibility(_)
            | Self::Encode(_)
            | Self::Task(_)
            | Self::Stopped => false,
        }
    }
}

impl Snapshot {
    /// Takes the snapshot that `slot` has exported, which need not be kept by others then.
    ///
    /// # Errors
    /// When a reader cannot take it.
    pub(crate) async fn take(
        source: &Dsn,
        client: &Client,
        slot: &CreatedSlot,
        readers: u16,
    ) -> Result<Self, SnapshotError> {
        let leader = Reader::connect(source, &slot.snapshot_name).await?;
        let seen = leader.visibility().await?;
        let settled = async || has_settled(client, &seen).await;
        while !settled().await.map_err(reader::read("the source"))? {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let horizon = control::horizon(&seen)?;
        let mut all = vec![leader];
        for _ in 1..readers {
            all.push(Reader::connect(source, &slot.snapshot_name).await?);
        }
        Ok(Self {
            readers: all,
            consistent_point: slot.consistent_point,
            horizon,
        })
    }

    /// A session that sees it.
    pub(crate) fn client(&self) -> &Client {
        self.leader().client()
    }

    /// Keeps a table from being altered, truncated or rewritten until all is read.
    pub(crate) async fn lock(&self, table: &TableName) -> Result<(), SnapshotError> {
        self.leader().lock(table).await
    }

    fn leader(&self) -> &Reader {
        &self.readers[0]
    }

    /// Where the stream has brought all that the snapshot shows.
    pub(crate) fn goal(&self) -> Goal {
        Goal::at(self.consistent_point)
    }
}

impl Copying<'_> {
    /// Copies what of `tables` is not in the topics yet, and returns when all of it counts.
    ///
    /// # Errors
    /// When a table cannot be read or published. What was noted in the ledger stays.
    pub(crate) async fn copy(
        self,
        snapshot: Snapshot,
        tables: Vec<Table>,
    ) -> Result<(), SnapshotError> {
        let Snapshot {
            readers,
            consistent_point,
            horizon,
        } = snapshot;
        // A commit record may start at that point itself.
        let commit_lsn = consistent_point.just_before();
        let leader = &readers[0];
        let sink = Arc::new(self.sink(commit_lsn, leader.time().await?));
        let chunks = self.begin(leader, &tables, &sink).await?;
        let (metrics, shutdown) = (self.metrics.clone(), self.shutdown);
        let mut outbox = Outbox::new(self.committer, self.ledger, self.epoch, horizon);
        outbox.submit(sink.take().await, shutdown).await?;
        read(readers, chunks, &sink, &metrics, &mut outbox).await?;
        outbox.submit(sink.take().await, shutdown).await?;
        // Who has been overtaken learns it here at the latest.
        outbox.drain().await?;
        outbox.submit(sink.complete(), shutdown).await?;
        outbox.drain().await?;
        tracing::info!(%commit_lsn, "snapshot is complete");
        Ok(())
    }

    /// Cuts the tables, and begins with those of which nothing is to stay.
    async fn begin(
        &self,
        leader: &Reader,
        tables: &[Table],
        sink: &Sink,
    ) -> Result<Vec<Chunk>, SnapshotError> {
        let done = match &self.ledger {
            Some(ledger) => ledger.done().await.map_err(SnapshotError::Ledger)?,
            None => Done::default(),
        };
        let mut chunks = Vec::new();
        for table in tables {
            let survey = leader.survey(table).await?;
            let extent = table.extent(&survey, &done);
            if extent == Extent::All {
                // Before the topic says that nothing of it is there.
                if let Some(ledger) = &self.ledger {
                    let forgotten = ledger.forget(table.oid).await;
                    forgotten.map_err(SnapshotError::Ledger)?;
                }
                sink.send(&table.plan, &truncation()).await?;
            }
            chunks.extend(table.cut(&survey, extent, &done));
        }
        tracing::info!(
            chunks = chunks.len(),
            chunks_read_before = done.len(),
            "snapshot begins"
        );
        Ok(chunks)
    }

    fn sink(&self, commit_lsn: Lsn, time: i64) -> Sink {
        Sink {
            encoder: Arc::clone(&self.encoder),
            kafka: Arc::clone(&self.kafka),
            shutdown: self.shutdown.clone(),
            epoch: self.epoch,
            commit_lsn,
            time,
            state: tokio::sync::Mutex::default(),
            due: Notify::new(),
            taken: Notify::new(),
        }
    }
}

/// Reads all chunks, and publishes what was read whenever a batch is due.
async fn read(
    readers: Vec<Reader>,
    chunks: Vec<Chunk>,
    sink: &Arc<Sink>,
    metrics: &Metrics,
    outbox: &mut Outbox<'_>,
) -> Result<(), SnapshotError> {
    let mut readers = start(readers, chunks, sink, metrics);
    // The locks of those that have nothing more to read keep tables as they are for the others.
    let mut ended = Vec::new();
    loop {
        tokio::select! {
            biased;
            published = outbox.committer.next() => {
                published?;
                outbox.counts().await?;
            }
            () = sink.due(), if outbox.committer.has_room() => {
                outbox.hand_over(sink.take().await)?;
            }
            reader = readers.join_next() => match reader {
                Some(reader) => ended.push(reader.map_err(SnapshotError::Task)??),
                None => return Ok(()),
            }
        }
    }
}

/// Starts the readers, each of which takes the next chunk when it is done with one.
fn start(
    readers: Vec<Reader>,
    chunks: Vec<Chunk>,
    sink: &Arc<Sink>,
    metrics: &Metrics,
) -> JoinSet<Result<Reader, SnapshotError>> {
    // Of a snapshot that was interrupted there may be something left.
    metrics.snapshot_chunks_left.reset();
    for chunk in &chunks {
        chunks_left(metrics, chunk).inc();
    }
    let queue = Arc::new(Mutex::new(chunks.into_iter()));
    let mut tasks = JoinSet::new();
    for reader in readers {
        let (queue, sink, metrics) = (Arc::clone(&queue), Arc::clone(sink), metrics.clone());
        tasks.spawn(async move {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(chunk) = next else {
                    return Ok(reader);
                };
                let rows = read_chunk(&reader, &chunk, &sink).await?;
                count(&metrics, &chunk, rows);
                sink.ended(Note {
                    place: chunk.place,
                    form: chunk.form,
                    rows,
                })
                .await;
            }
        });
    }
    tasks
}

fn count(metrics: &Metrics, chunk: &Chunk, rows: u64) {
    let table = &chunk.plan.relation.table;
    let read = &metrics.snapshot_rows;
    read.with_label_values(&[&table.to_string()]).inc_by(rows);
    let left = chunks_left(metrics, chunk);
    left.dec();
    tracing::info!(%table, rows, chunks_left = left.get(), "read a chunk");
}

fn chunks_left(metrics: &Metrics, chunk: &Chunk) -> IntGauge {
    let table = chunk.plan.relation.table.to_string();
    metrics.snapshot_chunks_left.with_label_values(&[&table])
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
