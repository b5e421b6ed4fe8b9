//! The first snapshot: taken where there is none, continued where one was interrupted.

use std::collections::HashMap;
use std::sync::Arc;

use change::TableName;
use service::Shutdown;

use super::Context;
use super::ground::Ground;
use crate::catalog::{self, Published};
use crate::config::Config;
use crate::error::Error;
use crate::history::{self, Beginning, OldSlot};
use crate::publication;
use crate::publish::Committer;
use crate::snapshot::{Copying, Snapshot, SnapshotError, State, Table};
use crate::source::{Session, SlotLife, SlotName, SystemIdentity};
use crate::tables::Acceptance;
use crate::wire::Oid;

/// What is left to do once a stream has reached the snapshot that continues an interrupted one.
pub(crate) struct Rest {
    pub snapshot: Snapshot,
    /// Of the epoch that had the slot until now: if another capture has it by now, nothing that is
    /// published here counts.
    pub committer: Committer,
}

/// Sees to it that the first snapshot is complete, as far as that can be done before the stream is
/// read. Answers the one that the stream has to reach first.
pub(super) async fn snapshot(
    context: Context<'_>,
    ground: &mut Ground,
    session: &mut Session,
    system: &SystemIdentity,
    rest: Option<Rest>,
    shutdown: &Shutdown,
) -> Result<Option<Snapshot>, Error> {
    let config = context.config;
    let last = history::last(&ground.tails, &ground.topic, None).await?;
    let slot = publication::slot_state(&ground.client, &config.slot).await?;
    let ledger = match ground.ledger(config) {
        Some(ledger) => ledger.state().await.map_err(kept)?,
        None => State::Closed,
    };
    match history::beginning(config, system, last.as_ref(), slot, ledger)? {
        Beginning::Resume => {
            close(ground, config).await?;
            Ok(None)
        }
        Beginning::Continue => match rest {
            None => continuing(context, ground).await.map(Some),
            Some(Rest {
                snapshot,
                mut committer,
            }) => {
                copy(context, ground, snapshot, &mut committer, shutdown).await?;
                Ok(None)
            }
        },
        Beginning::Snapshot(old) => {
            if old == OldSlot::Drop {
                tracing::warn!(slot = %config.slot, "dropping the slot of a snapshot that was not completed");
                session.drop_slot(&config.slot).await?;
            }
            let slot = session
                .create_slot(&config.slot, SlotLife::Permanent)
                .await?;
            tracing::info!(slot = %config.slot, consistent_point = %slot.consistent_point, "made the slot");
            let readers = config.snapshot_readers;
            let snapshot = Snapshot::take(&config.source, &ground.client, &slot, readers).await?;
            let mut committer = Committer::start(ground.chain(context, system, last.as_ref()));
            if let Some(ledger) = ground.ledger(config) {
                ledger.open(committer.epoch()).await.map_err(kept)?;
            }
            copy(context, ground, snapshot, &mut committer, shutdown).await?;
            Ok(None)
        }
    }
}

/// Another snapshot, for what an interrupted one has not read. Its slot says where it stands in the
/// log, and goes with the session that made it.
async fn continuing(context: Context<'_>, ground: &Ground) -> Result<Snapshot, Error> {
    let config = context.config;
    let pid = ground
        .client
        .query_one("select pg_backend_pid()", &[])
        .await;
    let pid: i32 = pid
        .map_err(|source| Error::Query {
            step: "ask for a number of our own",
            source,
        })?
        .get(0);
    // One of a kind: our own connection's number is nobody else's.
    let name: SlotName = format!("lockstep_snapshot_{pid}")
        .parse()
        .expect("letters, digits and underscores");
    let mut session = Session::connect(&config.source).await?;
    let slot = session.create_slot(&name, SlotLife::Temporary).await?;
    tracing::info!(
        consistent_point = %slot.consistent_point,
        "the first snapshot was interrupted, and is continued where the stream will have reached this"
    );
    let readers = config.snapshot_readers;
    Ok(Snapshot::take(&config.source, &ground.client, &slot, readers).await?)
}

/// Copies what is missing, and closes the ledger.
async fn copy(
    context: Context<'_>,
    ground: &mut Ground,
    snapshot: Snapshot,
    committer: &mut Committer,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let config = context.config;
    let mut tables = Vec::new();
    let mut seen = seen(&snapshot, ground, config).await?;
    seen.retain(|it| ground.tables.refusal_of(&it.shape.table).is_none());
    let names: Vec<&TableName> = seen.iter().map(|it| &it.shape.table).collect();
    ground.tables.make_topics(&names).await?;
    for published in seen {
        let oid = published.shape.oid;
        let learned = ground
            .tables
            .learn(&ground.client, published.shape, Acceptance::Compatible)
            .await?;
        tables.push(Table {
            oid,
            plan: learned.plan,
            filter: published.filter,
        });
    }
    let copying = Copying {
        epoch: committer.epoch(),
        encoder: Arc::clone(&ground.encoder),
        kafka: Arc::clone(&ground.kafka),
        metrics: context.metrics.clone(),
        shutdown,
        ledger: ground.ledger(config),
        committer,
    };
    Box::pin(copying.copy(snapshot, tables)).await?;
    close(ground, config).await
}

/// The tables as the snapshot has them, and as they stay while it is read. One that it does not have
/// has all its rows in the stream.
async fn seen(
    snapshot: &Snapshot,
    ground: &Ground,
    config: &Config,
) -> Result<Vec<Published>, Error> {
    let seen = catalog::published(snapshot.client(), &config.publication).await?;
    for published in &seen {
        snapshot.lock(&published.shape.table).await?;
    }
    let now = catalog::published(&ground.client, &config.publication).await?;
    let now: HashMap<Oid, &Published> = now.iter().map(|it| (it.shape.oid, it)).collect();
    let is_same = |it: &&Published| now.get(&it.shape.oid) == Some(it);
    match seen.iter().find(|it| !is_same(it)) {
        Some(changed) => Err(Error::Snapshot(SnapshotError::Changed {
            table: changed.shape.table.to_string(),
        })),
        None => Ok(seen),
    }
}

async fn close(ground: &Ground, config: &Config) -> Result<(), Error> {
    match ground.ledger(config) {
        Some(ledger) => ledger.close().await.map_err(kept),
        None => Ok(()),
    }
}

/// An error of the ledger.
pub(super) fn kept(source: tokio_postgres::Error) -> Error {
    Error::Query {
        step: "keep how far the first snapshot is",
        source,
    }
}
