//! `lockstep replay`: rows as the topics have them, into the live tables or into a schema of their
//! own.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use change::{Lsn, TableName};
use operate::audit::Actor;
use operate::endpoints::{Endpoints, EndpointsConfig};
use operate::replay::{self, Begin, Destination, Entry, Event, Numbers, Outcome, Request};
use serde_json::Value;

use crate::commands::actor::ActorConfig;
use crate::commands::tables::TableArgument;
use crate::commands::verify::Progress;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// Begin with what committed at this LSN, or with the earliest change that is still there
    #[arg(long, value_name = "LSN|earliest", value_parser = replay::begin_at_lsn, group = "begin")]
    from_lsn: Option<Begin>,

    /// Begin with what committed at this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = replay::begin_at_time, group = "begin")]
    from_time: Option<Begin>,

    /// Begin with this record of the commits topic
    #[arg(long, value_name = "OFFSET", group = "begin")]
    from_offset: Option<i64>,

    /// End with what committed at this LSN, instead of where the target is
    #[arg(long, value_name = "LSN")]
    to_lsn: Option<Lsn>,

    /// Replay this table only, as schema.table; repeatable
    #[arg(long, value_name = "TABLE")]
    table: Vec<TableArgument>,

    /// Copy the tables as they stood at --to-lsn into this schema. Tables of public keep their names;
    /// those of another schema s are called "s.table" there
    #[arg(long, value_name = "SCHEMA")]
    into: Option<String>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    actor: ActorConfig,

    /// Show the replays there were
    #[arg(long, group = "begin")]
    list: bool,

    /// Stop a replay at its next transaction
    #[arg(long, value_name = "ID", group = "begin")]
    cancel: Option<i64>,

    /// Go on with a replay that was stopped
    #[arg(long, value_name = "ID", group = "begin")]
    resume: Option<i64>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When it is refused, cancelled, or cannot go on.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.clone().resolve()?;
    if config.list {
        let entries = replay::list(&endpoints).await?;
        print_list(&entries, config.json)?;
    } else if let Some(id) = config.cancel {
        replay::cancel(&endpoints, id, &config.actor.clone().into()).await?;
        if !config.json {
            screen::line(&format!("replay {id} stops at its next transaction"));
        }
    } else {
        let outcome = Box::pin(perform(&config, &endpoints)).await?;
        match config.json {
            true => json(&replay::outcome_json(&outcome))?,
            false => print_end(&outcome),
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn perform(config: &Config, endpoints: &Endpoints) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new(config.json);
    let mut pace = Pace::new();
    let mut report = |event: Event<'_>| match event {
        Event::Reading { read, of } => progress.say(&pace.line("reading", read, of)),
        Event::Merging { done, of } => progress.say(&pace.line("rows in place", done, of)),
        Event::Planned(plan) => {
            progress.finish();
            pace = Pace::new();
            if !config.json {
                print_plan(plan);
            }
        }
    };
    let actor: Actor = config.actor.clone().into();
    let outcome = match (config.resume, config.dry_run) {
        (Some(id), _) => replay::resume(endpoints, id, &actor, &mut report).await,
        (None, true) => replay::dry_run(endpoints, &config.request()?, &mut report).await,
        (None, false) => replay::run(endpoints, &config.request()?, &actor, &mut report).await,
    };
    progress.finish();
    outcome
}

impl Config {
    fn request(&self) -> anyhow::Result<Request> {
        let offset = self.from_offset.map(Begin::Offset);
        let begin = self.from_lsn.or(self.from_time).or(offset);
        let into = match &self.into {
            Some(schema) => Destination::Schema(schema.clone()),
            None => Destination::Live,
        };
        let begin = match (&into, begin) {
            (_, Some(begin)) => begin,
            // The last snapshot before its end.
            (Destination::Schema(_), None) => Begin::Earliest,
            (Destination::Live, None) => {
                bail!("say where to begin: --from-lsn, --from-time or --from-offset")
            }
        };
        Ok(Request {
            begin,
            to: self.to_lsn,
            tables: self.table.iter().map(|it| it.0.clone()).collect(),
            into,
        })
    }
}

/// How fast it goes, and when it will be done.
struct Pace {
    begun: std::time::Instant,
    first: Option<u64>,
}

impl Pace {
    fn new() -> Self {
        Self {
            begun: std::time::Instant::now(),
            first: None,
        }
    }

    fn line(&mut self, what: &str, done: u64, of: u64) -> String {
        let first = *self.first.get_or_insert(done);
        let percent = (done * 100).checked_div(of).unwrap_or(100).min(100);
        let since = done.saturating_sub(first);
        let left = of.saturating_sub(done);
        let seconds = (u128::from(left) * self.begun.elapsed().as_millis() / 1000)
            .checked_div(u128::from(since));
        match seconds {
            Some(seconds) => format!("{what}: {done} of {of}, {percent} %, {seconds} s left"),
            None => format!("{what}: {done} of {of}, {percent} %"),
        }
    }
}

fn print_plan(plan: &Outcome) {
    let (from, to, at) = (plan.from, plan.to, plan.at);
    screen::line(&format!(
        "rows that changed from {from} to {to}, as they are at {at}:"
    ));
    print_tables(plan);
    for difference in &plan.differences {
        let side = |side: &Option<Value>| match side {
            Some(row) => row.to_string(),
            None => "no row".to_owned(),
        };
        let (before, after) = (side(&difference.before), side(&difference.after));
        let (table, key) = (&difference.table, &difference.key);
        screen::line(&format!("  {table} {key}: {before} -> {after}"));
    }
}

fn print_end(outcome: &Outcome) {
    match outcome.id {
        Some(id) => {
            let at = outcome.at;
            print_tables(outcome);
            screen::line(&format!(
                "replay {id} is done; the rows are as they were at {at}"
            ));
        }
        None => {
            print_plan(outcome);
            let earliest = &outcome.earliest;
            let time = replay::time(earliest.commit_time);
            screen::line(&format!("the earliest position is {earliest}, of {time}"));
            screen::line(&format!("a run takes about {}", seconds(outcome.takes)));
        }
    }
}

fn print_tables(outcome: &Outcome) {
    let name = |table: &TableName| table.to_string();
    let width = outcome.tables.keys().map(|it| name(it).len()).max();
    let width = width.unwrap_or_default().max("total".len());
    let line = |name: &str, numbers: &Numbers| {
        screen::line(&format!(
            "{name:width$} {:>10} {:>10} {:>10} {:>10} {:>10} {:>15}",
            numbers.read,
            numbers.inserted,
            numbers.updated,
            numbers.deleted,
            numbers.unchanged,
            numbers.going_backwards
        ));
    };
    screen::line(&format!(
        "{:width$} {:>10} {:>10} {:>10} {:>10} {:>10} {:>15}",
        "table", "read", "inserted", "updated", "deleted", "unchanged", "going backwards"
    ));
    let mut total = Numbers::default();
    for (table, numbers) in &outcome.tables {
        line(&name(table), numbers);
        total += *numbers;
    }
    line("total", &total);
}

fn print_list(entries: &[Entry], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&Value::Array(
            entries.iter().map(replay::entry_json).collect(),
        ));
    }
    for entry in entries {
        let into = match &entry.into {
            Destination::Live => "the live tables".to_owned(),
            Destination::Schema(schema) => format!("schema {schema}"),
        };
        let error = entry.error.as_ref().map(|error| format!(": {error}"));
        screen::line(&format!(
            "{} {}, {} to {} into {into}, {} changes read, by {} ({}){}",
            entry.id,
            entry.state,
            entry.from,
            entry.to,
            entry.rows_read,
            entry.started_by,
            entry.reason,
            error.unwrap_or_default()
        ));
    }
    Ok(())
}

fn json(value: &Value) -> anyhow::Result<()> {
    screen::line(&serde_json::to_string_pretty(value).context("write JSON")?);
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64().ceil())
}
