//! What capture counts.
//!
//! | metric | says | unit |
//! |---|---|---|
//! | `kafka_messages_sent_total{topic}` | data records that count | records |
//! | `kafka_message_bytes_sent_total{topic}` | their keys and values, before compression | bytes |
//! | `cdc_transactions_total`, `cdc_batches_total` | transactions that count, and commits records | |
//! | `cdc_received_lsn` | up to where the source has sent | bytes of the source's log |
//! | `cdc_received_commit_time_seconds` | when what was received last committed | seconds since 1970 |
//! | `cdc_published_lsn` | up to where all counts in the topics: Kafka has acknowledged it | bytes |
//! | `cdc_published_commit_time_seconds` | when what counts last committed | seconds since 1970 |
//! | `cdc_confirmed_flush_lsn` | up to where the source was told that it may forget | bytes |
//! | `cdc_open_transactions` | transactions in progress that have begun to arrive | |
//! | `cdc_spool_memory_bytes`, `cdc_spool_disk_bytes` | what is kept of them | bytes |
//! | `cdc_snapshot_rows_total{table}` | rows that snapshots have read | rows |
//! | `cdc_snapshot_chunks_left{table}` | what the first snapshot has still to read | chunks |
//! | `cdc_resnapshot_rows_left{table}` | what a snapshot beside the stream has still to read, by the table's statistics | rows |
//! | `cdc_resnapshot_chunks_repeated_total{why}` | chunks that were read again: unseen, truncated, altered, crowded | chunks |
//! | `cdc_paused` | whether an operator has paused capture | 1 or 0 |
//! | `cdc_pressure` | what the slot's room allows: 0 all, 1 slow snapshots, 2 none | |
//! | `cdc_restarts_total` | times that capture began again after a fault | |
//!
//! Commit times are the source's, those of heartbeats ours. What is not known yet is not shown.

use change::Lsn;
use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::resnapshot::Repeat;
use crate::spool::Usage;

/// A metric's name and what it says.
type Described = (&'static str, &'static str);

const KAFKA_MESSAGES_SENT_TOTAL: Described =
    ("kafka_messages_sent_total", "Records sent to data topics.");
const KAFKA_MESSAGE_BYTES_SENT_TOTAL: Described = (
    "kafka_message_bytes_sent_total",
    "Keys and values of records sent to data topics, before compression.",
);
const CDC_TRANSACTIONS_TOTAL: Described = (
    "cdc_transactions_total",
    "Transactions that count in the topics.",
);
const CDC_BATCHES_TOTAL: Described = ("cdc_batches_total", "Commits records written.");
const CDC_RECEIVED_LSN: Described = ("cdc_received_lsn", "Up to where the source has sent.");
const CDC_RECEIVED_COMMIT_TIME_SECONDS: Described = (
    "cdc_received_commit_time_seconds",
    "When the source committed what was received last, in seconds since 1970.",
);
const CDC_PUBLISHED_LSN: Described = (
    "cdc_published_lsn",
    "commit_lsn of the last commits record.",
);
const CDC_PUBLISHED_COMMIT_TIME_SECONDS: Described = (
    "cdc_published_commit_time_seconds",
    "When the source committed what counts last, in seconds since 1970.",
);
const CDC_CONFIRMED_FLUSH_LSN: Described = (
    "cdc_confirmed_flush_lsn",
    "Up to where the source was told that it may forget.",
);
const CDC_OPEN_TRANSACTIONS: Described = (
    "cdc_open_transactions",
    "Transactions in progress on the source that have begun to arrive.",
);
const CDC_SPOOL_MEMORY_BYTES: Described = (
    "cdc_spool_memory_bytes",
    "What is kept in memory of transactions in progress.",
);
const CDC_SPOOL_DISK_BYTES: Described = (
    "cdc_spool_disk_bytes",
    "What is kept on disk of transactions in progress.",
);
const CDC_SNAPSHOT_ROWS_TOTAL: Described = ("cdc_snapshot_rows_total", "Rows read by snapshots.");
const CDC_SNAPSHOT_CHUNKS_LEFT: Described = (
    "cdc_snapshot_chunks_left",
    "Chunks that the first snapshot has still to read.",
);
const CDC_RESNAPSHOT_ROWS_LEFT: Described = (
    "cdc_resnapshot_rows_left",
    "Rows that a snapshot beside the stream has still to read, by the table's statistics.",
);
const CDC_RESNAPSHOT_CHUNKS_REPEATED_TOTAL: Described = (
    "cdc_resnapshot_chunks_repeated_total",
    "Chunks of snapshots beside the stream that were read again.",
);
const CDC_PAUSED: Described = ("cdc_paused", "1 while an operator has paused capture.");
const CDC_PRESSURE: Described = (
    "cdc_pressure",
    "What the slot's room allows: 0 all, 1 slow snapshots, 2 no snapshots.",
);
const CDC_RESTARTS_TOTAL: Described = (
    "cdc_restarts_total",
    "Times that capture began again after a fault.",
);

/// The metrics of capture. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub messages_sent: IntCounterVec,
    pub message_bytes_sent: IntCounterVec,
    pub transactions: IntCounter,
    pub batches: IntCounter,
    pub received_lsn: Late,
    pub received_commit_time: Late,
    pub published_lsn: Late,
    pub published_commit_time: Late,
    pub confirmed_flush_lsn: Late,
    pub open_transactions: IntGauge,
    pub spool_memory_bytes: IntGauge,
    pub spool_disk_bytes: IntGauge,
    pub snapshot_rows: IntCounterVec,
    pub snapshot_chunks_left: IntGaugeVec,
    pub resnapshot_rows_left: IntGaugeVec,
    pub resnapshot_chunks_repeated: IntCounterVec,
    pub paused: IntGauge,
    pub pressure: IntGauge,
    pub restarts: IntCounter,
}

/// A gauge that is not shown before its value is known.
#[derive(Clone)]
pub(crate) struct Late(GaugeVec);

impl Late {
    pub(crate) fn set(&self, value: f64) {
        self.0.with_label_values::<&str>(&[]).set(value);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; up to 8 PB of log it is exact"
    )]
    pub(crate) fn set_lsn(&self, lsn: Lsn) {
        self.set(lsn.as_u64() as f64);
    }

    /// Microseconds since 1970, shown as seconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; to the microsecond until 2255"
    )]
    pub(crate) fn set_time(&self, micros: i64) {
        self.set(micros as f64 / 1e6);
    }
}

impl Metrics {
    /// # Errors
    /// When `registry` has a metric of the same name already.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |(name, help): Described| registered(registry, IntCounter::new(name, help)?);
        let counters = |(name, help): Described, label| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registered(registry, counters)
        };
        let gauge = |(name, help): Described| registered(registry, IntGauge::new(name, help)?);
        let gauges = |(name, help): Described, label| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registered(registry, gauges)
        };
        let late = |(name, help): Described| {
            let gauge = GaugeVec::new(Opts::new(name, help), &[])?;
            registered(registry, gauge).map(Late)
        };
        Ok(Self {
            messages_sent: counters(KAFKA_MESSAGES_SENT_TOTAL, "topic")?,
            message_bytes_sent: counters(KAFKA_MESSAGE_BYTES_SENT_TOTAL, "topic")?,
            transactions: counter(CDC_TRANSACTIONS_TOTAL)?,
            batches: counter(CDC_BATCHES_TOTAL)?,
            received_lsn: late(CDC_RECEIVED_LSN)?,
            received_commit_time: late(CDC_RECEIVED_COMMIT_TIME_SECONDS)?,
            published_lsn: late(CDC_PUBLISHED_LSN)?,
            published_commit_time: late(CDC_PUBLISHED_COMMIT_TIME_SECONDS)?,
            confirmed_flush_lsn: late(CDC_CONFIRMED_FLUSH_LSN)?,
            open_transactions: gauge(CDC_OPEN_TRANSACTIONS)?,
            spool_memory_bytes: gauge(CDC_SPOOL_MEMORY_BYTES)?,
            spool_disk_bytes: gauge(CDC_SPOOL_DISK_BYTES)?,
            snapshot_rows: counters(CDC_SNAPSHOT_ROWS_TOTAL, "table")?,
            snapshot_chunks_left: gauges(CDC_SNAPSHOT_CHUNKS_LEFT, "table")?,
            resnapshot_rows_left: gauges(CDC_RESNAPSHOT_ROWS_LEFT, "table")?,
            resnapshot_chunks_repeated: {
                let repeated = counters(CDC_RESNAPSHOT_CHUNKS_REPEATED_TOTAL, "why")?;
                // Shown as zero from the start: a rate needs a first value.
                for why in Repeat::ALL {
                    repeated.with_label_values(&[why.name()]);
                }
                repeated
            },
            paused: gauge(CDC_PAUSED)?,
            pressure: gauge(CDC_PRESSURE)?,
            restarts: counter(CDC_RESTARTS_TOTAL)?,
        })
    }

    pub(crate) fn spooled(&self, usage: Usage) {
        let bytes = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let transactions = i64::try_from(usage.transactions).unwrap_or(i64::MAX);
        self.open_transactions.set(transactions);
        self.spool_memory_bytes.set(bytes(usage.memory_bytes));
        self.spool_disk_bytes.set(bytes(usage.disk_bytes));
    }
}

fn registered<M>(registry: &Registry, metric: M) -> Result<M, prometheus::Error>
where
    M: Collector + Clone + 'static,
{
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_shown() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let shown = || -> Vec<String> {
            let families = registry.gather();
            families.iter().map(|it| it.name().to_owned()).collect()
        };
        let name = "cdc_published_lsn".to_owned();
        assert!(!shown().contains(&name));
        metrics.published_lsn.set_lsn(Lsn::new(7));
        assert!(shown().contains(&name));
    }
}
