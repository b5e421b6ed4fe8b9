//! Summing up tables on one side, in pieces that several readers share.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio_postgres::Client;

use super::digest::{self, Digest, Split};
use super::place::Place;
use super::side::Side;
use crate::catalog::PublishedTable;

/// 32 MB at Postgres' usual block size: some tenths of a second between two signs of life.
const PIECE_BLOCKS: i64 = 4096;

/// How much of the time a reader may be at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimit {
    percent: u8,
}

impl LoadLimit {
    /// `percent` is between 1 and 100.
    pub fn new(percent: u8) -> Self {
        Self {
            percent: percent.clamp(1, 100),
        }
    }

    /// How long to rest after work of this length.
    fn rest(self, worked: Duration) -> Duration {
        worked * u32::from(100 - self.percent) / u32::from(self.percent)
    }
}

/// A piece of a table, by its blocks.
struct Piece {
    /// Its place among the tables.
    table: usize,
    from: i64,
    /// The last piece has no end: rows may have come to new blocks since the size was asked for.
    until: Option<i64>,
}

/// A table to be summed up, and the SQL for it.
pub(super) struct Task<'a> {
    table: &'a PublishedTable,
    blocks: i64,
    sql: String,
}

impl<'a> Task<'a> {
    pub(super) fn new(table: &'a PublishedTable, place: &Place, split: Split) -> Self {
        Self {
            table,
            blocks: place.blocks,
            sql: digest::sums_sql(table, &place.from, split),
        }
    }

    /// What is counted as done when it is.
    pub(super) fn weight(&self) -> i64 {
        self.blocks.max(1)
    }
}

/// Sums up all tables of `tasks`; answers their sums in the same order. `done` rises by the weight
/// of what is read.
///
/// # Errors
/// When a table cannot be read.
pub(super) async fn sums(
    side: &Side,
    tasks: &[Task<'_>],
    split: Split,
    limit: LoadLimit,
    done: &AtomicI64,
) -> anyhow::Result<Vec<Vec<Digest>>> {
    let pieces: Vec<Piece> = tasks.iter().enumerate().flat_map(pieces).collect();
    let pieces = Mutex::new(pieces.into_iter());
    let next = || {
        let mut pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.next()
    };
    let sums = Mutex::new(vec![vec![Digest::default(); split.sums()]; tasks.len()]);
    let readers = side.readers().iter().map(async |reader| {
        while let Some(piece) = next() {
            let started = Instant::now();
            let task = &tasks[piece.table];
            let step = || format!("read table {} of the {}", task.table.name, side.name);
            let read = read(side, reader, task, &piece).await.with_context(step)?;
            add(&sums, piece.table, read);
            let until = piece.until.unwrap_or_else(|| task.weight());
            done.fetch_add(until - piece.from, Ordering::Relaxed);
            tokio::time::sleep(limit.rest(started.elapsed())).await;
        }
        anyhow::Ok(())
    });
    try_join_all(readers).await?;
    Ok(sums.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn add(sums: &Mutex<Vec<Vec<Digest>>>, table: usize, read: Vec<(usize, Digest)>) {
    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
    for (bucket, digest) in read {
        sums[table][bucket] += digest;
    }
}

fn pieces<'a>((table, task): (usize, &'a Task<'_>)) -> impl Iterator<Item = Piece> + 'a {
    let last = (task.blocks - 1).max(0) / PIECE_BLOCKS;
    (0..=last).map(move |number| Piece {
        table,
        from: number * PIECE_BLOCKS,
        until: (number < last).then_some((number + 1) * PIECE_BLOCKS),
    })
}

async fn read(
    side: &Side,
    reader: &Client,
    task: &Task<'_>,
    piece: &Piece,
) -> anyhow::Result<Vec<(usize, Digest)>> {
    side.begin_reading(reader).await?;
    let from = format!("({},0)", piece.from);
    let until = piece.until.map(|block| format!("({block},0)"));
    let rows = reader.query(&task.sql, &[&from, &until]).await;
    let rows = rows.context("hash the rows")?;
    side.end_reading(reader).await?;
    rows.iter().map(digest::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Identity;
    use change::TableName;

    #[track_caller]
    fn check(blocks: i64, expected: &[(i64, Option<i64>)]) {
        let table = PublishedTable {
            name: TableName::new("public", "t"),
            columns: Vec::new(),
            identity: Identity::None,
            filter: None,
            changes_rows: true,
        };
        let task = Task {
            table: &table,
            blocks,
            sql: String::new(),
        };
        let cut: Vec<_> = pieces((0, &task)).map(|it| (it.from, it.until)).collect();
        assert_eq!(cut, expected);
    }

    #[test]
    fn pieces_cover_the_table_and_what_may_be_behind_its_end() {
        check(0, &[(0, None)]);
        check(4096, &[(0, None)]);
        check(4097, &[(0, Some(4096)), (4096, None)]);
    }

    #[test]
    fn rest_is_in_proportion_to_work() {
        let worked = Duration::from_millis(100);
        assert_eq!(LoadLimit::new(100).rest(worked), Duration::ZERO);
        assert_eq!(LoadLimit::new(50).rest(worked), worked);
        assert_eq!(LoadLimit::new(20).rest(worked), 4 * worked);
    }
}
