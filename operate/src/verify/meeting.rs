//! Where source and target meet: one LSN, and a snapshot of each side there.
//!
//! ```text
//! apply    ──▶ held where it is ───▶ on to L ──▶ held at L ───▶ free
//! source         slot made: L, its snapshot
//! target                                          snapshot
//! ```
//!
//! The slot is made while apply stands still, so L lies ahead of it.

use std::time::Duration;

use anyhow::{Context, ensure};
use cdc::source::Session;
use change::{Lsn, TableName};
use service::postgres::{Connection, connect};
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::fixed::{self, Fixed};
use super::hold::{Hold, Limits};
use super::place;
use super::side::{Side, session};
use crate::endpoints::Endpoints;

/// Both sides as they were when just what committed before `lsn` was there.
pub(super) struct Meeting {
    pub(super) lsn: Lsn,
    /// How long apply was held.
    pub(super) held: Duration,
    pub(super) source: Side,
    pub(super) target: Side,
    pub(super) files: Files,
}

/// [`place::files`] of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// Right before the source was fixed.
    pub(super) source: Vec<String>,
    /// While apply was held.
    pub(super) target: Vec<String>,
}

/// What is known of a meeting before it.
pub(super) struct Terms<'a> {
    pub(super) endpoints: &'a Endpoints,
    pub(super) limits: Limits,
    pub(super) readers: u16,
    /// As each side calls them.
    pub(super) tables: &'a Names,
    pub(super) guard: Guard,
}

/// Names of the same tables.
pub(super) struct Names {
    pub(super) source: Vec<TableName>,
    pub(super) target: Vec<TableName>,
}

/// What is done about tables that are truncated while they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// It is noticed.
    Files,
    /// It has to wait.
    Locks,
}

/// Holds apply for as short as it can. `say` is told how many bytes apply still has to go.
///
/// # Errors
/// When no meeting comes about. Apply goes on then, too.
pub(super) async fn meet(terms: Terms<'_>, mut say: impl FnMut(u64)) -> anyhow::Result<Meeting> {
    let (endpoints, readers) = (terms.endpoints, terms.readers);
    // All that takes time and can be done without a hold is done before.
    let (mut source, mut target) = tokio::try_join!(
        Side::connect("source", &endpoints.source, readers),
        Side::connect("target", &endpoints.target, readers)
    )?;
    let guests = Guests::connect(endpoints).await?;
    let mut keeper = session(&endpoints.target).await?;
    let pipeline = &endpoints.names.pipeline;
    let mut hold = Hold::begin(&mut keeper, pipeline, terms.limits).await?;
    let met = meet_held(
        &mut hold,
        guests,
        &terms,
        (&mut source, &mut target),
        &mut say,
    )
    .await;
    let released = hold.release().await;
    let (lsn, files) = met?;
    let held = released?;
    target.share().await?;
    Ok(Meeting {
        lsn,
        held,
        source,
        target,
        files,
    })
}

async fn meet_held(
    hold: &mut Hold<'_>,
    guests: Guests,
    terms: &Terms<'_>,
    (source, target): (&mut Side, &mut Side),
    say: &mut impl FnMut(u64),
) -> anyhow::Result<(Lsn, Files)> {
    let limits = terms.limits;
    let Guests { session, client } = guests;
    let source_files = place::files(&client, &terms.tables.source).await?;
    let fixed = Fixed::new(session, &client, limits.hold).await?;
    let lsn = fixed.lsn;
    hold.move_to(lsn).await?;
    fixed::heartbeat(&client).await?;
    source.adopt(&fixed.snapshot).await?;
    source.share().await?;
    // Not before the slot, which waits for who writes, who may be waiting to truncate.
    if terms.guard == Guard::Locks {
        let names = names(&client, &terms.tables.source).await?;
        source.lock(&names, limits.hold).await?;
    }
    let seen = "select pg_current_snapshot()::text";
    let seen = source.leader.query_one(seen, &[]).await?;
    // The slot has done its work: without it, the source may forget its log again.
    drop(fixed);
    fixed::settle(&client, seen.get(0), limits.hold).await?;
    hold.reached(say).await?;
    target.begin().await?;
    let applied = "select commit_lsn from lockstep.progress where pipeline = $1";
    let pipeline = hold.pipeline();
    let applied = target.leader.query_one(applied, &[&pipeline]).await;
    let applied: PgLsn = applied.context("read the target's progress")?.get(0);
    ensure!(
        Lsn::new(applied.into()) == lsn.just_before(),
        "the hold of apply ended early: raise --hold-limit"
    );
    let files = Files {
        source: source_files,
        target: place::files(&target.leader, &terms.tables.target).await?,
    };
    if terms.guard == Guard::Locks {
        let names = names(&target.leader, &terms.tables.target).await?;
        target.lock(&names, limits.hold).await?;
    }
    Ok((lsn, files))
}

/// The tables that are there, as SQL names them.
async fn names(client: &Client, tables: &[TableName]) -> anyhow::Result<Vec<String>> {
    let names: Vec<String> = tables.iter().map(TableName::quoted).collect();
    let there = "select name from unnest($1::text[]) as name where to_regclass(name) is not null";
    let rows = client.query(there, &[&names]).await;
    let rows = rows.context("look for the tables")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Sessions on the source that a meeting needs, and that see no snapshot.
pub(super) struct Guests {
    /// For the slot.
    pub(super) session: Session,
    pub(super) client: Connection,
}

impl Guests {
    pub(super) async fn connect(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let session = Session::connect(&endpoints.source).await;
        Ok(Self {
            session: session.context("open a replication connection to the source")?,
            client: connect(&endpoints.source, "lockstep verify").await?,
        })
    }
}
