//! What is beside the stream, as metrics: what is kept back, replays, and what the last verification
//! found. All of it stands on the target.

use change::Lsn;
use prometheus::{GaugeVec, Opts, Registry};
use service::postgres::Watch;
use tokio_postgres::{Client, Error};

use crate::config::Config;

#[derive(Clone, Debug, Default)]
struct Aside {
    /// What is behind this is missing in some table.
    kept_back: Option<Lsn>,
    unpublished_letters: i64,
    replays_running: i64,
    verification: Option<Verification>,
}

/// The last one.
#[derive(Clone, Copy, Debug)]
struct Verification {
    /// Rows that differed and were not repaired.
    rows_different: i64,
    /// Seconds since 1970.
    finished_at: f64,
}

/// Runs until it is dropped.
///
/// # Errors
/// When `registry` has a metric of the same name already.
pub(crate) fn watch(config: &Config, registry: &Registry) -> Result<Watch, prometheus::Error> {
    let metrics = Metrics::register(registry)?;
    let pipeline = config.pipeline.clone();
    Ok(Watch::start(
        config.target.clone(),
        "lockstep applier watch",
        move |client| {
            let pipeline = pipeline.clone();
            Box::pin(async move { look(client, &pipeline).await })
        },
        move |aside| metrics.show(aside.as_ref()),
    ))
}

async fn look(client: &Client, pipeline: &str) -> Result<Aside, Error> {
    let row = client.query_one(ASIDE, &[&pipeline]).await?;
    let kept_back: Option<&str> = row.try_get(0)?;
    let rows_different: Option<i64> = row.try_get(3)?;
    let finished_at: Option<f64> = row.try_get(4)?;
    Ok(Aside {
        // Postgres' own text of an LSN is always one.
        kept_back: kept_back.and_then(|lsn| lsn.parse().ok()),
        unpublished_letters: row.try_get(1)?,
        replays_running: row.try_get(2)?,
        verification: rows_different
            .zip(finished_at)
            .map(|(rows, at)| Verification {
                rows_different: rows,
                finished_at: at,
            }),
    })
}

/// One row, whatever there is.
const ASIDE: &str = "
select least((select min(commit_lsn) from lockstep.held_tables where pipeline = $1),
             (select min(commit_lsn) - 1 from lockstep.dead_letters
               where pipeline = $1 and state = 'open'))::text,
       (select count(*) from lockstep.dead_letters where pipeline = $1 and published_at is null),
       (select count(*) from lockstep.replays where pipeline = $1 and state = 'running'),
       v.rows_different, v.finished_at
  from (select 1) one
  left join (select case when equal then 0
                         else greatest(rows_different - rows_repaired, 0) end as rows_different,
                    extract(epoch from finished_at)::float8 as finished_at
               from lockstep.verifications where pipeline = $1 order by id desc limit 1) v on true";

/// What is not known has no value, so all are vectors without a label.
struct Metrics {
    kept_back_lsn: GaugeVec,
    unpublished_letters: GaugeVec,
    replays_running: GaugeVec,
    rows_different: GaugeVec,
    verification_time_seconds: GaugeVec,
}

impl Metrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(name, help), &[])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            kept_back_lsn: gauge(
                "applier_kept_back_lsn",
                "What is behind it is missing in a held table, or of a key with a dead letter.",
            )?,
            unpublished_letters: gauge(
                "applier_dead_letters_unpublished",
                "Dead letters that Kafka has not acknowledged in their topic yet.",
            )?,
            replays_running: gauge("applier_replays_running", "Replays that run.")?,
            rows_different: gauge(
                "applier_verification_rows_different",
                "Rows that the last verification found to differ, and that were not repaired.",
            )?,
            verification_time_seconds: gauge(
                "applier_verification_time_seconds",
                "When the last verification ended, in seconds since 1970.",
            )?,
        })
    }

    fn show(&self, aside: Option<&Aside>) {
        let verification = aside.and_then(|aside| aside.verification);
        let kept_back = aside.and_then(|aside| aside.kept_back);
        // Up to 8 PB of log a float is exact.
        set(
            &self.kept_back_lsn,
            kept_back.map(|lsn| lsn.as_u64() as f64),
        );
        let unpublished = aside.map(|aside| aside.unpublished_letters as f64);
        set(&self.unpublished_letters, unpublished);
        let running = aside.map(|aside| aside.replays_running as f64);
        set(&self.replays_running, running);
        let different = verification.map(|it| it.rows_different as f64);
        set(&self.rows_different, different);
        let finished_at = verification.map(|it| it.finished_at);
        set(&self.verification_time_seconds, finished_at);
    }
}

fn set(gauge: &GaugeVec, value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values::<&str>(&[]).set(value),
        None => gauge.reset(),
    }
}
