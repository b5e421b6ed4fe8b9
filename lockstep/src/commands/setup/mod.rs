//! `lockstep setup`: makes what replication needs and is not there yet.
//!
//! The slot is left to capture: whoever creates it holds the snapshot that its stream continues
//! from, and a slot without that snapshot is of no use.

mod programs;
mod schema;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use change::{TableName, quoted};
use service::postgres::connect;
use tokio_postgres::Client;
use tracing::warn;

use crate::screen;
use operate::catalog;
use operate::endpoints::{Endpoints, EndpointsConfig};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// Print the SQL and change nothing
    #[arg(long)]
    print: bool,

    /// Folder of Postgres' programs, for pg_dump [default: the newest that is installed]
    #[arg(long, env = "LOCKSTEP_PG_BIN", value_name = "DIR")]
    pg_bin: Option<PathBuf>,
}

/// # Errors
/// When a database cannot be reached, or refuses a statement.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let source = connect(&endpoints.source, "lockstep setup").await?;
    let target = connect(&endpoints.target, "lockstep setup").await?;
    for step in steps(&endpoints, &source, &target, config.pg_bin).await? {
        if config.print {
            screen::line(&format!("-- {}: {}\n{}\n", step.side, step.what, step.sql));
            continue;
        }
        let client = match step.side {
            Side::Source => &source,
            Side::Target => &target,
        };
        client.batch_execute(&step.sql).await.with_context(|| {
            let Step { side, what, .. } = &step;
            format!("{side}: {what} (setup --print shows the statements)")
        })?;
        screen::line(&format!("{}: {}", step.side, step.what));
    }
    if !config.print {
        screen::line("set up");
    }
    Ok(ExitCode::SUCCESS)
}

/// Statements that stand or fall together.
#[derive(Debug)]
pub(crate) struct Step {
    side: Side,
    what: String,
    sql: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// As the makers of event triggers are (manual, "CREATE EVENT TRIGGER").
pub(crate) async fn is_superuser(client: &Client) -> anyhow::Result<bool> {
    let sql = "select rolsuper from pg_roles where rolname = current_user";
    let row = client
        .query_one(sql, &[])
        .await
        .context("look up our role")?;
    Ok(row.get(0))
}

/// What is missing, in the order in which it has to be made.
async fn steps(
    endpoints: &Endpoints,
    source: &Client,
    target: &Client,
    pg_bin: Option<PathBuf>,
) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let publication = &endpoints.names.publication;
    if !catalog::has_publication(source, publication).await? {
        steps.push(Step {
            side: Side::Source,
            what: format!("create publication {publication} for all tables"),
            sql: format!("create publication {} for all tables;", quoted(publication)),
        });
    }
    steps.push(Step {
        side: Side::Source,
        what: "create the tables of capture unless they are there".to_owned(),
        sql: ::cdc::SQL.to_owned(),
    });
    if is_superuser(source).await? {
        steps.push(Step {
            side: Side::Source,
            what: "let event triggers tell of changes of tables".to_owned(),
            sql: ::cdc::SCHEMA_CHANGES_SQL.to_owned(),
        });
    } else {
        warn!(
            "only a superuser can make event triggers: without them changes of tables are not \
             carried over"
        );
    }
    let pipeline = &endpoints.names.pipeline;
    let differences = endpoints.differences.or_stored(target, pipeline).await?;
    let mut missing = Vec::new();
    for table in catalog::published(source, publication).await? {
        let name = differences.table(&table.name);
        if catalog::target_table(target, &name).await?.is_some() {
            continue;
        }
        match differences.are_of(&table.name) {
            true => warn!(
                table = %name,
                "differs from the source's and is left to you: apply makes it with columns and key only"
            ),
            false => missing.push(table.name),
        }
    }
    if !missing.is_empty() {
        let programs = programs::Programs::find(pg_bin)?;
        let sql = schema::dump(&programs, &endpoints.source, source, target, &missing).await?;
        steps.push(Step {
            side: Side::Target,
            what: format!("create {}", some_of(&missing)),
            sql,
        });
    }
    steps.push(Step {
        side: Side::Target,
        what: "create the progress tables unless they are there".to_owned(),
        sql: applier::progress::SQL.to_owned(),
    });
    Ok(steps)
}

/// The first names, and how many there are beside them.
fn some_of(tables: &[TableName]) -> String {
    const NAMED: usize = 20;
    let names: Vec<String> = tables.iter().take(NAMED).map(ToString::to_string).collect();
    let names = names.join(", ");
    match tables.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}
