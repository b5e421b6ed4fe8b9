//! The loop of capture: begins, streams, begins again after a fault.

use std::time::{Duration, Instant};

use service::postgres::Connection;
use service::{Backoff, Monitor, Shutdown, chain};
use tokio::time::sleep_until;

use crate::begin::{Begun, Context, REGISTRY, Rest, SOURCE, begin};
use crate::capture::{Capture, HEARTBEAT_PREFIX};
use crate::config::Config;
use crate::control::Order;
use crate::error::Error;
use crate::kafka;
use crate::metrics::Metrics;
use crate::publish::{Committer, Published};
use crate::source::{Event, SourceError};
use crate::standing;
use crate::wire::replication::Reply;

/// How long a slot may be in use by somebody else: a predecessor that was killed is noticed by its
/// server within moments, another capture never ends.
const SLOT_WAIT: Duration = Duration::from_secs(10);
/// Messages taken without looking at anything else, so that status updates are not late.
const BURST: usize = 1_000;
/// How long a stop waits for batches to count.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Captures until a stop is requested.
///
/// # Errors
/// When a human must act. Faults that pass by themselves are retried inside.
pub async fn run(config: Config, monitor: Monitor, shutdown: Shutdown) -> Result<(), Error> {
    let metrics = Metrics::new(&monitor.metrics)?;
    let _watch = standing::watch(&config, &monitor.metrics)?;
    for dependency in [SOURCE, REGISTRY, kafka::DEPENDENCY] {
        monitor
            .health
            .set(dependency, Err("not connected yet".to_owned()));
    }
    let mut backoff = Backoff::default();
    let mut slot_taken_since = None;
    while !shutdown.is_requested() {
        let pipeline = Pipeline {
            context: Context {
                config: &config,
                monitor: &monitor,
                metrics: &metrics,
            },
            shutdown: &shutdown,
        };
        let started = Instant::now();
        let error = match pipeline.attempt().await {
            Ok(()) | Err(Error::Stopped) => return Ok(()),
            Err(_) if shutdown.is_requested() => return Ok(()),
            Err(error) => error,
        };
        if started.elapsed() > SLOT_WAIT {
            backoff.reset();
            slot_taken_since = None;
        }
        let slot_taken = matches!(error, Error::Source(SourceError::SlotTaken { .. }));
        let waited = slot_taken_since.get_or_insert(started).elapsed();
        if !(error.is_transient() || slot_taken && waited < SLOT_WAIT) {
            return Err(error);
        }
        tracing::warn!(error = %chain(&error), "capture is interrupted, trying again");
        pipeline.blame(&error);
        metrics.restarts.inc();
        backoff.pause(&shutdown).await;
    }
    Ok(())
}

struct Pipeline<'a> {
    context: Context<'a>,
    shutdown: &'a Shutdown,
}

/// How a stream ended.
enum Ended {
    /// A stop was requested.
    Stopped,
    /// The snapshot that it was to reach can be copied.
    Reached(Box<Rest>),
}

impl Pipeline<'_> {
    /// From connecting to the end of the stream.
    async fn attempt(&self) -> Result<(), Error> {
        let mut rest = None;
        loop {
            let begun = tokio::select! {
                biased;
                () = self.shutdown.requested() => return Ok(()),
                begun = Box::pin(begin(self.context, rest, self.shutdown)) => begun?,
            };
            match Box::pin(self.stream(begun)).await? {
                Ended::Stopped => return Ok(()),
                Ended::Reached(reached) => rest = Some(*reached),
            }
        }
    }

    async fn stream(&self, begun: Begun) -> Result<Ended, Error> {
        let Begun {
            mut capture,
            mut committer,
            mut watch,
            _worker,
            snapshot,
        } = begun;
        if snapshot.is_some() {
            // However quiet the source is, the stream gets to where the snapshot was taken.
            heartbeat(&capture.client).await?;
        }
        let mut heard_at = Instant::now();
        let mut order = watch.last().order;
        loop {
            // A batch that is full waits for its turn; the source waits with it.
            let may_read = !capture.batch.is_full() || capture.transaction.is_some();
            let reading = may_read && order == Order::Go && !capture.goal.is_reached();
            let status_due = capture.link.status_due();
            let heartbeat_due = capture.heartbeat_due().filter(|_| committer.waiting() == 0);
            let silence_ends = heard_at + self.context.config.heartbeat_seconds;
            tokio::select! {
                // A stop first; then what frees others; new work last.
                biased;
                () = self.shutdown.requested() => {
                    stop(capture, committer).await?;
                    return Ok(Ended::Stopped);
                }
                published = committer.next() => {
                    let published = published?;
                    counts(&mut capture, published);
                }
                () = sleep_until(status_due.into()) => {
                    let flush_lsn = capture.progress.flush_lsn();
                    self.context.metrics.confirmed_flush_lsn.set_lsn(flush_lsn);
                    self.context.metrics.spooled(capture.spool.usage());
                    capture.link.status(flush_lsn).await?;
                }
                sight = watch.next() => {
                    let sight = sight?;
                    capture.resnapshot.shown(&sight.visibility);
                    order = sight.order;
                }
                () = sleep_until(silence_ends.into()), if order == Order::Go => {
                    heard_at = Instant::now();
                    heartbeat(&capture.client).await?;
                }
                () = sleep_until(heartbeat_due.unwrap_or(silence_ends).into()), if heartbeat_due.is_some() => {}
                event = capture.link.next(), if reading => {
                    let event = event?;
                    // A keepalive tells nothing that the target could follow.
                    if matches!(event, Event::XLogMessage(_)) {
                        heard_at = Instant::now();
                    }
                    take(&mut capture, event).await?;
                }
            }
            let received_lsn = capture.link.received_lsn();
            self.context.metrics.received_lsn.set_lsn(received_lsn);
            hand_over(&mut capture, &mut committer)?;
            if capture.has_ended() && committer.waiting() == 0 {
                break;
            }
        }
        finish(capture).await?;
        let snapshot = snapshot.expect("only where there is one does the stream end");
        Ok(Ended::Reached(Box::new(Rest {
            snapshot,
            committer,
        })))
    }

    /// Lets the health report name the dependency that failed.
    fn blame(&self, error: &Error) {
        let dependency = match error {
            Error::Registry(_) => REGISTRY,
            Error::Kafka(_) | Error::Send(_) | Error::Publish(_) => kafka::DEPENDENCY,
            _ => SOURCE,
        };
        self.context
            .monitor
            .health
            .set(dependency, Err(chain(error)));
    }
}

/// A batch counts now.
fn counts(capture: &mut Capture, published: Published) {
    let Published {
        end_lsn,
        transactions,
    } = published;
    capture.progress.published(transactions, end_lsn);
    capture.resnapshot.published(end_lsn);
}

/// Lets what was handed over count, and tells the source. An open transaction is sent again by
/// the slot.
async fn stop(mut capture: Capture, mut committer: Committer) -> Result<(), Error> {
    let settle = async {
        loop {
            hand_over(&mut capture, &mut committer)?;
            if committer.waiting() == 0 {
                return Ok::<_, Error>(());
            }
            counts(&mut capture, committer.next().await?);
        }
    };
    match tokio::time::timeout(STOP_LIMIT, settle).await {
        Ok(settled) => settled?,
        Err(_) => {
            tracing::warn!("stopped before Kafka acknowledged everything; it is sent again");
        }
    }
    committer.finish().await;
    finish(capture).await
}

/// Tells the source what counts, and ends the stream.
async fn finish(mut capture: Capture) -> Result<(), Error> {
    capture.link.status(capture.progress.flush_lsn()).await?;
    capture.link.finish().await;
    Ok(())
}

/// Takes an event, and those that are there already.
async fn take(capture: &mut Capture, first: Event) -> Result<(), Error> {
    take_one(capture, first).await?;
    for _ in 1..BURST {
        if capture.batch.is_full() && capture.transaction.is_none() {
            break;
        }
        // What is taken from the stream is always handled: nothing sends it again.
        match capture.link.next_ready() {
            Some(event) => take_one(capture, event?).await?,
            None => break,
        }
    }
    Ok(())
}

async fn take_one(capture: &mut Capture, event: Event) -> Result<(), Error> {
    match event {
        Event::XLogMessage(message) => capture.handle(&message.data, message.sent_at).await?,
        Event::Keepalive(keepalive) => {
            capture.quiet(keepalive.wal_end);
            if keepalive.reply == Reply::Requested {
                capture.link.status(capture.progress.flush_lsn()).await?;
            }
        }
    }
    Ok(())
}

/// Hands the batch over when nothing waits before it: until then it grows, which is what makes
/// batches large under load and small without.
fn hand_over(capture: &mut Capture, committer: &mut Committer) -> Result<(), Error> {
    let due = committer.waiting() == 0 || capture.batch.is_full() && committer.has_room();
    if due && let Some(batch) = capture.take_batch(Instant::now()) {
        committer.submit(batch)?;
    }
    Ok(())
}

/// Asks the source for a message in its log. Without changes to published tables nothing else would
/// let the slot, and the target, move on.
async fn heartbeat(client: &Connection) -> Result<(), Error> {
    let sql = "select pg_logical_emit_message(false, $1, '')";
    let sent = client.execute(sql, &[&HEARTBEAT_PREFIX]).await;
    sent.map(drop).map_err(|source| Error::Query {
        step: "write a heartbeat",
        source,
    })
}
