//! A live load through the REST API, and in the end the proof that it all arrived.

mod articles;
mod load;
mod observer;

use std::process::ExitCode;
use std::time::Duration;

use service::Shutdown;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use load::{Load, Tally};
use observer::Observer;

use operate::endpoints::Endpoints;
use operate::verify::{self, Options};

use crate::commands::verify::Progress;
use crate::screen::{self, StatusLine};

#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    /// Create, edit, publish and delete articles all the time
    #[arg(long, env = "LOCKSTEP_DEMO")]
    demo: bool,

    /// End the demo after so many seconds, compare all tables, and stop
    #[arg(
        long,
        env = "LOCKSTEP_DEMO_SECONDS",
        value_name = "SECONDS",
        requires = "demo"
    )]
    demo_seconds: Option<u64>,

    /// Requests a second that the demo makes
    #[arg(long, env = "LOCKSTEP_DEMO_RATE", value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    demo_rate: u32,
}

impl Config {
    pub(crate) fn is_wanted(&self) -> bool {
        self.demo
    }
}

/// How long the target has to catch up once the writers have stopped.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);

/// How long the snapshot of a source that holds data already may take before the load begins.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Between two status lines: often enough to look alive on a terminal, seldom enough for a log.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(500);
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the load until its time is over or a stop is requested. With a time, says at the end
/// whether the tables are equal.
///
/// # Errors
/// When API or databases do not answer; a difference is an answer, with exit code 1.
pub(crate) async fn run(
    config: &Config,
    api: &str,
    endpoints: &Endpoints,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let mut line = StatusLine::new();
    let mut observer = Observer::connect(endpoints).await?;
    await_snapshot(&mut observer, &mut line, shutdown).await?;
    let load = Load::start(api, config.demo_rate)?;
    let end = config.demo_seconds.map(Duration::from_secs);
    let watched = watch(&load, &mut observer, &mut line, end, shutdown).await;
    let tally = load.stop().await;
    line.finish();
    watched?;
    if shutdown.is_requested() {
        return Ok(ExitCode::SUCCESS);
    }
    conclude(endpoints, &tally).await
}

/// Nothing to see for a new database; for one that holds data, what has arrived so far.
async fn await_snapshot(
    observer: &mut Observer,
    line: &mut StatusLine,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut ticks = ticks(line);
    let end = Instant::now() + SNAPSHOT_LIMIT;
    while !shutdown.is_requested() && Instant::now() < end {
        if observer.is_streaming().await? {
            return Ok(());
        }
        line.show(&observer.snapshot_line().await?);
        tokio::select! {
            biased;
            () = shutdown.requested() => {}
            _ = ticks.tick() => {}
        }
    }
    Ok(())
}

async fn watch(
    load: &Load,
    observer: &mut Observer,
    line: &mut StatusLine,
    limit: Option<Duration>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let end = limit.map(|limit| Instant::now() + limit);
    let over = async {
        match end {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut ticks = ticks(line);
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(()),
            () = &mut over => return Ok(()),
            _ = ticks.tick() => line.show(&observer.line(load.tally()).await?),
        }
    }
}

fn ticks(line: &StatusLine) -> tokio::time::Interval {
    let mut ticks = interval(match line.is_terminal() {
        true => TERMINAL_INTERVAL,
        false => LOG_INTERVAL,
    });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn conclude(endpoints: &Endpoints, tally: &Tally) -> anyhow::Result<ExitCode> {
    screen::line("the writers have stopped; comparing every table");
    let mut progress = Progress::new(false);
    let mut options = Options::default();
    options.limits.deadline = CATCH_UP_LIMIT;
    let report = Box::pin(verify::run(endpoints, &options, |text| progress.say(text))).await;
    progress.finish();
    let report = report?;
    let (lsn, rows) = (report.lsn, report.rows());
    if report.equal {
        let transactions = tally.transactions();
        screen::line(&format!(
            "demo ok: {transactions} transactions, {rows} rows, equal at {lsn}"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let different = report.tables.iter().filter(|it| !it.equal);
    for comparison in different {
        screen::line(&comparison.to_string());
    }
    screen::line(&format!("demo FAILED: different at {lsn}"));
    Ok(ExitCode::FAILURE)
}
