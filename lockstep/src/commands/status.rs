//! `lockstep status`: where every stage stands.

use std::process::ExitCode;
use std::time::Duration;

use operate::status::{Observer, Report};
use serde::Deserialize;
use service::Shutdown;

use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::commands::remote::Remote;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    pipeline: PipelineConfig,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Show it again every second until Ctrl-C
    #[arg(long)]
    watch: bool,

    /// Seconds behind that are still well
    #[arg(
        long,
        env = "LOCKSTEP_MAX_LAG",
        value_name = "SECONDS",
        default_value_t = 300
    )]
    max_lag: u64,
}

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// # Errors
/// When a part is not named, or a console does not answer. A part that does not answer is shown as
/// such.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let mut eyes = match config.pipeline.open()? {
        Pipeline::Direct(endpoints) => Eyes::Ours(Box::new(Observer::new(*endpoints))),
        Pipeline::Remote(console) => Eyes::Theirs(console),
    };
    let mut report = eyes.look(config.max_lag).await?;
    if config.watch {
        let shutdown = Shutdown::on_signals()?;
        while !shutdown.is_requested() {
            show(&report, config.json, true)?;
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                () = tokio::time::sleep(WATCH_INTERVAL) => report = eyes.look(config.max_lag).await?,
            }
        }
    } else {
        show(&report, config.json, false)?;
    }
    Ok(match report.is_healthy() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Who looks.
enum Eyes {
    Ours(Box<Observer>),
    Theirs(Remote),
}

impl Eyes {
    async fn look(&mut self, max_lag: u64) -> anyhow::Result<Report> {
        #[derive(Deserialize)]
        struct Status {
            report: Report,
        }
        match self {
            Self::Ours(observer) => Ok(observer.look(Duration::from_secs(max_lag)).await),
            Self::Theirs(console) => {
                let max_lag = max_lag.to_string();
                let status: Status = console.get(&["status"], &[("max_lag", &max_lag)]).await?;
                Ok(status.report)
            }
        }
    }
}

fn show(report: &Report, as_json: bool, redraw: bool) -> anyhow::Result<()> {
    if as_json {
        // On one line when there are many, so that each line is an object.
        let text = match redraw {
            true => serde_json::to_string(report)?,
            false => serde_json::to_string_pretty(report)?,
        };
        screen::line(&text);
        return Ok(());
    }
    if redraw {
        screen::erase();
    }
    screen::line(report.to_string().trim_end());
    Ok(())
}
