//! `lockstep verify`: whether the target holds the source's rows.

use std::process::ExitCode;
use std::time::Duration;

use change::Lsn;
use operate::endpoints::EndpointsConfig;
use operate::units;
use operate::verify::{Comparison, Pair};
use serde_json::json;

use crate::screen::{self, StatusLine};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// Compare this table only, as schema.table; repeatable
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,

    /// Print one JSON object
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
}

/// # Errors
/// When a side cannot be read, or the target does not catch up in time; a difference is an answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let mut progress = Progress::new(config.json);
    let deadline = Duration::from_secs(config.deadline);
    let pair = Pair::connect(&endpoints.source, &endpoints.target).await?;
    let tables = pair
        .tables(&endpoints.names.publication, &config.table)
        .await?;
    let lsn = pair
        .meet(&endpoints.names.pipeline, deadline, |behind| {
            progress.say(&format!("the target is {} behind", units::bytes(behind)));
        })
        .await?;
    let comparisons = pair.compare(&tables, |text| progress.say(text)).await?;
    progress.finish();
    report(lsn, &comparisons, config.json)?;
    Ok(match comparisons.iter().all(Comparison::is_equal) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn report(lsn: Lsn, comparisons: &[Comparison], as_json: bool) -> anyhow::Result<()> {
    let equal = comparisons.iter().all(Comparison::is_equal);
    if as_json {
        let report = json!({ "equal": equal, "lsn": lsn.to_string(), "tables": comparisons });
        screen::line(&serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    for comparison in comparisons {
        screen::line(&comparison.to_string());
    }
    screen::line(&match equal {
        true => format!("equal at {lsn}"),
        false => format!("different at {lsn}"),
    });
    Ok(())
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
