//! Letting apply, or a table of it, rest.

use change::{ParseTableError, TableName};
use operate::{control, replay};
use serde_json::json;

use super::{Answer, Outcome, Refusal, Request};
use crate::users::Role;

pub(super) async fn pause_apply(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let mut target = request.target().await?;
    control::pause(&mut target, request.pipeline(), &request.actor()).await?;
    Ok(Outcome {
        changed: "Apply is paused: changes wait in the topics.".to_owned(),
        command: "lockstep pause".to_owned(),
        back: "/".to_owned(),
        ..Outcome::default()
    })
}

pub(super) async fn resume_apply(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let mut target = request.target().await?;
    control::resume(&mut target, request.pipeline(), &request.actor()).await?;
    Ok(Outcome {
        changed: "Apply goes on.".to_owned(),
        command: "lockstep resume".to_owned(),
        back: "/".to_owned(),
        ..Outcome::default()
    })
}

pub(super) async fn pause_table(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let table = table(request)?;
    // Readers of the target see this table fall behind the others.
    request.require_typed(&table.to_string())?;
    let mut target = request.target().await?;
    control::hold_table(&mut target, request.pipeline(), &table, &request.actor()).await?;
    Ok(Outcome {
        changed: format!("{table} waits; the other tables go on."),
        command: format!("lockstep pause --table {table}"),
        back: "/replication".to_owned(),
        ..Outcome::default()
    })
}

/// Brings a held table up to the others; what that takes depends on how long it was held.
pub(super) async fn resume_table(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let table = table(request)?;
    let endpoints = &request.console.endpoints;
    let caught_up = replay::catch_up(endpoints, &table, &request.actor(), |_, _| {}).await?;
    Ok(Outcome {
        changed: format!("{table} has caught up and goes on with the others."),
        command: format!("lockstep resume --table {table}"),
        back: "/replication".to_owned(),
        result: json!(caught_up),
        ..Outcome::default()
    })
}

pub(super) fn table(request: &Request<'_>) -> Result<TableName, Refusal> {
    parsed(request.field("table")?)
}

pub(super) fn tables(request: &Request<'_>) -> Result<Vec<TableName>, Refusal> {
    request.field("table")?;
    request.fields.all("table").map(parsed).collect()
}

pub(super) fn parsed(text: &str) -> Result<TableName, Refusal> {
    let table = text.parse();
    table.map_err(|error: ParseTableError| Refusal::Fields(error.to_string()))
}
