//! What capture counts.

use change::commit::CommitRecord;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The metrics of capture. LSNs are gauges in bytes of the source's log.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// `kafka_messages_sent_total{topic}`: data records that count.
    pub messages_sent: IntCounterVec,
    pub transactions: IntCounter,
    pub batches: IntCounter,
    pub received_lsn: IntGauge,
    pub published_lsn: IntGauge,
    pub published_commit_time_seconds: IntGauge,
    pub confirmed_flush_lsn: IntGauge,
    pub snapshot_rows: IntCounter,
    pub snapshot_chunks_left: IntGauge,
    pub restarts: IntCounter,
}

impl Metrics {
    /// # Errors
    /// When `registry` has a metric of the same name already.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let messages_sent = IntCounterVec::new(
            Opts::new("kafka_messages_sent_total", "Records sent to data topics."),
            &["topic"],
        )?;
        registry.register(Box::new(messages_sent.clone()))?;
        Ok(Self {
            messages_sent,
            transactions: counter(
                "cdc_transactions_total",
                "Transactions that count in the topics.",
            )?,
            batches: counter("cdc_batches_total", "Commits records written.")?,
            received_lsn: gauge("cdc_received_lsn", "Up to where the source has sent.")?,
            published_lsn: gauge(
                "cdc_published_lsn",
                "commit_lsn of the last commits record.",
            )?,
            published_commit_time_seconds: gauge(
                "cdc_published_commit_time_seconds",
                "When the source committed what was published last, in seconds since 1970.",
            )?,
            confirmed_flush_lsn: gauge(
                "cdc_confirmed_flush_lsn",
                "Up to where the source was told that it may forget.",
            )?,
            snapshot_rows: counter("cdc_snapshot_rows_total", "Rows read by snapshots.")?,
            snapshot_chunks_left: gauge(
                "cdc_snapshot_chunks_left",
                "Chunks that the running snapshot has still to read.",
            )?,
            restarts: counter(
                "cdc_restarts_total",
                "Times that capture began again after a fault.",
            )?,
        })
    }

    /// `record` is the last one in the topic.
    pub(crate) fn published(&self, record: &CommitRecord) {
        self.published_lsn.set(gauge_value(record.commit_lsn));
        self.published_commit_time_seconds
            .set(record.commit_time / 1_000_000);
    }
}

/// An LSN as a gauge's value; no real log reaches the sign bit.
pub(crate) fn gauge_value(lsn: change::Lsn) -> i64 {
    i64::try_from(lsn.as_u64()).unwrap_or(i64::MAX)
}
