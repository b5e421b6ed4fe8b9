//! How far replication is, as fields.

use std::sync::Arc;

use async_graphql::{Object, SimpleObject};

use super::scalar::DateTime;
use crate::replication::{Lag, Report};

/// How far each stage of the pipeline is. What is not known is null, and `unknown` says why.
pub(crate) struct ReplicationReport(pub(crate) Arc<Report>);

#[Object(name = "Replication")]
impl ReplicationReport {
    async fn source(&self) -> Option<SourceStage> {
        self.0.source.as_ref().map(|source| SourceStage {
            position: source.position.to_string(),
            at: DateTime(source.at),
        })
    }

    async fn topics(&self) -> Option<TopicsStage> {
        let topics = self.0.topics.as_ref()?;
        Some(TopicsStage {
            position: topics.position.to_string(),
            epoch: topics.epoch,
            committed_at: DateTime(topics.committed_at),
            transactions: topics.transactions,
        })
    }

    async fn target(&self) -> Option<TargetStage> {
        let target = self.0.target.as_ref()?;
        Some(TargetStage {
            position: target.position.to_string(),
            phase: target.phase.clone(),
            committed_at: DateTime(target.committed_at),
            applied_at: DateTime(target.applied_at),
        })
    }

    /// From the source's log to the topics.
    async fn capture_lag(&self) -> Option<StageLag> {
        self.0.capture_lag().map(StageLag::from)
    }

    /// From the topics to the target.
    async fn apply_lag(&self) -> Option<StageLag> {
        self.0.apply_lag().map(StageLag::from)
    }

    /// Whether everything that the source had is on the target.
    async fn caught_up(&self) -> Option<bool> {
        self.0.caught_up()
    }

    /// What is not known, and why.
    async fn unknown(&self) -> &[String] {
        &self.0.unknown
    }
}

/// The source's log.
#[derive(SimpleObject)]
struct SourceStage {
    /// LSN up to which the log is on disk.
    position: String,
    /// When it was asked, by the source's clock.
    at: DateTime,
}

/// What capture has published.
#[derive(SimpleObject)]
struct TopicsStage {
    /// LSN up to which every commit counts in the topics.
    position: String,
    /// Rises by one at every start of capture.
    epoch: i64,
    /// When the last of them committed.
    committed_at: DateTime,
    /// Transactions of the last commits record; 0 for a heartbeat.
    transactions: usize,
}

/// What apply has written.
#[derive(SimpleObject)]
struct TargetStage {
    /// LSN up to which every commit is on the target.
    position: String,
    /// `snapshotting` until the target shows only states that the source had, then `streaming`.
    phase: String,
    committed_at: DateTime,
    applied_at: DateTime,
}

/// How far a stage is behind the one before it.
#[derive(SimpleObject)]
struct StageLag {
    /// Of the source's log.
    bytes: f64,
    milliseconds: f64,
}

impl From<Lag> for StageLag {
    fn from(lag: Lag) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a lag of petabytes may be off")]
        let bytes = lag.bytes as f64;
        Self {
            bytes,
            milliseconds: lag.time.as_secs_f64() * 1000.0,
        }
    }
}
