//! `lockstep replay`: rows as the topics have them, into the live tables or into a schema of their
//! own.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use change::{Lsn, TableName};
use chrono::DateTime;
use operate::endpoints::Endpoints;
use operate::replay::{
    self, Begin, Begun, Course, Destination, Earliest, Event, Numbers, Past, Report, Request,
    TableRows,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::actor::ActorConfig;
use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::commands::remote::Remote;
use crate::commands::verify::Progress;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    pipeline: PipelineConfig,

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
    table: Vec<TableName>,

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
    let pipeline = config.pipeline.clone().open()?;
    if config.list {
        print_list(&list(&pipeline).await?, config.json)?;
    } else if let Some(id) = config.cancel {
        cancel(&pipeline, id, &config.actor).await?;
        if !config.json {
            screen::line(&format!("replay {id} stops at its next transaction"));
        }
    } else {
        let report = match &pipeline {
            Pipeline::Direct(endpoints) => Box::pin(perform(&config, endpoints)).await?,
            Pipeline::Remote(console) => have_performed(&config, console).await?,
        };
        match config.json {
            true => print_json(&report)?,
            false => print_end(&report),
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(pipeline: &Pipeline) -> anyhow::Result<Vec<Past>> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let entries = replay::list(endpoints).await?;
            Ok(entries.iter().map(Past::of).collect())
        }
        Pipeline::Remote(console) => console.get(&["replays"], &[]).await,
    }
}

async fn cancel(pipeline: &Pipeline, id: i64, actor: &ActorConfig) -> anyhow::Result<()> {
    match pipeline {
        Pipeline::Direct(endpoints) => replay::cancel(endpoints, id, &actor.actor()).await,
        Pipeline::Remote(console) => {
            let fields = json!({ "id": id, "reason": actor.reason()? });
            console.act("replay-cancel", &fields).await
        }
    }
}

async fn perform(config: &Config, endpoints: &Endpoints) -> anyhow::Result<Report> {
    let mut progress = Progress::new(config.json);
    let mut pace = Pace::new();
    let mut report = |event: Event<'_>| match event {
        Event::Reading { read, of } => progress.say(&pace.line("reading", read, of)),
        Event::Merging { done, of } => progress.say(&pace.line("rows in place", done, of)),
        Event::Planned(plan) => {
            progress.finish();
            pace = Pace::new();
            if !config.json {
                print_plan(&Report::of(plan));
            }
        }
    };
    let actor = config.actor.actor();
    let outcome = match (config.resume, config.dry_run) {
        (Some(id), _) => replay::resume(endpoints, id, &actor, &mut report).await,
        (None, true) => replay::dry_run(endpoints, &config.request()?, &mut report).await,
        (None, false) => replay::run(endpoints, &config.request()?, &actor, &mut report).await,
    };
    progress.finish();
    Ok(Report::of(&outcome?))
}

/// A console replays nothing without a dry run, and goes on when who asked for it has gone.
async fn have_performed(config: &Config, console: &Remote) -> anyhow::Result<Report> {
    let reason = config.actor.reason()?;
    if let Some(id) = config.resume {
        let fields = json!({ "id": id, "reason": reason });
        let begun: Begun = console.act("replay-resume", &fields).await?;
        return follow(config, console, begun.plan).await;
    }
    let request = config.request()?;
    if !config.dry_run {
        replay::require_reason(&config.actor.actor())?;
    }
    let Begun { plan, confirm } = console.act("replay-plan", &fields(&request)).await?;
    let planned = follow(config, console, plan).await?;
    if config.dry_run {
        return Ok(planned);
    }
    if !config.json {
        print_plan(&planned);
    }
    let fields = json!({ "plan": plan, "confirm": confirm, "reason": reason });
    let _: Begun = console.act("replay-run", &fields).await?;
    follow(config, console, plan).await
}

/// As the console's wizard asks for it.
fn fields(request: &Request) -> Value {
    let (begin, at) = match request.begin {
        Begin::Earliest => ("earliest", String::new()),
        Begin::Lsn(lsn) | Begin::Resumed { from: lsn, .. } => ("lsn", lsn.to_string()),
        Begin::Time(micros) => {
            let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
            ("time", time.to_rfc3339())
        }
        Begin::Offset(offset) => ("offset", offset.to_string()),
    };
    let tables: Vec<String> = request.tables.iter().map(TableName::to_string).collect();
    let into = match &request.into {
        Destination::Live => None,
        Destination::Schema(schema) => Some(schema),
    };
    json!({ "begin": begin, "at": at, "to": request.to, "table": tables, "into": into })
}

const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);

/// Waits for the end of a dry run, or of a run.
async fn follow(config: &Config, console: &Remote, plan: u64) -> anyhow::Result<Report> {
    let mut progress = Progress::new(config.json);
    let plan = plan.to_string();
    loop {
        match console.get(&["replays", "plans", &plan], &[]).await? {
            Course::Trying { far } | Course::Running { far } => progress.say(&far),
            Course::Planned { report } | Course::Done { report } => {
                progress.finish();
                return Ok(*report);
            }
            Course::Failed { error } => {
                progress.finish();
                bail!(error);
            }
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
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
            tables: self.table.clone(),
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

fn print_plan(plan: &Report) {
    let (from, to, at) = (plan.from_lsn, plan.to_lsn, plan.at_lsn);
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
        let (schema, table, key) = (&difference.schema, &difference.table, &difference.key);
        screen::line(&format!("  {schema}.{table} {key}: {before} -> {after}"));
    }
}

fn print_end(report: &Report) {
    match report.id {
        Some(id) => {
            let at = report.at_lsn;
            print_tables(report);
            screen::line(&format!(
                "replay {id} is done; the rows are as they were at {at}"
            ));
        }
        None => {
            print_plan(report);
            let Earliest {
                lsn,
                offset,
                commit_time,
            } = &report.earliest;
            screen::line(&format!(
                "the earliest position is {lsn} (offset {offset} of the commits topic), \
                 of {commit_time}"
            ));
            screen::line(&format!("a run takes about {} s", report.seconds.ceil()));
        }
    }
}

fn print_tables(report: &Report) {
    let name = |rows: &TableRows| format!("{}.{}", rows.schema, rows.table);
    let width = report.tables.iter().map(|it| name(it).len()).max();
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
    for rows in &report.tables {
        line(&name(rows), &rows.numbers);
    }
    line("total", &report.total);
}

fn print_list(replays: &[Past], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&replays);
    }
    for replay in replays {
        let into = match &replay.into {
            None => "the live tables".to_owned(),
            Some(schema) => format!("schema {schema}"),
        };
        let error = replay.error.as_ref().map(|error| format!(": {error}"));
        screen::line(&format!(
            "{} {}, {} to {} into {into}, {} changes read, by {} ({}){}",
            replay.id,
            replay.state,
            replay.from_lsn,
            replay.to_lsn,
            replay.rows_read,
            replay.started_by,
            replay.reason,
            error.unwrap_or_default()
        ));
    }
    Ok(())
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    screen::line(&serde_json::to_string_pretty(value).context("write JSON")?);
    Ok(())
}
