//! The same as JSON.

mod schemas;
mod topics;

use std::time::SystemTime;

use operate::catalog::{self, Identity, PublishedTable};
use operate::dead_letters;
use operate::registry::RegistryError;
use operate::replay;
use operate::topics::Missing;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::actions::Answer;
use crate::facts::Facts;
use crate::http::{Reply, StatusCode};
use crate::live::{Range, Series};
use crate::pages::{self, Visit};

/// What a path below `/api/v1` holds.
pub(crate) async fn get(visit: &Visit<'_>, path: &[&str]) -> Reply {
    match path {
        ["session"] => Reply::json(StatusCode::OK, visit.caller),
        ["status"] => status(visit),
        ["facts"] => facts(visit),
        ["history"] => history(visit),
        ["happenings"] => happenings(visit),
        ["tables"] => tables(visit).await,
        ["dead-letters"] => dead_letters(visit).await,
        ["audit"] => audit(visit).await,
        ["replays"] => replays(visit).await,
        ["openapi.json"] => openapi(),
        ["topics", rest @ ..] => topics::get(visit, rest).await,
        ["schemas", rest @ ..] => schemas::get(visit, rest).await,
        _ => nothing(),
    }
}

fn nothing() -> Reply {
    Reply::problem(StatusCode::NOT_FOUND, "there is nothing here")
}

/// What was found, or why it was not.
fn found(found: anyhow::Result<impl Serialize>) -> Reply {
    match found {
        Ok(found) => Reply::json(StatusCode::OK, &found),
        Err(error) => Reply::problem(status_of(&error), &format!("{error:#}")),
    }
}

/// What does not exist, or was asked for wrongly, is the caller's; anything else a part that is away.
fn status_of(error: &anyhow::Error) -> StatusCode {
    if error.is::<Missing>() {
        return StatusCode::NOT_FOUND;
    }
    match error.downcast_ref::<RegistryError>() {
        Some(RegistryError::Name(_)) => StatusCode::NOT_FOUND,
        // The registry's codes begin with a status.
        Some(RegistryError::Refused { code, .. }) => match code.to_string().get(..3) {
            Some("404") => StatusCode::NOT_FOUND,
            Some("422") => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_GATEWAY,
        },
        Some(RegistryError::Away(_) | RegistryError::Answer(_)) | None => StatusCode::BAD_GATEWAY,
    }
}

pub(crate) fn answered(answer: Answer) -> Reply {
    match answer {
        Ok(outcome) => Reply::json(StatusCode::OK, &outcome),
        Err(refusal) => Reply::problem(refusal.status(), &refusal.to_string()),
    }
}

fn status(visit: &Visit<'_>) -> Reply {
    match visit.console.live.latest() {
        Some(look) => {
            let status = json!({ "at": look.seconds(), "report": look.report });
            Reply::json(StatusCode::OK, &status)
        }
        None => Reply::problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the first look has not ended",
        ),
    }
}

fn facts(visit: &Visit<'_>) -> Reply {
    let look = visit.console.live.latest();
    Reply::json(StatusCode::OK, &Facts::of(look.as_deref()).all())
}

fn happenings(visit: &Visit<'_>) -> Reply {
    let last = visit.console.live.happenings().last(HAPPENINGS);
    let last = last.iter().map(|it| {
        let since = it.at.duration_since(SystemTime::UNIX_EPOCH);
        json!({ "at": since.unwrap_or_default().as_secs(), "text": it.text, "state": it.state })
    });
    Reply::json(StatusCode::OK, &last.collect::<Vec<Value>>())
}

const HAPPENINGS: usize = 100;

async fn tables(visit: &Visit<'_>) -> Reply {
    let publication = &visit.console.endpoints.names.publication;
    let ask = async |source: &Client| catalog::published(source, publication).await;
    let tables = visit.console.source.ask(ask).await;
    found(tables.map(|tables| {
        let table = |table: &PublishedTable| {
            let columns = table.columns.iter();
            let columns = columns.map(|it| json!({ "name": it.name, "type": it.type_name }));
            json!({
                "table": table.name.to_string(),
                "key": match &table.identity {
                    Identity::Key(columns) => json!(columns),
                    Identity::Full | Identity::None => Value::Null,
                },
                "columns": columns.collect::<Vec<Value>>(),
            })
        };
        tables.iter().map(table).collect::<Vec<Value>>()
    }))
}

async fn dead_letters(visit: &Visit<'_>) -> Reply {
    let pipeline = &visit.console.endpoints.names.pipeline;
    let selection = pages::dead_letters::selection(visit);
    let ask = async |target: &Client| dead_letters::list(target, pipeline, &selection).await;
    found(visit.console.target.ask(ask).await)
}

async fn audit(visit: &Visit<'_>) -> Reply {
    found(pages::activity::audit(visit).await)
}

async fn replays(visit: &Visit<'_>) -> Reply {
    let entries = replay::list(&visit.console.endpoints).await;
    found(entries.map(|entries| {
        let entries = entries.iter().map(replay::entry_json);
        entries.collect::<Vec<Value>>()
    }))
}

fn openapi() -> Reply {
    let description = include_bytes!("../../openapi.json");
    Reply::of_type(StatusCode::OK, "application/json", description.to_vec())
}

/// Every series as a column: the form in which charts take it.
fn history(visit: &Visit<'_>) -> Reply {
    let range = match visit.query.one("range") {
        None => Range::default(),
        Some(name) => match Range::of(name) {
            Some(range) => range,
            None => {
                let detail = "range is one of 15m, 1h, 6h";
                return Reply::problem(StatusCode::BAD_REQUEST, detail);
            }
        },
    };
    let points = visit.console.live.history().points(range);
    let mut series = serde_json::Map::new();
    for (at, name) in Series::ALL.map(Series::name).into_iter().enumerate() {
        let column: Vec<Option<f64>> = points.iter().map(|point| point.values[at]).collect();
        series.insert(name.to_owned(), json!(column));
    }
    let times: Vec<i64> = points.iter().map(|point| point.at).collect();
    let history = json!({ "range": range.name(), "at": times, "series": series });
    Reply::json(StatusCode::OK, &history)
}
