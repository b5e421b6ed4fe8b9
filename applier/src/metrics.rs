//! What the applier tells Prometheus, and the names of the dependencies whose health it reports.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use change::Lsn;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

pub(crate) const KAFKA: &str = "kafka";
pub(crate) const REGISTRY: &str = "registry";
pub(crate) const TARGET: &str = "target";
/// Not another service: what stands in the topics.
pub(crate) const PIPELINE: &str = "pipeline";

/// A metric's name and what it says.
type Described = (&'static str, &'static str);

const APPLIED_COMMIT_LSN: Described = (
    "applier_applied_commit_lsn",
    "Everything that the source committed up to this byte of its log is on the target.",
);
const COMMITS_OFFSET: Described = (
    "applier_commits_offset",
    "Offset of the last applied record of the commits topic.",
);
const COMMITS_END_OFFSET: Described = (
    "applier_commits_end_offset",
    "End of the commits topic: what is between it and the applied offset is the lag.",
);
const APPLIED_COMMIT_TIME_SECONDS: Described = (
    "applier_applied_commit_time_seconds",
    "When the source committed what was applied last, in seconds since 1970.",
);
const SNAPSHOTTING: Described = (
    "applier_snapshotting",
    "1 until the first snapshot is complete.",
);
const PAUSED: Described = ("applier_paused", "1 while an operator lets apply rest.");
const HELD_TABLES: Described = (
    "applier_held_tables",
    "Tables that wait while the others go on.",
);
const DEAD_LETTERS_OPEN: Described = (
    "applier_dead_letters_open",
    "Changes that were set aside, and are neither redriven nor discarded.",
);
const ROWS_TOTAL: Described = ("applier_rows_total", "Changes applied, by operation.");
const TRANSACTIONS_TOTAL: Described = (
    "applier_transactions_total",
    "Transactions of the source applied.",
);
const BATCHES_TOTAL: Described = (
    "applier_batches_total",
    "Transactions committed on the target.",
);
const MISSING_ROWS_TOTAL: Described = (
    "applier_missing_rows_total",
    "Rows to update or delete that the target did not have.",
);
const CONFLICTS_TOTAL: Described = (
    "applier_conflicts_total",
    "Batches that were applied change by change after a unique violation.",
);
const OVERWRITTEN_ROWS_TOTAL: Described = (
    "applier_overwritten_rows_total",
    "Rows of the target that gave way to rows of the source.",
);
const RETRIES_TOTAL: Described = (
    "applier_retries_total",
    "Attempts that failed for a moment, by what was away.",
);
const ORPHAN_RECORDS_TOTAL: Described = (
    "applier_orphan_records_total",
    "Data records that no commits record covers.",
);
const IGNORED_COMMITS_TOTAL: Described = (
    "applier_ignored_commits_total",
    "Commits records of a dead capture that came late.",
);
const PREFETCHED_BYTES: Described = (
    "applier_prefetched_bytes",
    "Records read ahead of their turn.",
);
const APPLY_SECONDS: Described = (
    "applier_apply_seconds",
    "Time that a batch takes on the target.",
);
const COMMIT_TO_VISIBLE_SECONDS: Described = (
    "applier_commit_to_visible_seconds",
    "From a batch's last commit on the source to its commit on the target.",
);

/// From a millisecond to ten minutes in steps of at most two thirds, so that a quantile is no
/// further off.
const SECONDS: [f64; 31] = [
    0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
    0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// The applier's metrics. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) applied_commit_lsn: IntGauge,
    pub(crate) commits_offset: IntGauge,
    pub(crate) commits_end_offset: IntGauge,
    pub(crate) commit_time_seconds: IntGauge,
    pub(crate) snapshotting: IntGauge,
    pub(crate) paused: IntGauge,
    pub(crate) held_tables: IntGauge,
    pub(crate) dead_letters: IntGauge,
    pub(crate) rows: IntCounterVec,
    pub(crate) transactions: IntCounter,
    pub(crate) batches: IntCounter,
    pub(crate) missing_rows: IntCounter,
    pub(crate) conflicts: IntCounter,
    pub(crate) overwritten_rows: IntCounter,
    pub(crate) retries: IntCounterVec,
    pub(crate) orphans: IntCounter,
    pub(crate) ignored_commits: IntCounter,
    pub(crate) prefetched_bytes: IntGauge,
    pub(crate) apply_seconds: Histogram,
    pub(crate) commit_to_visible_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |(name, help): Described| registered(registry, IntGauge::new(name, help)?);
        let counter = |(name, help): Described| registered(registry, IntCounter::new(name, help)?);
        let labelled = |(name, help): Described, label| {
            registered(
                registry,
                IntCounterVec::new(Opts::new(name, help), &[label])?,
            )
        };
        let seconds = |(name, help): Described| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            registered(registry, Histogram::with_opts(options)?)
        };
        Ok(Self {
            applied_commit_lsn: gauge(APPLIED_COMMIT_LSN)?,
            commits_offset: gauge(COMMITS_OFFSET)?,
            commits_end_offset: gauge(COMMITS_END_OFFSET)?,
            commit_time_seconds: gauge(APPLIED_COMMIT_TIME_SECONDS)?,
            snapshotting: gauge(SNAPSHOTTING)?,
            paused: gauge(PAUSED)?,
            held_tables: gauge(HELD_TABLES)?,
            dead_letters: gauge(DEAD_LETTERS_OPEN)?,
            rows: {
                let rows = labelled(ROWS_TOTAL, "op")?;
                // Shown as zero from the start: a rate needs a first value.
                for op in ["insert", "update", "delete", "truncate"] {
                    rows.with_label_values(&[op]);
                }
                rows
            },
            transactions: counter(TRANSACTIONS_TOTAL)?,
            batches: counter(BATCHES_TOTAL)?,
            missing_rows: counter(MISSING_ROWS_TOTAL)?,
            conflicts: counter(CONFLICTS_TOTAL)?,
            overwritten_rows: counter(OVERWRITTEN_ROWS_TOTAL)?,
            retries: {
                let retries = labelled(RETRIES_TOTAL, "dependency")?;
                for dependency in [KAFKA, REGISTRY, TARGET, PIPELINE] {
                    retries.with_label_values(&[dependency]);
                }
                retries
            },
            orphans: counter(ORPHAN_RECORDS_TOTAL)?,
            ignored_commits: counter(IGNORED_COMMITS_TOTAL)?,
            prefetched_bytes: gauge(PREFETCHED_BYTES)?,
            apply_seconds: seconds(APPLY_SECONDS)?,
            commit_to_visible_seconds: seconds(COMMIT_TO_VISIBLE_SECONDS)?,
        })
    }

    pub(crate) fn applied(&self, commit_lsn: Lsn, commits_offset: i64, commit_time: i64) {
        // A gauge is signed; no log is 8 EB long.
        let byte = i64::try_from(commit_lsn.as_u64()).unwrap_or(i64::MAX);
        self.applied_commit_lsn.set(byte);
        self.commits_offset.set(commits_offset);
        self.commit_time_seconds.set(commit_time / 1_000_000);
    }
}

/// Time since `commit_time` (microseconds since 1970): zero where clocks disagree.
pub(crate) fn since(commit_time: i64) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let then = Duration::from_micros(u64::try_from(commit_time).unwrap_or(0));
    now.saturating_sub(then)
}

fn registered<M>(registry: &Registry, metric: M) -> prometheus::Result<M>
where
    M: prometheus::core::Collector + Clone + 'static,
{
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
