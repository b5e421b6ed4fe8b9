//! `lockstep status`: where every stage stands.

use std::process::ExitCode;
use std::time::Duration;

use service::Shutdown;

use operate::endpoints::EndpointsConfig;
use operate::status::{Observer, Report};

use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

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
/// When a part is not named. A part that does not answer is shown as such.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let max_lag = Duration::from_secs(config.max_lag);
    let mut observer = Observer::new(endpoints, max_lag);
    let mut report = observer.look().await;
    if config.watch {
        let shutdown = Shutdown::on_signals()?;
        while !shutdown.is_requested() {
            show(&report, config.json, true)?;
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                () = tokio::time::sleep(WATCH_INTERVAL) => report = observer.look().await,
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
