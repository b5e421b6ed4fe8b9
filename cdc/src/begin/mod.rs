//! From nothing to a stream: connections, topics, the slot, the first snapshot.

mod ground;

mod first;
pub(crate) use first::Rest;

use std::time::Instant;

use change::Lsn;
use change::commit::CommitKind;
use service::{Monitor, Shutdown};

use ground::Ground;

use crate::capture::Capture;
use crate::catalog;
use crate::config::Config;
use crate::control::{Hidden, Watch};
use crate::error::Error;
use crate::goal::Goal;
use crate::horizon::Horizon;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::publish::{Batch, Committer};
use crate::refusals;
use crate::resnapshot::{Desk, Resnapshot, Worker, WorkerTask};
use crate::snapshot::Snapshot;
use crate::source::Session;
use crate::spool::{Memory, Spool};

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

/// Connects, takes the first snapshot if there is none, and starts the stream. `rest` is what the
/// stream before this one was to reach.
///
/// # Errors
/// When a part is away, or does not fit what was captured before.
pub(crate) async fn begin(
    context: Context<'_>,
    rest: Option<Rest>,
    shutdown: &Shutdown,
) -> Result<Begun, Error> {
    let config = context.config;
    let mut ground = Ground::new(context).await?;
    let mut session = Session::connect(&config.source).await?;
    let system = session.identify_system().await?;
    // Looked at before a slot is made: one that nobody reads would fill the source's disk.
    catalog::published(&ground.client, &config.publication).await?;
    context.monitor.health.set(SOURCE, Ok(()));
    let refused = refusals::all(&ground.client, &config.slot).await?;
    ground.tables.leave_out_all(refused);
    let watch = Watch::start(context, ground.own_tables).await?;
    let snapshot =
        first::snapshot(context, &mut ground, &mut session, &system, rest, shutdown).await?;
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
        schema_changes: ground.schema_changes,
        messages: ground.messages,
        resnapshot: Resnapshot::new(chain.epoch(), desk, hidden),
        goal: snapshot.as_ref().map_or_else(Goal::default, Snapshot::goal),
    };
    Ok(Begun {
        capture,
        committer: Committer::start(chain),
        watch,
        _worker: worker.start(),
        snapshot,
    })
}

/// A stream, and what runs beside it.
pub(crate) struct Begun {
    pub capture: Capture,
    pub committer: Committer,
    pub watch: Watch,
    /// Reads tables once more for as long as this is held.
    pub _worker: WorkerTask,
    /// What the stream is to reach, and to end there.
    pub snapshot: Option<Snapshot>,
}
