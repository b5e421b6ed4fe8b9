//! Which chunks of a first snapshot count in the topics: tables on the source.
//!
//! A chunk is noted after the commits record behind its last row is acknowledged. So the ledger may
//! lag behind the topics, which costs a chunk that is read twice, and is never ahead of them.

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use crate::control;
use crate::source::SlotName;
use crate::wire::{Oid, Xid};

/// The ledger of a slot's first snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Ledger<'a> {
    pub client: &'a Client,
    pub slot: &'a SlotName,
}

/// Where a chunk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) relation: Oid,
    pub(super) block: u32,
}

/// The chunks that count: what their tables were then, and the transaction before which all rows of
/// them are in the topics.
#[derive(Debug, Default)]
pub(super) struct Done(HashMap<Place, (String, u64)>);

/// A chunk that counts.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) place: Place,
    pub(super) form: String,
    pub(super) rows: u64,
}

/// Whether a first snapshot is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It was begun, and is not complete.
    Open,
    Closed,
}

/// Whether the ledger is still that of who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    We,
    /// What we publish does not count any more.
    Another,
}

impl Ledger<'_> {
    pub(crate) async fn state(&self) -> Result<State, Error> {
        let sql = "select from lockstep.first_snapshots where slot = $1";
        let found = self.client.query_opt(sql, &[&self.slot.as_str()]).await?;
        Ok(match found {
            Some(_) => State::Open,
            None => State::Closed,
        })
    }

    /// Begins the snapshot with nothing.
    pub(crate) async fn open(&self, epoch: i64) -> Result<(), Error> {
        self.close().await?;
        let sql = "insert into lockstep.first_snapshots (slot, epoch) values ($1, $2)";
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.slot.as_str(), &epoch];
        self.client.execute(sql, &parameters).await.map(drop)
    }

    /// Takes an open one over. To be called before the fence of the epoch is written: whatever an
    /// earlier owner noted until then counts.
    pub(crate) async fn claim(&self, epoch: i64) -> Result<(), Error> {
        let sql = "update lockstep.first_snapshots set epoch = $2 where slot = $1";
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.slot.as_str(), &epoch];
        self.client.execute(sql, &parameters).await.map(drop)
    }

    /// The snapshot is complete, or given up.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let sql = "delete from lockstep.first_snapshots where slot = $1";
        let slot = self.slot.as_str();
        self.client.execute(sql, &[&slot]).await.map(drop)
    }

    pub(super) async fn done(&self) -> Result<Done, Error> {
        let sql = "select relation, block, form, horizon \
                   from lockstep.first_snapshot_chunks where slot = $1";
        let rows = self.client.query(sql, &[&self.slot.as_str()]).await?;
        let notes = rows.iter().map(|row| {
            let place = Place {
                relation: row.get("relation"),
                // The table's constraint allows no other.
                block: u32::try_from(row.get::<_, i64>("block")).unwrap_or_default(),
            };
            let horizon = row.get::<_, i64>("horizon").cast_unsigned();
            (place, (row.get("form"), horizon))
        });
        Ok(notes.collect())
    }

    /// A table begins anew.
    pub(super) async fn forget(&self, relation: Oid) -> Result<(), Error> {
        let sql = "delete from lockstep.first_snapshot_chunks where slot = $1 and relation = $2";
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.slot.as_str(), &relation];
        self.client.execute(sql, &parameters).await.map(drop)
    }

    /// Takes note of chunks that count, under a snapshot that has all rows of transactions before
    /// `horizon`.
    pub(super) async fn note(
        &self,
        epoch: i64,
        horizon: u64,
        notes: &[Note],
    ) -> Result<Owner, Error> {
        let relations: Vec<Oid> = notes.iter().map(|note| note.place.relation).collect();
        let blocks: Vec<i64> = notes.iter().map(|note| note.place.block.into()).collect();
        let forms: Vec<&str> = notes.iter().map(|note| note.form.as_str()).collect();
        let rows = notes.iter().map(|note| i64::try_from(note.rows));
        let rows: Vec<i64> = rows.map(|rows| rows.unwrap_or(i64::MAX)).collect();
        let (slot, horizon) = (self.slot.as_str(), horizon.cast_signed());
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&slot, &epoch, &relations, &blocks, &forms, &rows, &horizon];
        let noted = self.client.execute(NOTE, &parameters).await?;
        Ok(match usize::try_from(noted) == Ok(notes.len()) {
            true => Owner::We,
            false => Owner::Another,
        })
    }
}

/// Who claims the ledger waits for this, or this for him and finds another epoch.
const NOTE: &str = "
with owner as materialized (
    select slot from lockstep.first_snapshots where slot = $1 and epoch = $2 for share
)
insert into lockstep.first_snapshot_chunks (slot, relation, block, form, rows, horizon)
select owner.slot, n.relation, n.block, n.form, n.rows, $7::bigint
  from owner, unnest($3::oid[], $4::bigint[], $5::text[], $6::bigint[])
              as n (relation, block, form, rows)
    on conflict (slot, relation, block) do update
   set form = excluded.form, rows = excluded.rows, horizon = excluded.horizon,
       noted_at = clock_timestamp()";

impl Done {
    /// The transaction since which rows of the chunk may be missing.
    /// None when nothing of a table of this form was read.
    pub(super) fn horizon(&self, place: Place, form: &str) -> Option<Xid> {
        let (_, horizon) = self.0.get(&place).filter(|(of, _)| of == form)?;
        Some(control::short(*horizon))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<(Place, (String, u64))> for Done {
    fn from_iter<I: IntoIterator<Item = (Place, (String, u64))>>(notes: I) -> Self {
        Self(notes.into_iter().collect())
    }
}
