//! Replaying what the topics still hold.
//!
//! The engine is the applier's; this says where the pipeline's parts are, what people write, and
//! what they are told (`report`).

mod report;
pub use report::{Begun, Course, Earliest, Past, Report, RowDifference};

use std::str::FromStr;

use anyhow::{Context, anyhow, ensure};
use applier::replay::{self, By, ReplayError};
pub use applier::replay::{
    Begin, CaughtUp, Destination, Entry, Event, Numbers, Outcome, Request, TableRows,
};
use applier::{Conflicts, SchemaChanges};
use change::topic::Topics;
use change::{Lsn, TableName};
use chrono::{DateTime, SecondsFormat, Utc};
use service::postgres::{Connection, connect};

use crate::audit::Actor;
use crate::endpoints::Endpoints;

/// As the applier has them unless it is told otherwise.
const BATCH_ROWS: u32 = 20_000;
const BATCH_MEGABYTES: u32 = 8;
const PREFETCH_MEGABYTES: u32 = 16;

/// What the applier's engine wants to know of a pipeline.
///
/// # Errors
/// When the prefix is none, the target does not answer, or a key of hashes is missing.
pub async fn applier_config(endpoints: &Endpoints) -> anyhow::Result<applier::Config> {
    let client = target(endpoints).await?;
    let pipeline = &endpoints.names.pipeline;
    let differences = endpoints.differences.or_stored(&client, pipeline).await?;
    differences.check()?;
    Ok(applier::Config {
        differences,
        target: (*endpoints.target).clone(),
        kafka: endpoints.kafka.clone(),
        kafka_option: endpoints.kafka_options.clone(),
        registry: endpoints.registry.clone(),
        prefix: Topics::new(endpoints.names.prefix.clone())?,
        pipeline: endpoints.names.pipeline.clone(),
        conflicts: Conflicts::default(),
        schema_changes: SchemaChanges::default(),
        batch_rows: BATCH_ROWS,
        batch_megabytes: BATCH_MEGABYTES,
        prefetch_megabytes: PREFETCH_MEGABYTES,
    })
}

/// Finds out what a replay would do.
///
/// # Errors
/// When it is refused, or cannot be read.
pub async fn dry_run(
    endpoints: &Endpoints,
    request: &Request,
    report: &mut (dyn FnMut(Event<'_>) + Send + Sync),
) -> anyhow::Result<Outcome> {
    let config = applier_config(endpoints).await?;
    let outcome = Box::pin(replay::dry_run(&config, request, report)).await;
    outcome.map_err(explained)
}

/// Replays, or goes on with one like it.
///
/// # Errors
/// When it is refused, cancelled, or cannot go on.
pub async fn run(
    endpoints: &Endpoints,
    request: &Request,
    actor: &Actor,
    report: &mut (dyn FnMut(Event<'_>) + Send + Sync),
) -> anyhow::Result<Outcome> {
    require_reason(actor)?;
    let config = applier_config(endpoints).await?;
    let outcome = Box::pin(replay::run(&config, request, &by(actor), report)).await;
    outcome.map_err(explained)
}

/// # Errors
/// When nobody says why.
pub fn require_reason(actor: &Actor) -> anyhow::Result<()> {
    ensure!(actor.reason.is_some(), "say why with --reason");
    Ok(())
}

/// Goes on with one that was begun.
///
/// # Errors
/// As [`run`].
pub async fn resume(
    endpoints: &Endpoints,
    id: i64,
    actor: &Actor,
    report: &mut (dyn FnMut(Event<'_>) + Send + Sync),
) -> anyhow::Result<Outcome> {
    let config = applier_config(endpoints).await?;
    let outcome = Box::pin(replay::resume(&config, id, &by(actor), report)).await;
    outcome.map_err(explained)
}

/// Stops one at its next transaction.
///
/// # Errors
/// When it does not run.
pub async fn cancel(endpoints: &Endpoints, id: i64, actor: &Actor) -> anyhow::Result<()> {
    let target = target(endpoints).await?;
    let cancelled = replay::cancel(&target, &endpoints.names.pipeline, id, &by(actor)).await;
    cancelled.map_err(explained)
}

/// Brings a held table up to the others, and has apply go on with it.
///
/// # Errors
/// When it is not held, a change cannot be applied, or the topics do not reach back.
pub async fn catch_up(
    endpoints: &Endpoints,
    table: &TableName,
    actor: &Actor,
    report: impl FnMut(u64, u64),
) -> anyhow::Result<CaughtUp> {
    let config = applier_config(endpoints).await?;
    let caught_up = Box::pin(replay::catch_up(&config, table, &by(actor), report)).await;
    caught_up.map_err(explained)
}

/// Those that were begun, the last first.
///
/// # Errors
/// When the target does not answer.
pub async fn list(endpoints: &Endpoints) -> anyhow::Result<Vec<Entry>> {
    let target = target(endpoints).await?;
    let entries = replay::list(&target, &endpoints.names.pipeline).await;
    entries.map_err(explained)
}

async fn target(endpoints: &Endpoints) -> anyhow::Result<Connection> {
    let target = connect(&endpoints.target, "lockstep replay").await;
    target.context("connect to the target")
}

fn by(actor: &Actor) -> By {
    By {
        who: actor.who.clone(),
        reason: actor.reason.clone(),
    }
}

fn explained(error: ReplayError) -> anyhow::Error {
    anyhow::Error::new(error)
}

/// `earliest`, or an LSN.
///
/// # Errors
/// When it is neither.
pub fn begin_at_lsn(text: &str) -> anyhow::Result<Begin> {
    match text {
        "earliest" => Ok(Begin::Earliest),
        lsn => Ok(Begin::Lsn(Lsn::from_str(lsn)?)),
    }
}

/// A time as RFC 3339 has it.
///
/// # Errors
/// When it is none.
pub fn begin_at_time(text: &str) -> anyhow::Result<Begin> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| anyhow!("not a time: expected one such as 2026-01-31T12:00:00Z"))?;
    Ok(Begin::Time(time.timestamp_micros()))
}

/// As RFC 3339 has it.
pub fn time(micros: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_read_as_people_write_them() {
        assert_eq!(begin_at_lsn("earliest").unwrap(), Begin::Earliest);
        assert_eq!(
            begin_at_lsn("1/A").unwrap(),
            Begin::Lsn(Lsn::new(0x1_0000_000A))
        );
        let noon = begin_at_time("2026-01-31T13:00:00.5+01:00").unwrap();
        assert_eq!(noon, Begin::Time(1_769_860_800_500_000));
        assert!(begin_at_time("2026-01-31 13:00").is_err());
        assert!(begin_at_lsn("latest").is_err());
    }
}
