//! The loop of capture: begins, streams, begins again after a fault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use change::Lsn;
use change::commit::SCHEMA;
use change::topic::value_subject;
use service::postgres::{Connection, connect};
use service::{Backoff, Monitor, Shutdown, chain};
use tokio::time::sleep_until;

use crate::capture::{Capture, HEARTBEAT_PREFIX};
use crate::catalog;
use crate::config::Config;
use crate::encode::Encoder;
use crate::error::Error;
use crate::history::{self, Beginning, OldSlot};
use crate::kafka::{self, Kafka, TopicSpec};
use crate::link::Link;
use crate::metrics::{Metrics, gauge_value};
use crate::progress::Progress;
use crate::publication;
use crate::publish::{Batch, Committer, Identity};
use crate::registry::Registry;
use crate::snapshot::Snapshot;
use crate::source::{Event, Session, SlotLife, SourceError, SystemIdentity};
use crate::spool::{Memory, Spool};
use crate::tables::Tables;
use crate::wire::replication::Reply;

/// How long a slot may be in use by somebody else: a predecessor that was killed is noticed by its
/// server within moments, another capture never ends.
const SLOT_WAIT: Duration = Duration::from_secs(10);
/// Messages taken without looking at anything else, so that status updates are not late.
const BURST: usize = 1_000;
/// How long a stop waits for batches to count.
const STOP_LIMIT: Duration = Duration::from_secs(5);

const SOURCE: &str = "source";
const REGISTRY: &str = "registry";

/// Captures until a stop is requested.
///
/// # Errors
/// When a human must act. Faults that pass by themselves are retried inside.
pub async fn run(config: Config, monitor: Monitor, shutdown: Shutdown) -> Result<(), Error> {
    let metrics = Metrics::new(&monitor.metrics)?;
    for dependency in [SOURCE, REGISTRY, kafka::DEPENDENCY] {
        monitor
            .health
            .set(dependency, Err("not connected yet".to_owned()));
    }
    let mut backoff = Backoff::default();
    let mut slot_taken_since = None;
    while !shutdown.is_requested() {
        let pipeline = Pipeline {
            config: &config,
            monitor: &monitor,
            metrics: &metrics,
        };
        let started = Instant::now();
        let error = match pipeline.attempt(&shutdown).await {
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
    config: &'a Config,
    monitor: &'a Monitor,
    metrics: &'a Metrics,
}

/// What is made before the first message.
struct Ground {
    kafka: Arc<Kafka>,
    tables: Tables,
    client: Connection,
    encoder: Arc<Encoder>,
    commits_schema: change::framing::SchemaId,
}

impl Pipeline<'_> {
    /// From connecting to the end of the stream.
    async fn attempt(&self, shutdown: &Shutdown) -> Result<(), Error> {
        let mut ground = self.ground().await?;
        let mut session = Session::connect(&self.config.source).await?;
        let system = session.identify_system().await?;
        let shapes = catalog::published(&ground.client, &self.config.publication).await?;
        self.monitor.health.set(SOURCE, Ok(()));
        let topic = self.config.prefix.commits();
        let last = history::last(&ground.kafka, &topic).await?;
        let slot = publication::slot_state(&ground.client, &self.config.slot).await?;
        match history::beginning(self.config, &system, last.as_ref(), slot)? {
            Beginning::Resume => {}
            Beginning::Snapshot(old) => {
                if old == OldSlot::Drop {
                    tracing::warn!(slot = %self.config.slot, "dropping the slot of a snapshot that was not completed");
                    session.drop_slot(&self.config.slot).await?;
                }
                let slot = session
                    .create_slot(&self.config.slot, SlotLife::Permanent)
                    .await?;
                tracing::info!(slot = %self.config.slot, consistent_point = %slot.consistent_point, "made the slot");
                // Read again with the slot in hand: nobody else publishes from here on.
                let mut committer = self.committer(&ground, &system, &topic).await?;
                let mut tables = Vec::new();
                for shape in shapes {
                    let plan = ground.tables.learn(&ground.client, shape.clone()).await?;
                    tables.push((shape, plan));
                }
                let snapshot = Snapshot {
                    source: self.config.source.clone(),
                    name: slot.snapshot_name,
                    commit_lsn: slot.consistent_point.just_before(),
                    epoch: committer.epoch(),
                    readers: self.config.snapshot_readers,
                    encoder: Arc::clone(&ground.encoder),
                    kafka: Arc::clone(&ground.kafka),
                    metrics: self.metrics.clone(),
                    shutdown: shutdown.clone(),
                };
                snapshot.copy(tables, &mut committer).await?;
            }
        }
        let publications = std::slice::from_ref(&self.config.publication);
        let stream = session
            .start_replication(&self.config.slot, Lsn::ZERO, publications)
            .await?;
        // Its end is read only now: whoever had the slot before cannot publish more than it has.
        let committer = self.committer(&ground, &system, &topic).await?;
        self.stream(ground, Link::new(stream), committer, shutdown)
            .await
    }

    async fn ground(&self) -> Result<Ground, Error> {
        let kafka = Arc::new(Kafka::new(self.config, &self.monitor.health)?);
        let topic = self.config.prefix.commits();
        kafka
            .ensure_topic(&TopicSpec {
                name: &topic,
                partitions: 1,
                replication_factor: self.config.replication_factor,
                retention: Duration::from_secs(u64::from(self.config.retention_hours) * 3600),
            })
            .await?;
        self.monitor.health.set(kafka::DEPENDENCY, Ok(()));
        let registry = Registry::new(&self.config.registry)?;
        let commits_schema = registry.register(&value_subject(&topic), SCHEMA).await?;
        self.monitor.health.set(REGISTRY, Ok(()));
        let client = connect(&self.config.source, "lockstep cdc").await?;
        publication::ensure(&client, &self.config.publication).await?;
        let encoder = Encoder {
            pipeline: self.config.prefix.prefix().to_owned(),
            database: self.config.source.dbname().to_owned(),
        };
        Ok(Ground {
            tables: Tables::new(self.config, registry, Arc::clone(&kafka)),
            kafka,
            client,
            encoder: Arc::new(encoder),
            commits_schema,
        })
    }

    /// Continues the chain of commits records with the next epoch.
    async fn committer(
        &self,
        ground: &Ground,
        system: &SystemIdentity,
        topic: &str,
    ) -> Result<Committer, Error> {
        let last = history::last(&ground.kafka, topic).await?;
        let identity = Identity {
            pipeline: self.config.prefix.prefix().to_owned(),
            epoch: last.as_ref().map_or(1, |last| last.epoch + 1),
            system_id: system.system_id.to_string(),
            timeline: system.timeline,
            slot: self.config.slot.to_string(),
        };
        let previous = last.map_or(Lsn::ZERO, |last| last.commit_lsn);
        tracing::info!(epoch = identity.epoch, commit_lsn = %previous, "publishing after");
        Ok(Committer::start(
            Arc::clone(&ground.kafka),
            topic.to_owned(),
            ground.commits_schema,
            identity,
            previous,
            self.metrics.clone(),
        ))
    }

    async fn stream(
        &self,
        ground: Ground,
        link: Link,
        mut committer: Committer,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        let mut capture = Capture {
            slot: self.config.slot.clone(),
            epoch: committer.epoch(),
            kafka: ground.kafka,
            encoder: ground.encoder,
            tables: ground.tables,
            client: ground.client,
            link,
            spool: Spool::open(&self.config.spool_dir, Memory::default())?,
            shutdown: shutdown.clone(),
            progress: Progress::default(),
            published: committer.previous(),
            batch: Batch::new(change::commit::CommitKind::Stream),
            heartbeat: None,
            transaction: None,
            segment: None,
        };
        let mut heard_at = Instant::now();
        loop {
            // A batch that is full waits for its turn; the source waits with it.
            let reading = !capture.batch.is_full() || capture.transaction.is_some();
            let status_due = capture.link.status_due();
            let heartbeat_due = heard_at + self.config.heartbeat_seconds;
            tokio::select! {
                // A stop first; then what frees others; new work last.
                biased;
                () = shutdown.requested() => return self.stop(capture, committer).await,
                published = committer.next() => {
                    let published = published?;
                    capture.progress.published(published.transactions, published.end_lsn);
                }
                () = sleep_until(status_due.into()) => {
                    let flush_lsn = capture.progress.flush_lsn();
                    self.metrics.confirmed_flush_lsn.set(gauge_value(flush_lsn));
                    capture.link.status(flush_lsn).await?;
                }
                () = sleep_until(heartbeat_due.into()) => {
                    heard_at = Instant::now();
                    heartbeat(&capture.client).await?;
                }
                event = capture.link.next(), if reading => {
                    heard_at = Instant::now();
                    take(&mut capture, event?).await?;
                }
            }
            self.metrics
                .received_lsn
                .set(gauge_value(capture.link.received_lsn()));
            hand_over(&mut capture, &mut committer)?;
        }
    }

    /// Lets what was handed over count, and tells the source. An open transaction is sent again by
    /// the slot.
    async fn stop(&self, mut capture: Capture, mut committer: Committer) -> Result<(), Error> {
        let settle = async {
            loop {
                hand_over(&mut capture, &mut committer)?;
                if committer.waiting() == 0 {
                    return Ok::<_, Error>(());
                }
                let published = committer.next().await?;
                capture
                    .progress
                    .published(published.transactions, published.end_lsn);
            }
        };
        match tokio::time::timeout(STOP_LIMIT, settle).await {
            Ok(settled) => settled?,
            Err(_) => {
                tracing::warn!("stopped before Kafka acknowledged everything; it is sent again");
            }
        }
        capture.link.status(capture.progress.flush_lsn()).await?;
        capture.link.finish().await;
        Ok(())
    }

    /// Lets the health report name the dependency that failed.
    fn blame(&self, error: &Error) {
        let dependency = match error {
            Error::Registry(_) => REGISTRY,
            Error::Kafka(_) | Error::Send(_) | Error::Publish(_) => kafka::DEPENDENCY,
            _ => SOURCE,
        };
        self.monitor.health.set(dependency, Err(chain(error)));
    }
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
        Event::XLogMessage(message) => capture.handle(&message.data).await?,
        Event::Keepalive(keepalive) => {
            capture.progress.quiet(keepalive.wal_end);
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
    if due && let Some(batch) = capture.take_batch() {
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
