//! From nothing to a stream: connections, topics, the slot, the first snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use change::Lsn;
use change::commit::{CommitKind, CommitRecord, SCHEMA};
use change::framing::SchemaId;
use change::topic::value_subject;
use service::postgres::{Connection, connect};
use service::{Monitor, Shutdown};

use crate::capture::Capture;
use crate::catalog;
use crate::config::Config;
use crate::control::{self, Hidden, VISIBLE, Visibility, Watch};
use crate::encode::Encoder;
use crate::error::Error;
use crate::history::{self, Beginning, OldSlot};
use crate::horizon::Horizon;
use crate::kafka::{self, Kafka, TopicSpec};
use crate::link::Link;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::publication;
use crate::publish::{Batch, Chain, Committer, Identity};
use crate::registry::Registry;
use crate::resnapshot::{Desk, Resnapshot, Worker, WorkerTask};
use crate::snapshot::Snapshot;
use crate::source::{Session, SlotLife, SystemIdentity};
use crate::spool::{Memory, Spool};
use crate::tables::Tables;

/// The source's name in the health report.
pub(crate) const SOURCE: &str = "source";
/// The schema registry's name in the health report.
pub(crate) const REGISTRY: &str = "registry";

/// What stays the same over all starts.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub config: &'a Config,
    pub monitor: &'a Monitor,
    pub metrics: &'a Metrics,
}

/// Connects, takes the first snapshot if there is none, and starts the stream.
///
/// # Errors
/// When a part is away, or does not fit what was captured before.
pub(crate) async fn begin(context: Context<'_>, shutdown: &Shutdown) -> Result<Begun, Error> {
    let config = context.config;
    let mut ground = Ground::new(context).await?;
    let mut session = Session::connect(&config.source).await?;
    let system = session.identify_system().await?;
    // Looked at before a slot is made: one that nobody reads would fill the source's disk.
    catalog::published(&ground.client, &config.publication).await?;
    context.monitor.health.set(SOURCE, Ok(()));
    let own_tables = control::ensure(&ground.client).await?;
    let watch = Watch::start(context, own_tables).await?;
    let last = history::last(&ground.kafka, &ground.topic, None).await?;
    let slot = publication::slot_state(&ground.client, &config.slot).await?;
    match history::beginning(config, &system, last.as_ref(), slot)? {
        Beginning::Resume => {}
        Beginning::Snapshot(old) => {
            snapshot(context, &mut ground, &mut session, &system, old, shutdown).await?;
        }
    }
    let publications = std::slice::from_ref(&config.publication);
    let stream = session
        .start_replication(&config.slot, Lsn::ZERO, publications)
        .await?;
    let chain = ground.fenced_chain(context, &system).await?;
    let desk = Desk::default();
    // With the slot ours, nobody before us brings any more.
    let hidden = Hidden::at_start(&ground.visibility().await?);
    let worker = Worker {
        source: config.source.clone(),
        slot: config.slot.clone(),
        publication: config.publication.clone(),
        epoch: chain.epoch(),
        desk: desk.clone(),
        sights: watch.sights(),
        metrics: context.metrics.clone(),
        shutdown: shutdown.clone(),
    };
    let capture = Capture {
        slot: config.slot.clone(),
        epoch: chain.epoch(),
        kafka: ground.kafka,
        encoder: ground.encoder,
        tables: ground.tables,
        client: ground.client,
        link: Link::new(stream),
        spool: Spool::open(&config.spool_dir, Memory::default())?,
        shutdown: shutdown.clone(),
        metrics: context.metrics.clone(),
        progress: Progress::default(),
        published: chain.previous(),
        batch: Batch::new(CommitKind::Stream),
        horizon: Horizon::new(Instant::now()),
        transaction: None,
        segment: None,
        resnapshot: Resnapshot::new(chain.epoch(), desk, hidden),
    };
    Ok(Begun {
        capture,
        committer: Committer::start(chain),
        watch,
        _worker: worker.start(),
    })
}

/// A stream, and what runs beside it.
pub(crate) struct Begun {
    pub capture: Capture,
    pub committer: Committer,
    pub watch: Watch,
    /// Reads tables once more for as long as this is held.
    pub _worker: WorkerTask,
}

/// Makes the slot, and copies the tables as they were where its stream begins.
async fn snapshot(
    context: Context<'_>,
    ground: &mut Ground,
    session: &mut Session,
    system: &SystemIdentity,
    old: OldSlot,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let config = context.config;
    if old == OldSlot::Drop {
        tracing::warn!(slot = %config.slot, "dropping the slot of a snapshot that was not completed");
        session.drop_slot(&config.slot).await?;
    }
    let slot = session
        .create_slot(&config.slot, SlotLife::Permanent)
        .await?;
    tracing::info!(slot = %config.slot, consistent_point = %slot.consistent_point, "made the slot");
    // Looked up after the slot was made: a table that is missed here has all its rows in the stream.
    let mut tables = Vec::new();
    for shape in catalog::published(&ground.client, &config.publication).await? {
        let plan = ground.tables.learn(&ground.client, shape.clone()).await?;
        tables.push((shape, plan));
    }
    let last = history::last(&ground.kafka, &ground.topic, None).await?;
    let mut committer = Committer::start(ground.chain(context, system, last.as_ref()));
    let snapshot = Snapshot {
        source: config.source.clone(),
        name: slot.snapshot_name,
        commit_lsn: slot.consistent_point.just_before(),
        epoch: committer.epoch(),
        readers: config.snapshot_readers,
        encoder: Arc::clone(&ground.encoder),
        kafka: Arc::clone(&ground.kafka),
        metrics: context.metrics.clone(),
        shutdown: shutdown.clone(),
    };
    Ok(snapshot.copy(tables, &mut committer).await?)
}

/// What is made before the first message.
struct Ground {
    kafka: Arc<Kafka>,
    tables: Tables,
    client: Connection,
    encoder: Arc<Encoder>,
    /// The commits topic, and the id of its records' schema.
    topic: String,
    schema: SchemaId,
}

impl Ground {
    async fn new(context: Context<'_>) -> Result<Self, Error> {
        let Context {
            config, monitor, ..
        } = context;
        let kafka = Arc::new(Kafka::new(config, &monitor.health)?);
        let topic = config.prefix.commits();
        // Apply writes to the second one. All topics are made here, with the same settings.
        let dead_letters = config.prefix.dead_letters();
        for (name, partitions) in [(&topic, 1), (&dead_letters, config.partitions)] {
            kafka
                .ensure_topic(&TopicSpec {
                    name,
                    partitions,
                    replication_factor: config.replication_factor,
                    retention: Duration::from_secs(u64::from(config.retention_hours) * 3600),
                })
                .await?;
        }
        monitor.health.set(kafka::DEPENDENCY, Ok(()));
        let registry = Registry::new(&config.registry)?;
        let schema = registry.register(&value_subject(&topic), SCHEMA).await?;
        monitor.health.set(REGISTRY, Ok(()));
        let client = connect(&config.source, "lockstep cdc").await?;
        publication::ensure(&client, &config.publication).await?;
        let encoder = Encoder {
            pipeline: config.prefix.prefix().to_owned(),
            database: config.source.dbname().to_owned(),
        };
        Ok(Self {
            tables: Tables::new(config, registry, Arc::clone(&kafka)),
            kafka,
            client,
            encoder: Arc::new(encoder),
            topic,
            schema,
        })
    }

    async fn visibility(&self) -> Result<Visibility, Error> {
        let row = self.client.query_one(VISIBLE, &[]).await;
        let row = row.map_err(|source| Error::Query {
            step: "ask which transactions are shown",
            source,
        })?;
        Ok(row.get::<_, &str>(0).parse()?)
    }

    /// Continues the chain of commits records after `last`, with the next epoch.
    fn chain(
        &self,
        context: Context<'_>,
        system: &SystemIdentity,
        last: Option<&CommitRecord>,
    ) -> Chain {
        let identity = Identity {
            pipeline: context.config.prefix.prefix().to_owned(),
            epoch: last.map_or(1, |last| last.epoch + 1),
            system_id: system.system_id.to_string(),
            timeline: system.timeline,
            slot: context.config.slot.to_string(),
        };
        Chain::new(
            Arc::clone(&self.kafka),
            self.topic.clone(),
            self.schema,
            identity,
            last,
            context.metrics.clone(),
        )
    }

    /// As [`Ground::chain`], for who has the slot: a writer that had it before may have commits
    /// records on their way to Kafka. Those that arrive before our fence count, and are what we go
    /// on after; those that arrive behind it do not, and the slot sends their transactions again.
    async fn fenced_chain(
        &self,
        context: Context<'_>,
        system: &SystemIdentity,
    ) -> Result<Chain, Error> {
        let last = history::last(&self.kafka, &self.topic, None).await?;
        let mut chain = self.chain(context, system, last.as_ref());
        if let Some(last) = last {
            let fence = chain.fence(&last).await?;
            let before = history::last(&self.kafka, &self.topic, Some(fence)).await?;
            chain.follow(before.as_ref().unwrap_or(&last));
        }
        tracing::info!(epoch = chain.epoch(), commit_lsn = %chain.previous(), "publishing after");
        Ok(chain)
    }
}
