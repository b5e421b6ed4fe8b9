//! Letting apply, or a table of it, rest.

use change::TableName;
use operate::{control, replay};

use super::{Answer, Outcome, Refusal, Request};
use crate::users::Role;

pub(super) async fn pause_apply(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let mut target = request.target().await?;
    control::pause(&mut target, request.pipeline(), &request.actor()).await?;
    Ok(Outcome {
        changed: "Apply is paused: changes wait in the topics.".to_owned(),
        details: Vec::new(),
        command: "lockstep pause".to_owned(),
        back: "/".to_owned(),
    })
}

pub(super) async fn resume_apply(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let mut target = request.target().await?;
    control::resume(&mut target, request.pipeline(), &request.actor()).await?;
    Ok(Outcome {
        changed: "Apply goes on.".to_owned(),
        details: Vec::new(),
        command: "lockstep resume".to_owned(),
        back: "/".to_owned(),
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
        details: Vec::new(),
        command: format!("lockstep pause --table {table}"),
        back: "/replication".to_owned(),
    })
}

/// Brings a held table up to the others; what that takes depends on how long it was held.
pub(super) async fn resume_table(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let table = table(request)?;
    let endpoints = &request.console.endpoints;
    replay::catch_up(endpoints, &table, &request.actor(), |_, _| {}).await?;
    Ok(Outcome {
        changed: format!("{table} has caught up and goes on with the others."),
        details: Vec::new(),
        command: format!("lockstep resume --table {table}"),
        back: "/replication".to_owned(),
    })
}

/// `schema.table`, as pages and the command line write it.
pub(super) fn table(request: &Request<'_>) -> Result<TableName, Refusal> {
    let text = request.field("table")?;
    let (schema, name) = text
        .split_once('.')
        .ok_or_else(|| Refusal::Fields("a table is named as schema.table".to_owned()))?;
    Ok(TableName::new(schema, name))
}
