//! The chain of commits records: each names the one before it.

use std::sync::Arc;

use change::Lsn;
use change::commit::{CommitError, CommitKind, CommitRecord, PartitionRange, SequenceState};
use change::framing::{SchemaId, write_header};

use super::batch::Batch;
use super::tracker::{Extent, Tracker};
use crate::encode::Record;
use crate::kafka::{Kafka, KafkaFault, Queued};
use crate::metrics::Metrics;
use crate::sequences::{Sequences, SequencesError};

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
    pub end_lsn: Lsn,
    pub transactions: usize,
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
    #[error("read how far sequences are for the batch up to {commit_lsn}")]
    Sequences {
        commit_lsn: Lsn,
        source: SequencesError,
    },
    #[error("the task that writes commits records ended early")]
    Gone,
}

impl PublishError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Kafka { source, .. } => source.is_transient(),
            Self::Sequences { source, .. } => source.is_transient(),
            Self::Record { .. } | Self::Gone => false,
        }
    }
}

/// The end of the chain, and who may continue it.
pub(crate) struct Chain {
    kafka: Arc<Kafka>,
    topic: String,
    schema: SchemaId,
    identity: Identity,
    sequences: Sequences,
    previous: Lsn,
    metrics: Metrics,
}

impl Chain {
    /// `last` is the last commits record in the topic.
    pub(crate) fn new(
        kafka: Arc<Kafka>,
        topic: String,
        schema: SchemaId,
        identity: Identity,
        sequences: Sequences,
        last: Option<&CommitRecord>,
        metrics: Metrics,
    ) -> Self {
        Self {
            kafka,
            topic,
            schema,
            identity,
            sequences,
            previous: last.map_or(Lsn::ZERO, |last| last.commit_lsn),
            metrics,
        }
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.identity.epoch
    }

    /// The `commit_lsn` of the last record in the topic.
    pub(crate) fn previous(&self) -> Lsn {
        self.previous
    }

    /// Goes on after `last` instead.
    pub(crate) fn follow(&mut self, last: &CommitRecord) {
        self.previous = last.commit_lsn;
    }

    /// Writes a record of our epoch that changes nothing, and answers its offset: what a writer of a
    /// lower epoch publishes behind it does not count any more.
    ///
    /// # Errors
    /// When Kafka never acknowledges it.
    pub(crate) async fn fence(&self, last: &CommitRecord) -> Result<i64, PublishError> {
        let batch = Batch {
            commit_lsn: last.commit_lsn,
            commit_time: last.commit_time,
            ..Batch::new(CommitKind::Heartbeat)
        };
        let (_, offset) = self.write(batch, Vec::new(), Vec::new()).await?;
        Ok(offset)
    }

    /// Waits until the records of `batch` are acknowledged, and writes its commits record, with how far
    /// sequences are.
    ///
    /// # Errors
    /// When one of them never is, or the source does not answer.
    pub(crate) async fn publish(&mut self, batch: Batch) -> Result<Published, PublishError> {
        let (end_lsn, commit_lsn) = (batch.end_lsn, batch.commit_lsn);
        let moved = self.sequences.moved(batch.shapes);
        let (settled, moved) = tokio::join!(batch.tracker.settled(), moved);
        let sequences = moved.map_err(|source| PublishError::Sequences { commit_lsn, source })?;
        let extents = settled.map_err(|source| PublishError::Kafka { commit_lsn, source })?;
        let partitions = extents.iter().map(|extent| extent.range.clone()).collect();
        let (record, _) = self.write(batch, partitions, sequences).await?;
        self.previous = commit_lsn;
        self.count(&record, &extents);
        Ok(Published {
            end_lsn,
            transactions: record.transactions.len(),
        })
    }

    /// Writes the commits record, and answers it and its offset.
    async fn write(
        &self,
        batch: Batch,
        partitions: Vec<PartitionRange>,
        sequences: Vec<SequenceState>,
    ) -> Result<(CommitRecord, i64), PublishError> {
        let commit_lsn = batch.commit_lsn;
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
            sequences,
        };
        let mut value = Vec::new();
        write_header(&mut value, self.schema);
        record
            .encode(&mut value)
            .map_err(|source| PublishError::Record { commit_lsn, source })?;
        let time_ms = batch.commit_time.div_euclid(1000);
        let offset = self.send(Record { key: None, value }, time_ms).await;
        let offset = offset.map_err(|source| PublishError::Kafka { commit_lsn, source })?;
        Ok((record, offset))
    }

    fn count(&self, record: &CommitRecord, extents: &[Extent]) {
        let metrics = &self.metrics;
        for Extent { range, bytes } in extents {
            let topic = [range.topic.as_str()];
            let (messages, sent) = (&metrics.messages_sent, &metrics.message_bytes_sent);
            messages.with_label_values(&topic).inc_by(range.records);
            sent.with_label_values(&topic).inc_by(*bytes);
        }
        metrics.batches.inc();
        metrics
            .transactions
            .inc_by(record.transactions.len() as u64);
        metrics.published_lsn.set_lsn(record.commit_lsn);
        metrics.published_commit_time.set_time(record.commit_time);
    }

    /// Sends a record of the commits topic, and answers its offset.
    async fn send(&self, record: Record<'_>, time_ms: i64) -> Result<i64, KafkaFault> {
        let tracker = Arc::new(Tracker::default());
        let commits = &self.kafka.commits;
        while commits.send(&self.topic, &record, time_ms, &tracker)? == Queued::Full {
            self.kafka.space().await;
        }
        let extents = tracker.settled().await?;
        let extent = extents
            .first()
            .expect("one record was sent, and is acknowledged");
        Ok(extent.range.first_offset)
    }
}
