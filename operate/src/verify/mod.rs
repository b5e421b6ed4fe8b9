//! Whether the target holds the source's rows, at one exact LSN and under full load.
//!
//! In the order in which a comparison meets them:
//!
//! - `hold`, `fixed`, `side`, `meeting`: one state of both sides, for which apply is held a moment;
//! - `held`: tables that are not compared;
//! - `place`, `digest`, `scan`: every table's hash on both sides;
//! - `narrow`: where hashes differ, down to rows and columns;
//! - `repair`: rows that differ, made as they are on the source;
//! - `sequences`: whether those of the target could go on;
//! - `round`: one comparison from meeting to verdict;
//! - `verdict`, `history`: what was found, and what was found before.

mod digest;
mod fixed;
mod held;
mod history;
mod hold;
mod meeting;
mod narrow;
mod place;
mod repair;
mod round;
mod scan;
mod sequences;
mod side;
mod verdict;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use anyhow::ensure;
use applier::Treatment;
use tokio_postgres::Client;

pub use digest::Digest;
pub use history::{KEPT, Verification, list as history};
pub use hold::Limits;
pub use scan::LoadLimit;
pub use sequences::BehindSequence;
pub use verdict::{Comparison, Differences, Kind, Repair, Report, RowDifference, Side};

use crate::audit::Actor;
use crate::catalog::{self, PublishedTable};
use crate::endpoints::Endpoints;
use repair::Repairer;
use round::{Round, Surroundings};
use sequences::HandedOut;
use side::session;

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// As `schema.table`; none: all that are published.
    pub tables: Vec<String>,
    /// Connections that read, on each side.
    pub readers: u16,
    pub load: LoadLimit,
    pub limits: Limits,
    /// Of each table, so many rows that differ are named.
    pub rows_named: usize,
    pub mend: Mend,
    /// Who compares, for the history, and for the log of what was repaired.
    pub actor: Actor,
}

/// What is done about rows that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    Leave,
    Repair,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            readers: 2,
            load: LoadLimit::new(100),
            limits: Limits {
                hold: Duration::from_secs(10),
                deadline: Duration::from_secs(300),
            },
            rows_named: 100,
            mend: Mend::Leave,
            actor: Actor::of_process(None),
        }
    }
}

/// A round repairs so many rows of a table as it can keep the keys of, and rows whose repair was
/// refused may be free in the next one.
const REPAIR_ROUNDS_MAX: usize = 20;

/// Compares, repairs if that is asked for, and writes down what was found. `say` is told how far it
/// is.
///
/// # Errors
/// When a side cannot be read, or they do not meet; a difference is an answer.
pub async fn run(
    endpoints: &Endpoints,
    options: &Options,
    mut say: impl FnMut(&str) + Send,
) -> anyhow::Result<Report> {
    let started_at = SystemTime::now();
    let target = session(&endpoints.target).await?;
    let (given, pipeline) = (&endpoints.differences, &endpoints.names.pipeline);
    let surroundings = Surroundings {
        endpoints,
        options,
        configured: given.or_stored(&target, pipeline).await?,
        source: session(&endpoints.source).await?,
        target,
    };
    let publication = &endpoints.names.publication;
    let mut tables = tables(&surroundings.source, publication, &options.tables).await?;
    let left_out = leave_out(&mut tables, &surroundings.configured);
    let tables: Vec<&PublishedTable> = tables.iter().collect();
    let handed_out = HandedOut::read(&surroundings.source, publication).await?;
    let first = surroundings.round(&tables, &mut say).await?;
    let mut report = Report::new(first.lsn, first.held, first.comparisons.clone());
    if options.mend == Mend::Repair && !report.equal {
        report.conclude(mend(&surroundings, &tables, first, &mut say).await?);
    }
    let target = &surroundings.target;
    let patience = options.limits.hold;
    report.leave_out(&left_out);
    report.compare_sequences(handed_out.behind(target, pipeline, patience).await?);
    history::record(target, pipeline, &report, started_at, &options.actor.who).await?;
    Ok(report)
}

/// Repairs the rows that differ and compares their tables again, until there is nothing left to be
/// repaired.
async fn mend(
    surroundings: &Surroundings<'_>,
    tables: &[&PublishedTable],
    first: Round<'_>,
    say: &mut (impl FnMut(&str) + Send),
) -> anyhow::Result<Repair> {
    let Surroundings {
        endpoints, options, ..
    } = surroundings;
    let mut repairer = Repairer::new(endpoints, options, &surroundings.configured).await?;
    let (mut last, mut rows) = (first, 0);
    for _ in 0..REPAIR_ROUNDS_MAX {
        let done = repairer.repair(&last.wrong, say).await?;
        rows += done.rows;
        let unequal = last.comparisons.iter().filter(|it| !it.equal);
        let unequal: Vec<&str> = unequal.map(|it| it.table.as_str()).collect();
        let mut again = tables.to_vec();
        again.retain(|table| unequal.contains(&table.name.to_string().as_str()));
        last = surroundings.round(&again, say).await?;
        if last.wrong.is_empty() || done.rows == 0 {
            return Ok(Repair {
                rows,
                refused: done.refused,
                lsn: last.lsn,
                tables: last.comparisons,
            });
        }
    }
    Ok(Repair {
        rows,
        refused: vec!["more rows than are repaired one by one: copy the tables anew".to_owned()],
        lsn: last.lsn,
        tables: last.comparisons,
    })
}

/// The published tables, or those of them that are named.
async fn tables(
    source: &Client,
    publication: &str,
    named: &[String],
) -> anyhow::Result<Vec<PublishedTable>> {
    let published = catalog::published(source, publication).await?;
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

/// Takes out the columns whose values the target does not have; by table, their names.
fn leave_out(
    tables: &mut [PublishedTable],
    configured: &applier::Differences,
) -> HashMap<String, Vec<String>> {
    let mut left_out: HashMap<String, Vec<String>> = HashMap::new();
    for PublishedTable { name, columns, .. } in tables {
        columns.retain(|column| {
            let is_carried = configured.treatment(name, &column.name) == Treatment::Carried;
            if !is_carried {
                let of_table = left_out.entry(name.to_string()).or_default();
                of_table.push(column.name.clone());
            }
            is_carried
        });
    }
    left_out
}
