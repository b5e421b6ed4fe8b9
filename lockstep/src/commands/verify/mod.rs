//! `lockstep verify`: whether the target holds the source's rows.
//!
//! ```text
//! heartbeat on the source at H -> wait until the target has applied H -> hash every table on both
//! ```
//!
//! A table's hash is a sum over its rows ([`digest`]), so each side reads its blocks in whatever
//! pieces it likes. Writes on the source must rest meanwhile: what commits after H would be counted
//! on one side only.

pub(crate) mod digest;
pub(crate) mod rendezvous;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use change::Lsn;
use serde_json::json;
use service::postgres::{Dsn, connect};
use tokio_postgres::Client;

use digest::Digest;
pub(crate) use verdict::{Comparison, Side};

use crate::catalog::{self, PublishedTable};
use crate::endpoints::EndpointsConfig;
use crate::screen::{self, StatusLine};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// Compare this table only, as schema.table; repeatable
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Seconds that the target has to catch up with the source
    #[arg(
        long,
        env = "LOCKSTEP_VERIFY_DEADLINE",
        value_name = "SECONDS",
        default_value_t = 300
    )]
    deadline: u64,
}

/// # Errors
/// When a side cannot be read, or the target does not catch up in time; a difference is an answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let mut progress = Progress::new(config.json);
    let deadline = Duration::from_secs(config.deadline);
    let pair = Pair::connect(&endpoints.source, &endpoints.target).await?;
    let tables = pair
        .tables(&endpoints.names.publication, &config.table)
        .await?;
    let lsn = pair
        .meet(&endpoints.names.pipeline, deadline, |behind| {
            progress.say(&format!("the target is {} behind", screen::bytes(behind)));
        })
        .await?;
    let comparisons = pair.compare(&tables, &mut progress).await?;
    progress.finish();
    report(lsn, &comparisons, config.json)?;
    Ok(match comparisons.iter().all(Comparison::is_equal) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn report(lsn: Lsn, comparisons: &[Comparison], as_json: bool) -> anyhow::Result<()> {
    let equal = comparisons.iter().all(Comparison::is_equal);
    if as_json {
        let report = json!({ "equal": equal, "lsn": lsn.to_string(), "tables": comparisons });
        screen::line(&serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    for comparison in comparisons {
        screen::line(&comparison.to_string());
    }
    screen::line(&match equal {
        true => format!("equal at {lsn}"),
        false => format!("different at {lsn}"),
    });
    Ok(())
}

/// What a person reads while it takes its time; nothing beside JSON.
pub(crate) struct Progress(Option<StatusLine>);

impl Progress {
    pub(crate) fn new(silent: bool) -> Self {
        // Elsewhere than on a terminal, only the answer is wanted.
        let line = StatusLine::new();
        Self((!silent && line.is_terminal()).then_some(line))
    }

    fn say(&mut self, text: &str) {
        if let Some(line) = &mut self.0 {
            line.show(text);
        }
    }

    pub(crate) fn finish(&mut self) {
        if let Some(line) = &mut self.0 {
            line.clear();
        }
    }
}

/// Connections to both sides, for one comparison.
pub(crate) struct Pair {
    pub(crate) source: service::postgres::Connection,
    pub(crate) target: service::postgres::Connection,
}

impl Pair {
    /// # Errors
    /// When a side cannot be reached.
    pub(crate) async fn connect(source: &Dsn, target: &Dsn) -> anyhow::Result<Self> {
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
    pub(crate) async fn meet(
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
    pub(crate) async fn tables(
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

    /// Compares the tables one after the other, each side of one at the same time.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub(crate) async fn compare(
        &self,
        tables: &[PublishedTable],
        progress: &mut Progress,
    ) -> anyhow::Result<Vec<Comparison>> {
        let mut comparisons = Vec::with_capacity(tables.len());
        for (number, table) in tables.iter().enumerate() {
            let title = format!("{} of {}: {}", number + 1, tables.len(), table.name);
            progress.say(&title);
            let (source, target) = tokio::try_join!(
                side(&self.source, "source", table, |done, all| {
                    progress.say(&format!("{title}, {} %", done * 100 / all));
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
