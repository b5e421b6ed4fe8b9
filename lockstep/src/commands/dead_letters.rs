//! `lockstep dead-letters`: what apply has set aside.

use std::process::ExitCode;

use change::TableName;
use operate::dead_letters::{
    self, Detail, LETTERS_MAX, Letter, Listing, Redriven, Selection, Side,
};
use serde::Serialize;
use serde_json::json;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    pipeline: PipelineConfig,

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
        table: Option<TableName>,
        /// Letters at most
        #[arg(long, value_name = "COUNT", default_value_t = 100,
              value_parser = clap::value_parser!(i64).range(0..=LETTERS_MAX))]
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

/// # Errors
/// When there is no such letter, or the target does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let pipeline = config.pipeline.open()?;
    match config.action {
        Action::List {
            all,
            table,
            limit,
            json,
        } => {
            let selection = Selection {
                all,
                table,
                limit,
                ..Selection::default()
            };
            show_list(&list(&pipeline, &selection).await?, json)
        }
        Action::Show { id, json } => show(&detail(&pipeline, id).await?, json),
        Action::Redrive {
            letters,
            actor,
            json,
        } => {
            let ids = ids(&pipeline, letters).await?;
            show_redriven(redrive(&pipeline, &ids, &actor).await?, json)
        }
        Action::Discard { letters, actor } => {
            let ids = ids(&pipeline, letters).await?;
            let discarded = discard(&pipeline, &ids, &actor).await?;
            screen::line(&format!("{discarded} discarded"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(pipeline: &Pipeline, selection: &Selection) -> anyhow::Result<Listing> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let target = connect(&endpoints.target, "lockstep dead-letters").await?;
            let pipeline = &endpoints.names.pipeline;
            Ok(Listing {
                groups: dead_letters::groups(&target, pipeline).await?,
                letters: dead_letters::list(&target, pipeline, selection).await?,
            })
        }
        Pipeline::Remote(console) => {
            let limit = selection.limit.to_string();
            let table = selection.table.as_ref().map(TableName::to_string);
            let query = [
                ("state", if selection.all { "all" } else { "open" }),
                ("table", table.as_deref().unwrap_or_default()),
                ("limit", &limit),
            ];
            Ok(Listing {
                groups: console.get(&["dead-letters", "groups"], &[]).await?,
                letters: console.get(&["dead-letters"], &query).await?,
            })
        }
    }
}

/// Code 0 only when no letter is open.
fn show_list(listing: &Listing, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        print(listing)?;
    } else {
        for group in &listing.groups {
            let (letters, table, error) = (group.letters, &group.table, &group.error);
            screen::line(&format!("{letters} of {table}: {error}"));
        }
        for letter in &listing.letters {
            screen::line(&line(letter));
        }
        if listing.letters.is_empty() {
            screen::line("no dead letters");
        }
    }
    Ok(match listing.groups.is_empty() {
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

async fn detail(pipeline: &Pipeline, id: i64) -> anyhow::Result<Detail> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            dead_letters::detail(&endpoints.target, &endpoints.names.pipeline, id).await
        }
        Pipeline::Remote(console) => console.get(&["dead-letters", &id.to_string()], &[]).await,
    }
}

/// Code 0 only when it is known what it wants.
fn show(detail: &Detail, json: bool) -> anyhow::Result<ExitCode> {
    match json {
        true => print(detail)?,
        false => show_text(detail),
    }
    Ok(match detail.error {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

fn show_text(detail: &Detail) {
    let letter = &detail.letter;
    screen::line(&line(letter));
    screen::line(&letter.error);
    let (topic, partition, offset) = (&letter.topic, letter.partition, letter.offset);
    screen::line(&format!(
        "record {topic}, partition {partition}, offset {offset}"
    ));
    for side in &detail.columns {
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
    if let Some(error) = &detail.error {
        screen::line(&format!("what it wants is not known: {error}"));
    }
}

async fn redrive(
    pipeline: &Pipeline,
    ids: &[i64],
    actor: &ActorConfig,
) -> anyhow::Result<Redriven> {
    if ids.is_empty() {
        return Ok(Redriven::default());
    }
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let (target, pipeline) = (&endpoints.target, &endpoints.names.pipeline);
            let (registry, differences) = (&endpoints.registry, &endpoints.differences);
            let actor = actor.actor();
            dead_letters::redrive(target, pipeline, ids, &actor, registry, differences).await
        }
        Pipeline::Remote(console) => {
            let fields = json!({ "id": ids, "reason": actor.reason()? });
            console.act("redrive", &fields).await
        }
    }
}

/// Code 0 only when all of them are applied.
fn show_redriven(redriven: Redriven, json: bool) -> anyhow::Result<ExitCode> {
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

/// Returns how many were open.
async fn discard(pipeline: &Pipeline, ids: &[i64], actor: &ActorConfig) -> anyhow::Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let mut target = connect(&endpoints.target, "lockstep dead-letters").await?;
            let pipeline = &endpoints.names.pipeline;
            dead_letters::discard(&mut target, pipeline, ids, &actor.actor()).await
        }
        Pipeline::Remote(console) => {
            let words: Vec<String> = ids.iter().map(i64::to_string).collect();
            let reason = actor.reason()?;
            let fields = json!({ "id": ids, "confirm": words.join(" "), "reason": reason });
            console.act("discard", &fields).await
        }
    }
}

async fn ids(pipeline: &Pipeline, letters: Letters) -> anyhow::Result<Vec<i64>> {
    if !letters.all {
        return Ok(letters.id);
    }
    let selection = Selection {
        limit: LETTERS_MAX,
        ..Selection::default()
    };
    let open = list(pipeline, &selection).await?;
    Ok(open.letters.iter().map(|letter| letter.id).collect())
}

fn print(object: &impl Serialize) -> anyhow::Result<()> {
    screen::line(&serde_json::to_string_pretty(object)?);
    Ok(())
}
