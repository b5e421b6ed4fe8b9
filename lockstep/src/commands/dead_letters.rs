//! `lockstep dead-letters`: what apply has set aside.

use std::process::ExitCode;

use anyhow::Context;
use operate::audit::Actor;
use operate::dead_letters::{self, Letter, Selection, Side};
use operate::endpoints::{Endpoints, EndpointsConfig};
use serde::Serialize;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::tables::TableArgument;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Open letters, by their fault and one by one
    List {
        /// Those that were applied or discarded, too
        #[arg(long)]
        all: bool,
        /// Of this table only, as schema.table
        #[arg(long, value_name = "TABLE")]
        table: Option<TableArgument>,
        /// Letters at most
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: i64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// One letter: what it wants its row to be beside what is there
    Show {
        id: i64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Apply letters after all, with all that follow them, in commit order
    Redrive {
        #[command(flatten)]
        letters: Letters,
        #[command(flatten)]
        actor: ActorConfig,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give letters up: source and target differ then; --reason says why
    Discard {
        #[command(flatten)]
        letters: Letters,
        #[command(flatten)]
        actor: ActorConfig,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Letters {
    /// Their ids
    id: Vec<i64>,
    /// All open ones
    #[arg(long)]
    all: bool,
}

/// So many are redriven or discarded by one command.
const LETTERS_MAX: i64 = 10_000;

/// # Errors
/// When there is no such letter, or the target does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    match config.action {
        Action::List {
            all,
            table,
            limit,
            json,
        } => {
            let selection = Selection {
                all,
                table: table.map(|TableArgument(table)| table),
                limit,
                ..Selection::default()
            };
            list(&endpoints, &selection, json).await
        }
        Action::Show { id, json } => show(&endpoints, id, json).await,
        Action::Redrive {
            letters,
            actor,
            json,
        } => redrive(&endpoints, &letters, &actor.into(), json).await,
        Action::Discard { letters, actor } => discard(&endpoints, &letters, &actor.into()).await,
    }
}

/// Code 0 only when no letter is open.
async fn list(
    endpoints: &Endpoints,
    selection: &Selection,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let target = connect(&endpoints.target, "lockstep dead-letters").await?;
    let pipeline = &endpoints.names.pipeline;
    let groups = dead_letters::groups(&target, pipeline).await?;
    let letters = dead_letters::list(&target, pipeline, selection).await?;
    if json {
        print(&serde_json::json!({ "groups": groups, "letters": letters }))?;
    } else {
        for group in &groups {
            let (letters, table, error) = (group.letters, &group.table, &group.error);
            screen::line(&format!("{letters} of {table}: {error}"));
        }
        for letter in &letters {
            screen::line(&line(letter));
        }
        if letters.is_empty() {
            screen::line("no dead letters");
        }
    }
    Ok(match groups.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn line(letter: &Letter) -> String {
    let Letter {
        id,
        table,
        commit_lsn,
        ordinal,
        op,
        error_class,
        state,
        attempts,
        age_seconds,
        ..
    } = letter;
    format!(
        "{id}  {state}  {op} {table} at {commit_lsn}:{ordinal}, {error_class}, \
         {attempts} attempts, {age_seconds} s ago"
    )
}

async fn show(endpoints: &Endpoints, id: i64, json: bool) -> anyhow::Result<ExitCode> {
    let pipeline = &endpoints.names.pipeline;
    let target = connect(&endpoints.target, "lockstep dead-letters").await?;
    let letter = dead_letters::letter_of(&target, pipeline, id).await?;
    let letter = letter.with_context(|| format!("there is no dead letter {id}"))?;
    let sides = dead_letters::sides(&endpoints.target, pipeline, id).await?;
    let sides = sides.unwrap_or_default();
    if json {
        print(&serde_json::json!({ "letter": letter, "columns": sides }))?;
        return Ok(ExitCode::SUCCESS);
    }
    screen::line(&line(&letter));
    screen::line(&letter.error);
    let (topic, partition, offset) = (&letter.topic, letter.partition, letter.offset);
    screen::line(&format!(
        "record {topic}, partition {partition}, offset {offset}"
    ));
    for side in &sides {
        let Side {
            column,
            wanted,
            present,
            unchanged,
            ..
        } = side;
        let null = || "NULL".to_owned();
        let wanted = match unchanged {
            true => "(unchanged)".to_owned(),
            false => wanted.clone().unwrap_or_else(null),
        };
        let present = present.clone().unwrap_or_else(null);
        screen::line(&format!("{column}: wanted {wanted} | present {present}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Code 0 only when all of them are applied.
async fn redrive(
    endpoints: &Endpoints,
    letters: &Letters,
    actor: &Actor,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let pipeline = &endpoints.names.pipeline;
    let ids = ids(endpoints, letters).await?;
    let redriven = dead_letters::redrive(
        &endpoints.target,
        pipeline,
        &ids,
        actor,
        &endpoints.registry,
    )
    .await?;
    match json {
        true => print(&redriven)?,
        false => screen::line(&format!(
            "{} applied, {} refused again, {} wait for those",
            redriven.applied, redriven.refused, redriven.waiting
        )),
    }
    Ok(match redriven.refused {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn discard(
    endpoints: &Endpoints,
    letters: &Letters,
    actor: &Actor,
) -> anyhow::Result<ExitCode> {
    let ids = ids(endpoints, letters).await?;
    let mut target = connect(&endpoints.target, "lockstep dead-letters").await?;
    let pipeline = &endpoints.names.pipeline;
    let discarded = dead_letters::discard(&mut target, pipeline, &ids, actor).await?;
    screen::line(&format!("{discarded} discarded"));
    Ok(ExitCode::SUCCESS)
}

async fn ids(endpoints: &Endpoints, letters: &Letters) -> anyhow::Result<Vec<i64>> {
    if !letters.all {
        return Ok(letters.id.clone());
    }
    let target = connect(&endpoints.target, "lockstep dead-letters").await?;
    let selection = Selection {
        limit: LETTERS_MAX,
        ..Selection::default()
    };
    let open = dead_letters::list(&target, &endpoints.names.pipeline, &selection).await?;
    Ok(open.iter().map(|letter| letter.id).collect())
}

fn print(object: &impl Serialize) -> anyhow::Result<()> {
    screen::line(&serde_json::to_string_pretty(object)?);
    Ok(())
}
