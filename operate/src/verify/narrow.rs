//! From a table that differs to the rows that do.
//!
//! Rows are sorted into buckets by a hash of their key, which puts a row into the same bucket on
//! both sides. Of the buckets that differ, both sides are read in the order of that hash, and
//! merged: memory does not depend on how much differs.

use std::pin::Pin;

use anyhow::{Context, anyhow};
use futures_util::StreamExt;
use tokio_postgres::{Client, RowStream};

use super::digest::{self, BUCKET, Digest};
use super::place::Place;
use super::verdict::{Kind, RowDifference};
use crate::catalog::{Column, Identity, PublishedTable};

/// Where both sides are read, in the order of the rows' ids.
pub(super) struct Merge {
    source: Rows,
    target: Rows,
}

/// A row that differs, or several that are the same.
#[derive(Debug)]
pub(super) struct Unequal {
    pub(super) kind: Kind,
    pub(super) rows: u64,
    /// As text; empty without a key.
    pub(super) key: Vec<String>,
    /// Of a row that is on both sides, where.
    places: Option<(RowPlace, RowPlace)>,
}

/// A row's place in a snapshot: the table, or partition, and the place there.
#[derive(Debug)]
struct RowPlace(i64, String);

struct Rows {
    stream: Pin<Box<RowStream>>,
    next: Option<Entry>,
}

struct Entry {
    id: Vec<u8>,
    hash: Vec<u8>,
    count: i64,
    key: Vec<String>,
    place: RowPlace,
}

impl Merge {
    /// Readers are in a transaction each, and are of no other use until this ends.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub(super) async fn new(
        table: &PublishedTable,
        source: (&Client, &Place),
        target: (&Client, &Place),
        buckets: &[i32],
    ) -> anyhow::Result<Self> {
        let (source, target) = tokio::try_join!(
            Rows::new(table, source, buckets),
            Rows::new(table, target, buckets)
        )?;
        Ok(Self { source, target })
    }

    /// The next difference; `None` when there is no more.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Unequal>> {
        loop {
            let order = match (&self.source.next, &self.target.next) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(source), Some(target)) => source.id.cmp(&target.id),
            };
            let mut source = None;
            let mut target = None;
            if order.is_le() {
                source = self.source.advance().await?;
            }
            if order.is_ge() {
                target = self.target.advance().await?;
            }
            if let Some(unequal) = unequal(source, target) {
                return Ok(Some(unequal));
            }
        }
    }
}

/// What two entries of the same id say.
fn unequal(source: Option<Entry>, target: Option<Entry>) -> Option<Unequal> {
    let alone = |kind, entry: Entry, count: i64| Unequal {
        kind,
        rows: count.unsigned_abs(),
        key: entry.key,
        places: None,
    };
    match (source, target) {
        (None, None) => None,
        (Some(source), None) => {
            let count = source.count;
            Some(alone(Kind::Missing, source, count))
        }
        (None, Some(target)) => {
            let count = target.count;
            Some(alone(Kind::Extra, target, count))
        }
        (Some(source), Some(target)) if source.hash != target.hash => Some(Unequal {
            kind: Kind::Different,
            rows: 1,
            key: source.key,
            places: Some((source.place, target.place)),
        }),
        (Some(source), Some(target)) => match source.count - target.count {
            0 => None,
            count @ 1.. => Some(alone(Kind::Missing, source, count)),
            count => Some(alone(Kind::Extra, target, count)),
        },
    }
}

impl Rows {
    async fn new(
        table: &PublishedTable,
        (reader, place): (&Client, &Place),
        buckets: &[i32],
    ) -> anyhow::Result<Self> {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&buckets];
        let stream = reader.query_raw(&sql(table, place), parameters).await;
        let mut rows = Self {
            stream: Box::pin(stream.with_context(|| step(table))?),
            next: None,
        };
        rows.advance().await?;
        Ok(rows)
    }

    /// Takes the next entry, and reads the one after it.
    async fn advance(&mut self) -> anyhow::Result<Option<Entry>> {
        let next = match self.stream.next().await {
            None => None,
            Some(row) => {
                let row = row.context("read the rows' hashes")?;
                Some(Entry {
                    id: row.get(0),
                    hash: row.get(1),
                    count: row.get(2),
                    key: row.get(3),
                    place: RowPlace(row.get(4), row.get(5)),
                })
            }
        };
        Ok(std::mem::replace(&mut self.next, next))
    }
}

fn step(table: &PublishedTable) -> String {
    format!("look for the rows of table {} that differ", table.name)
}

fn sql(table: &PublishedTable, place: &Place) -> String {
    let (id, hash, from) = (digest::id(table), digest::hash(table), &place.from);
    match &table.identity {
        Identity::Key(_) => {
            let key: Vec<String> = key(table).map(digest::text).collect();
            format!(
                "select id, hash, 1::int8, key, o, c
                   from (select {id} as id, {hash} as hash, array[{}]::text[] as key,
                                tableoid::int8 as o, ctid::text as c from {from}) as r
                  where {BUCKET} = any($1) order by id",
                key.join(", ")
            )
        }
        Identity::Full | Identity::None => format!(
            "select id, id, count(*), array[]::text[], 0::int8, ''
               from (select {id} as id from {from}) as r
              where {BUCKET} = any($1) group by id order by id"
        ),
    }
}

/// The key's columns.
pub(super) fn key(table: &PublishedTable) -> impl Iterator<Item = &Column> {
    let names: &[String] = match &table.identity {
        Identity::Key(names) => names,
        Identity::Full | Identity::None => &[],
    };
    table.columns.iter().filter(|it| names.contains(&it.name))
}

/// The buckets that are not the same on both sides.
pub(super) fn differing(source: &[Digest], target: &[Digest]) -> Vec<i32> {
    let pairs = (0..).zip(source.iter().zip(target));
    pairs
        .filter(|(_, (source, target))| source != target)
        .map(|(bucket, _)| bucket)
        .collect()
}

/// Names the columns of a row on both sides that differ. Readers are in their snapshots.
///
/// # Errors
/// When a side cannot be read.
pub(super) async fn describe(
    table: &PublishedTable,
    (source, source_place): (&Client, &Place),
    (target, target_place): (&Client, &Place),
    unequal: &Unequal,
) -> anyhow::Result<RowDifference> {
    let mut columns = Vec::new();
    if let Some((there, here)) = &unequal.places {
        let (there, here) = tokio::try_join!(
            hashes(table, source, source_place, there),
            hashes(table, target, target_place, here)
        )?;
        let pairs = table.columns.iter().zip(there.iter().zip(&here));
        let differing = pairs.filter(|(_, (there, here))| there != here);
        columns.extend(differing.map(|(column, _)| column.name.clone()));
    }
    let names = key(table).map(|column| column.name.clone());
    Ok(RowDifference {
        kind: unequal.kind,
        key: names.zip(unequal.key.iter().cloned()).collect(),
        columns,
    })
}

/// A hash of each column, so that large values need not travel.
async fn hashes(
    table: &PublishedTable,
    reader: &Client,
    place: &Place,
    RowPlace(oid, row): &RowPlace,
) -> anyhow::Result<Vec<Option<String>>> {
    let columns = table.columns.iter().map(digest::text);
    let columns: Vec<String> = columns.map(|text| format!("md5({text})")).collect();
    let sql = format!(
        "select array[{}]::text[] from {} where tableoid = $1::int8::oid and ctid = $2::text::tid",
        columns.join(", "),
        place.from
    );
    let row = reader.query_opt(&sql, &[oid, row]).await;
    let row = row.with_context(|| step(table))?;
    let row =
        row.ok_or_else(|| anyhow!("a row of table {} is gone from its snapshot", table.name))?;
    Ok(row.get(0))
}
