//! `lockstep verify`: whether the target holds the source's rows.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use operate::endpoints::Endpoints;
use operate::verify::{self, Limits, LoadLimit, Mend, Options, Report, Verification};
use service::Shutdown;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::screen::{self, StatusLine};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    pipeline: PipelineConfig,

    /// Compare this table only, as schema.table; repeatable
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,

    /// Make rows that differ as they are on the source, and compare again
    #[arg(long)]
    repair: bool,

    /// Compare again and again, with this time between two beginnings (30s, 10m, 2h), until Ctrl-C
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    schedule: Option<Duration>,

    /// Show what was found before, and compare nothing
    #[arg(long, conflicts_with_all = ["repair", "schedule", "table"])]
    history: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Seconds that the target has to catch up with the source
    #[arg(
        long,
        env = "LOCKSTEP_VERIFY_DEADLINE",
        value_name = "SECONDS",
        default_value_t = 300
    )]
    deadline: u64,

    /// Seconds that apply may be held without anything to do
    #[arg(
        long,
        env = "LOCKSTEP_VERIFY_HOLD_LIMIT",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    hold_limit: u64,

    /// Connections that read, on each side [default: 2, with --schedule 1]
    #[arg(long, env = "LOCKSTEP_VERIFY_READERS", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    readers: Option<u16>,

    /// Percent of the time that a reader may be at work [default: 100, with --schedule 25]
    #[arg(long, env = "LOCKSTEP_VERIFY_LOAD_LIMIT", value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    load_limit: Option<u8>,

    /// Rows that differ are named up to this number, of each table; of --history, so many are shown
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16))]
    limit: u16,

    #[command(flatten)]
    actor: ActorConfig,
}

/// # Errors
/// When a side cannot be read, or they do not meet; a difference is an answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let pipeline = config.pipeline.clone().open()?;
    if config.history {
        let history = history(&pipeline, config.limit).await?;
        return show_history(&history, config.json);
    }
    let Pipeline::Direct(endpoints) = pipeline else {
        bail!("a console shows --history only: to compare, leave out --console and name the parts");
    };
    let options = config.options();
    match config.schedule {
        Some(interval) => repeat(&config, &endpoints, &options, interval).await,
        None => {
            let report = compare(&config, &endpoints, &options).await?;
            show(&report, config.json)?;
            Ok(code(report.equal))
        }
    }
}

impl Config {
    fn options(&self) -> Options {
        let (readers, percent) = match self.schedule {
            Some(_) => (1, 25),
            None => (2, 100),
        };
        Options {
            tables: self.table.clone(),
            readers: self.readers.unwrap_or(readers),
            load: LoadLimit::new(self.load_limit.unwrap_or(percent)),
            limits: Limits {
                hold: Duration::from_secs(self.hold_limit),
                deadline: Duration::from_secs(self.deadline),
            },
            rows_named: self.limit.into(),
            mend: match self.repair {
                true => Mend::Repair,
                false => Mend::Leave,
            },
            actor: self.actor.actor(),
        }
    }
}

async fn compare(
    config: &Config,
    endpoints: &Endpoints,
    options: &Options,
) -> anyhow::Result<Report> {
    let mut progress = Progress::new(config.json);
    let report = Box::pin(verify::run(endpoints, options, |text| progress.say(text))).await;
    progress.finish();
    report
}

/// Compares until a stop is requested. A comparison that fails is told, and does not end it.
async fn repeat(
    config: &Config,
    endpoints: &Endpoints,
    options: &Options,
    interval: Duration,
) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::on_signals()?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(code(well)),
            _ = ticks.tick() => {}
        }
        let compared = tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(code(well)),
            compared = compare(config, endpoints, options) => compared,
        };
        match compared {
            Ok(report) => {
                well &= report.equal;
                show(&report, config.json)?;
            }
            Err(error) => {
                well = false;
                tracing::warn!(error = format!("{error:#}"), "could not compare");
            }
        }
    }
}

fn show(report: &Report, as_json: bool) -> anyhow::Result<()> {
    screen::line(&match as_json {
        true => serde_json::to_string_pretty(report)?,
        false => report.to_string(),
    });
    Ok(())
}

async fn history(pipeline: &Pipeline, limit: u16) -> anyhow::Result<Vec<Verification>> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let target = connect(&endpoints.target, "lockstep verify").await?;
            verify::history(&target, &endpoints.names.pipeline, limit.into()).await
        }
        Pipeline::Remote(console) => {
            let limit = limit.to_string();
            console.get(&["verifications"], &[("limit", &limit)]).await
        }
    }
}

fn show_history(history: &[Verification], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        screen::line(&serde_json::to_string_pretty(history)?);
    } else {
        for verification in history {
            screen::line(&verification.to_string());
        }
    }
    // The latest says how things are.
    Ok(code(history.first().is_none_or(|latest| latest.equal)))
}

fn code(well: bool) -> ExitCode {
    match well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Reads `30s`, `10m`, `2h` or `1d`.
fn duration(text: &str) -> Result<Duration, String> {
    let rule = || "expected a number and a unit: 30s, 10m, 2h or 1d".to_owned();
    let unit = text.chars().last().ok_or_else(rule)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(rule()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| rule())?;
    match number {
        0 => Err(rule()),
        number => Ok(Duration::from_secs(u64::from(number) * seconds)),
    }
}

/// What a person reads while it takes its time; nothing beside JSON.
pub(crate) struct Progress(Option<StatusLine>);

impl Progress {
    pub(crate) fn new(silent: bool) -> Self {
        // Elsewhere than on a terminal, only the answer is wanted.
        let line = StatusLine::new();
        Self((!silent && line.is_terminal()).then_some(line))
    }

    pub(crate) fn say(&mut self, text: &str) {
        if let Some(line) = &mut self.0 {
            line.show(text);
        }
    }

    pub(crate) fn finish(&mut self) {
        if let Some(line) = &mut self.0 {
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "10", "0s", "m", "-1m", "1.5h", "10µ"] {
            duration(text).unwrap_err();
        }
    }
}
