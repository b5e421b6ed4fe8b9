//! The one loop: what the reader brings is applied, and when something is away it starts again
//! from where the target is.

use service::{Backoff, Monitor, Shutdown};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::aside;
use crate::bell::{Bells, Beside};
use crate::config::Config;
use crate::consume::Reader;
use crate::error::Error;
use crate::indexes;
use crate::kafka::CommitsConsumer;
use crate::metrics::{self, Metrics};
use crate::outbox;
use crate::progress::Mark;
use crate::steps::Steps;
use crate::target::Session;

/// One waits while one is applied; the reader fills a third.
const WAITING_PORTIONS: usize = 1;

/// Applies what capture publishes until a stop is requested.
///
/// # Errors
/// When a human must act. What is away is waited for.
pub async fn run(config: Config, monitor: Monitor, shutdown: Shutdown) -> Result<(), Error> {
    let metrics = Metrics::register(&monitor.metrics)?;
    let _watch = aside::watch(&config, &monitor.metrics)?;
    let letters =
        Beside::start(|bell| outbox::publish(config.clone(), monitor.health.clone(), bell));
    let indexes = Beside::start(|bell| indexes::build(config.clone(), bell));
    let bells = Bells {
        letters: letters.bell(),
        indexes: indexes.bell(),
    };
    for dependency in [metrics::KAFKA, metrics::TARGET] {
        let state = Err("not connected yet".to_owned());
        monitor.health.set(dependency, state);
    }
    let mut backoff = Backoff::default();
    loop {
        let attempt = attempt(
            &config,
            &metrics,
            &monitor,
            &shutdown,
            (&bells, &mut backoff),
        );
        let error = match Box::pin(attempt).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let (dependency, text) = (error.dependency(), service::chain(&error));
        monitor.health.set(dependency, Err(text.clone()));
        if !error.is_transient() {
            return Err(error);
        }
        if shutdown.is_requested() {
            return Ok(());
        }
        metrics.retries.with_label_values(&[dependency]).inc();
        warn!(dependency, error = text, "trying again");
        backoff.pause(&shutdown).await;
    }
}

/// Works until a stop (`Ok`) or until something fails.
async fn attempt(
    config: &Config,
    metrics: &Metrics,
    monitor: &Monitor,
    shutdown: &Shutdown,
    (bells, backoff): (&Bells, &mut Backoff),
) -> Result<(), Error> {
    let work = async {
        let health = &monitor.health;
        let session = Session::open(config, metrics).await?;
        let mut steps = Steps::begin(session, metrics, bells).await?;
        health.set(metrics::TARGET, Ok(()));
        note_start(config, metrics, steps.mark());
        let mark = steps.mark().cloned();
        let next = mark.as_ref().map(|mark| mark.commits_offset + 1);
        let commits = CommitsConsumer::open(config, next, metrics, health).await?;
        let reporter = commits.reporter();
        let reader = Reader::new(config, commits, mark, metrics, health)?;
        let (sender, mut portions) = mpsc::channel(WAITING_PORTIONS);
        // Ends with this attempt, however that ends.
        let mut reading = JoinSet::new();
        reading.spawn(reader.run(sender));
        while let Some(portion) = portions.recv().await {
            let ends = portion.mark().map(|mark| mark.commits_offset);
            steps.apply(portion).await?;
            backoff.reset();
            if let Some(commits_offset) = ends {
                reporter.report(commits_offset);
            }
        }
        match reading.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => Ok(()),
        }
    };
    tokio::select! {
        biased;
        () = shutdown.requested() => Ok(()),
        ended = work => ended,
    }
}

fn note_start(config: &Config, metrics: &Metrics, mark: Option<&Mark>) {
    let Some(mark) = mark else {
        info!(pipeline = config.pipeline, "starting from nothing");
        return;
    };
    let commit_lsn = mark.applied;
    metrics.applied(commit_lsn, mark.commits_offset, mark.commit_time);
    info!(
        pipeline = config.pipeline,
        %commit_lsn,
        commits_offset = mark.commits_offset,
        phase = mark.phase.name(),
        "resuming"
    );
}
