//! Whether the target holds the source's rows.
//!
//! ```text
//! heartbeat on the source at H -> wait until the target has applied H -> hash every table on both
//! ```
//!
//! A table's hash is a sum over its rows ([`digest`]), so each side reads its blocks in whatever
//! pieces it likes. Writes on the source must rest meanwhile: what commits after H would be counted
//! on one side only.

pub mod digest;
pub mod rendezvous;
mod verdict;

use std::time::Duration;

use anyhow::{Context, ensure};
use change::Lsn;
use service::postgres::{Dsn, connect};
use tokio_postgres::Client;

use digest::Digest;
pub use verdict::{Comparison, Side};

use crate::catalog::{self, PublishedTable};

/// Connections to both sides, for one comparison.
pub struct Pair {
    pub source: service::postgres::Connection,
    pub target: service::postgres::Connection,
}

impl Pair {
    /// # Errors
    /// When a side cannot be reached.
    pub async fn connect(source: &Dsn, target: &Dsn) -> anyhow::Result<Self> {
        let pair = Self {
            source: connect(source, "lockstep verify").await?,
            target: connect(target, "lockstep verify").await?,
        };
        for side in [&pair.source, &pair.target] {
            side.batch_execute(digest::FIXED_OUTPUT)
                .await
                .context("fix how values are written")?;
        }
        Ok(pair)
    }

    /// As [`rendezvous::meet`].
    ///
    /// # Errors
    /// As [`rendezvous::meet`].
    pub async fn meet(
        &self,
        pipeline: &str,
        deadline: Duration,
        report: impl FnMut(u64),
    ) -> anyhow::Result<Lsn> {
        rendezvous::meet(&self.source, &self.target, pipeline, deadline, report).await
    }

    /// The published tables, or those of them that are named.
    ///
    /// # Errors
    /// When a named table is not published.
    pub async fn tables(
        &self,
        publication: &str,
        named: &[String],
    ) -> anyhow::Result<Vec<PublishedTable>> {
        let published = catalog::published(&self.source, publication).await?;
        for name in named {
            let known = published.iter().any(|it| it.name.to_string() == *name);
            ensure!(
                known,
                "table {name} is not published: give --table as schema.table"
            );
        }
        let wanted =
            |table: &PublishedTable| named.is_empty() || named.contains(&table.name.to_string());
        Ok(published.into_iter().filter(wanted).collect())
    }

    /// Compares the tables one after the other, each side of one at the same time. `report` is told
    /// which, and how far.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub async fn compare(
        &self,
        tables: &[PublishedTable],
        mut report: impl FnMut(&str),
    ) -> anyhow::Result<Vec<Comparison>> {
        let mut comparisons = Vec::with_capacity(tables.len());
        for (number, table) in tables.iter().enumerate() {
            let title = format!("{} of {}: {}", number + 1, tables.len(), table.name);
            report(&title);
            let (source, target) = tokio::try_join!(
                side(&self.source, "source", table, |done, all| {
                    report(&format!("{title}, {} %", done * 100 / all));
                }),
                side(&self.target, "target", table, |_, _| {})
            )?;
            comparisons.push(Comparison::new(&table.name, source, target));
        }
        Ok(comparisons)
    }
}

/// A side that has no such table, or not its columns, is a difference and no error.
async fn side(
    client: &Client,
    name: &'static str,
    table: &PublishedTable,
    report: impl FnMut(i64, i64),
) -> anyhow::Result<Side> {
    let Some(found) = catalog::target_table(client, &table.name).await? else {
        return Ok(Side::NoTable);
    };
    let lacking = table.columns.iter().find(|column| {
        let names = found.columns.iter().map(|it| &it.name);
        !names.clone().any(|name| *name == column.name)
    });
    if let Some(column) = lacking {
        return Ok(Side::NoColumn(column.name.clone()));
    }
    let digest: Digest = digest::of(client, table, report)
        .await
        .with_context(|| format!("read table {} of the {name}", table.name))?;
    Ok(Side::Rows(digest))
}
