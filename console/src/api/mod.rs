//! The same as JSON.

mod schemas;
mod topics;

use std::time::{Duration, SystemTime};

use operate::catalog::{self, Identity, PublishedTable};
use operate::dead_letters::{self, NoLetter};
use operate::registry::RegistryError;
use operate::replay::{self, Past};
use operate::snapshot;
use operate::topics::Missing;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::actions::{Answer, Refusal};
use crate::facts::Facts;
use crate::http::{Reply, StatusCode};
use crate::live::{Range, Series};
use crate::pages::{self, Visit};
use crate::users::Role;

/// What a path below `/api/v1` holds.
pub(crate) async fn get(visit: &Visit<'_>, path: &[&str]) -> Reply {
    match path {
        ["session"] => Reply::json(StatusCode::OK, visit.caller),
        ["status"] => status(visit).await,
        ["facts"] => facts(visit),
        ["history"] => history(visit),
        ["happenings"] => happenings(visit),
        ["tables"] => tables(visit).await,
        ["dead-letters"] => dead_letters(visit).await,
        ["dead-letters", "groups"] => groups(visit).await,
        ["dead-letters", id] => letter(visit, id).await,
        ["audit"] => audit(visit).await,
        ["verifications"] => found(pages::activity::verifications(visit).await),
        ["snapshots"] => snapshots(visit).await,
        ["replays"] => replays(visit).await,
        ["replays", "plans", id] => plan(visit, id),
        ["openapi.json"] => openapi(),
        ["topics", rest @ ..] => topics::get(visit, rest).await,
        ["level"] => schemas::level(visit).await,
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
    if error.is::<Missing>() || error.is::<NoLetter>() {
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

/// As the last look saw it; with a lag that is well, as it is now.
async fn status(visit: &Visit<'_>) -> Reply {
    let live = &visit.console.live;
    let (at, report) = match (visit.query.one("max_lag").map(str::parse), live.latest()) {
        (Some(Ok(seconds)), _) => {
            let report = live.look(Duration::from_secs(seconds)).await;
            (SystemTime::now(), report)
        }
        (Some(Err(_)), _) => {
            let detail = "max_lag is a number of seconds";
            return Reply::problem(StatusCode::BAD_REQUEST, detail);
        }
        (None, Some(look)) => (look.at, look.report.clone()),
        (None, None) => {
            let detail = "the first look has not ended";
            return Reply::problem(StatusCode::SERVICE_UNAVAILABLE, detail);
        }
    };
    let status = json!({ "at": seconds_since_1970(at), "report": report });
    Reply::json(StatusCode::OK, &status)
}

fn seconds_since_1970(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn facts(visit: &Visit<'_>) -> Reply {
    let look = visit.console.live.latest();
    Reply::json(StatusCode::OK, &Facts::of(look.as_deref()).all())
}

fn happenings(visit: &Visit<'_>) -> Reply {
    let last = visit.console.live.happenings().last(HAPPENINGS);
    let last = last
        .iter()
        .map(|it| json!({ "at": seconds_since_1970(it.at), "text": it.text, "state": it.state }));
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

async fn groups(visit: &Visit<'_>) -> Reply {
    let pipeline = &visit.console.endpoints.names.pipeline;
    let ask = async |target: &Client| dead_letters::groups(target, pipeline).await;
    found(visit.console.target.ask(ask).await)
}

/// With its row beside what is there, which takes more than a look at the pipeline.
async fn letter(visit: &Visit<'_>, id: &str) -> Reply {
    let Ok(id) = id.parse() else {
        return nothing();
    };
    if !visit.caller.may(Role::Operator) {
        return rows_are_not_shown();
    }
    let endpoints = &visit.console.endpoints;
    found(dead_letters::detail(&endpoints.target, &endpoints.names.pipeline, id).await)
}

fn rows_are_not_shown() -> Reply {
    let detail = Refusal::Role(Role::Operator).to_string();
    Reply::problem(StatusCode::FORBIDDEN, &detail)
}

async fn snapshots(visit: &Visit<'_>) -> Reply {
    let slot = &visit.console.endpoints.names.slot;
    let ask = async |source: &Client| snapshot::list(source, slot, snapshot::LISTED).await;
    found(visit.console.source.ask(ask).await)
}

async fn audit(visit: &Visit<'_>) -> Reply {
    found(pages::activity::audit(visit).await)
}

async fn replays(visit: &Visit<'_>) -> Reply {
    let entries = replay::list(&visit.console.endpoints).await;
    found(entries.map(|entries| entries.iter().map(Past::of).collect::<Vec<Past>>()))
}

/// How far a replay is that was planned or resumed here. Its report shows rows.
fn plan(visit: &Visit<'_>, id: &str) -> Reply {
    if !visit.caller.may(Role::Operator) {
        return rows_are_not_shown();
    }
    let id = id.parse().ok();
    match id.and_then(|id| visit.console.replays.find(id)) {
        Some(plan) => Reply::json(StatusCode::OK, &plan.course),
        None => nothing(),
    }
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
