//! Writes the commits record of each batch, in order, after Kafka has acknowledged its records.

use std::sync::Arc;

use change::Lsn;
use change::commit::{CommitError, CommitRecord};
use change::framing::{SchemaId, write_header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::batch::Batch;
use super::tracker::Tracker;
use crate::encode::Record;
use crate::kafka::{Kafka, KafkaFault, Queued};
use crate::metrics::{Metrics, gauge_value};

/// Who publishes, as every commits record says.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub pipeline: String,
    pub epoch: i64,
    pub system_id: String,
    pub timeline: u32,
    pub slot: String,
}

/// A batch that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub commit_lsn: Lsn,
    pub end_lsn: Lsn,
    pub transactions: usize,
    pub records: u64,
}

/// Why a batch does not count.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("publish batch up to {commit_lsn}")]
    Kafka { commit_lsn: Lsn, source: KafkaFault },
    #[error("encode commits record up to {commit_lsn}")]
    Record {
        commit_lsn: Lsn,
        source: CommitError,
    },
    #[error("the task that writes commits records ended early")]
    Gone,
}

impl PublishError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Kafka { source, .. } => source.is_transient(),
            Self::Record { .. } | Self::Gone => false,
        }
    }
}

/// The task that makes batches count. Dropping it ends the task: what it had not written is sent
/// again by the next start.
pub(crate) struct Committer {
    batches: mpsc::Sender<Batch>,
    published: mpsc::Receiver<Result<Published, PublishError>>,
    task: JoinHandle<()>,
    waiting: usize,
    epoch: i64,
    previous: Lsn,
}

/// Batches that wait for their acknowledgements while the next is filled. More would only make
/// smaller batches: one that cannot be handed over keeps growing.
const BATCHES_MAX: usize = 4;

impl Committer {
    /// `previous` is the `commit_lsn` of the last record in the topic.
    pub(crate) fn start(
        kafka: Arc<Kafka>,
        topic: String,
        schema: SchemaId,
        identity: Identity,
        previous: Lsn,
        metrics: Metrics,
    ) -> Self {
        let (batches, mut incoming) = mpsc::channel::<Batch>(BATCHES_MAX);
        let (outgoing, published) = mpsc::channel(BATCHES_MAX);
        let epoch = identity.epoch;
        let mut chain = Chain {
            kafka,
            topic,
            schema,
            identity,
            previous,
            metrics,
        };
        let task = tokio::spawn(async move {
            while let Some(batch) = incoming.recv().await {
                let outcome = chain.publish(batch).await;
                let failed = outcome.is_err();
                if outgoing.send(outcome).await.is_err() || failed {
                    return;
                }
            }
        });
        Self {
            batches,
            published,
            task,
            waiting: 0,
            epoch,
            previous,
        }
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The `commit_lsn` of the last record in the topic when this was started.
    pub(crate) fn previous(&self) -> Lsn {
        self.previous
    }

    /// Batches that were handed over and do not count yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting < BATCHES_MAX
    }

    /// Hands a batch over, all of whose records are sent. Call only with [`Committer::has_room`].
    ///
    /// # Errors
    /// When the task has ended; [`Committer::next`] then says why.
    pub(crate) fn submit(&mut self, batch: Batch) -> Result<(), PublishError> {
        self.batches
            .try_send(batch)
            .map_err(|_| PublishError::Gone)?;
        self.waiting += 1;
        Ok(())
    }

    /// Waits for the next batch to count; forever while none waits. Cancel-safe.
    ///
    /// # Errors
    /// When it never will.
    pub(crate) async fn next(&mut self) -> Result<Published, PublishError> {
        if self.waiting == 0 {
            return std::future::pending().await;
        }
        let published = self.published.recv().await.ok_or(PublishError::Gone)??;
        self.waiting -= 1;
        Ok(published)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Chain {
    kafka: Arc<Kafka>,
    topic: String,
    schema: SchemaId,
    identity: Identity,
    previous: Lsn,
    metrics: Metrics,
}

impl Chain {
    async fn publish(&mut self, batch: Batch) -> Result<Published, PublishError> {
        let commit_lsn = batch.commit_lsn;
        let fault = |source| PublishError::Kafka { commit_lsn, source };
        let partitions = batch.tracker.settled().await.map_err(fault)?;
        let record = CommitRecord {
            pipeline: self.identity.pipeline.clone(),
            epoch: self.identity.epoch,
            system_id: self.identity.system_id.clone(),
            timeline: self.identity.timeline,
            slot: self.identity.slot.clone(),
            previous_commit_lsn: self.previous,
            commit_lsn,
            commit_time: batch.commit_time,
            kind: batch.kind,
            transactions: batch.transactions,
            partitions,
        };
        let mut value = Vec::new();
        write_header(&mut value, self.schema);
        record
            .encode(&mut value)
            .map_err(|source| PublishError::Record { commit_lsn, source })?;
        let time_ms = batch.commit_time.div_euclid(1000);
        self.write(Record { key: None, value }, time_ms)
            .await
            .map_err(fault)?;
        self.previous = commit_lsn;
        self.count(&record);
        Ok(Published {
            commit_lsn,
            end_lsn: batch.end_lsn,
            transactions: record.transactions.len(),
            records: batch.records,
        })
    }

    fn count(&self, record: &CommitRecord) {
        for range in &record.partitions {
            self.metrics
                .messages_sent
                .with_label_values(&[&range.topic])
                .inc_by(range.records);
        }
        self.metrics.batches.inc();
        self.metrics
            .transactions
            .inc_by(record.transactions.len() as u64);
        self.metrics
            .published_lsn
            .set(gauge_value(record.commit_lsn));
    }

    async fn write(&self, record: Record, time_ms: i64) -> Result<(), KafkaFault> {
        let tracker = Arc::new(Tracker::default());
        while self.kafka.send(&self.topic, &record, time_ms, &tracker)? == Queued::Full {
            self.kafka.space().await;
        }
        tracker.settled().await.map(drop)
    }
}
