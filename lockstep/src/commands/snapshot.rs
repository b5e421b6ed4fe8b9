//! `lockstep snapshot`: reads tables once more while changes flow on.

use std::process::ExitCode;

use operate::catalog;
use operate::endpoints::EndpointsConfig;
use operate::snapshot::{self, Snapshot};
use serde_json::json;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::tables::TableArgument;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// Read this table once more, as schema.table; repeatable
    #[arg(long, value_name = "TABLE", required_unless_present_any = ["list", "cancel"])]
    table: Vec<TableArgument>,

    /// Show what was asked for, and how far it is
    #[arg(long, conflicts_with_all = ["table", "cancel"])]
    list: bool,

    /// Cancel this one; what it has read stays
    #[arg(long, value_name = "ID", conflicts_with = "table")]
    cancel: Option<i64>,

    #[command(flatten)]
    actor: ActorConfig,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How many are listed.
const LISTED: i64 = 100;

/// # Errors
/// When a table cannot be read once more, or a database does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let names = &endpoints.names;
    let source = connect(&endpoints.source, "lockstep snapshot").await?;
    if config.list {
        let listed = snapshot::list(&source, &names.slot, LISTED).await?;
        return show(&listed, config.json);
    }
    let actor = config.actor.into();
    let mut target = connect(&endpoints.target, "lockstep snapshot").await?;
    let mut ids = Vec::new();
    if let Some(id) = config.cancel {
        snapshot::cancel(&source, &mut target, names, id, &actor).await?;
        ids.push(id);
    }
    // All are checked before anything is asked for.
    let published = catalog::published(&source, &names.publication).await?;
    let tables = config.table.iter();
    let tables = tables.map(|TableArgument(table)| snapshot::readable(&published, table));
    for table in tables.collect::<anyhow::Result<Vec<_>>>()? {
        let id = snapshot::request(&source, &mut target, names, table, &actor).await?;
        ids.push(id);
    }
    let mut asked = Vec::new();
    for id in ids {
        asked.extend(snapshot::find(&source, &names.slot, id).await?);
    }
    show(&asked, config.json)
}

fn show(snapshots: &[Snapshot], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let report = json!({ "snapshots": snapshots });
        screen::line(&serde_json::to_string_pretty(&report)?);
    } else {
        for snapshot in snapshots {
            screen::line(&line(snapshot));
        }
    }
    Ok(match snapshots.iter().any(|it| it.error.is_some()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn line(snapshot: &Snapshot) -> String {
    let Snapshot {
        id,
        table,
        state,
        rows_read,
        rows_estimated,
        ..
    } = snapshot;
    let mut line = format!("{id}  {table}: {}, {rows_read}", state.name());
    match rows_estimated {
        Some(estimated) if state.is_open() => line.push_str(&format!(" of about {estimated} rows")),
        _ => line.push_str(" rows"),
    }
    for more in [&snapshot.waits_for, &snapshot.error].into_iter().flatten() {
        line.push_str(": ");
        line.push_str(more);
    }
    line
}
