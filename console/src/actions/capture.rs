//! Letting capture rest, and having it read a table once more.

use operate::{capture, snapshot};
use serde_json::json;
use service::postgres::connect;

use super::control::tables;
use super::{Answer, Outcome, Refusal, Request};
use crate::users::Role;

pub(super) async fn pause(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let (source, mut target) = (request.source().await?, request.target().await?);
    let names = &request.console.endpoints.names;
    capture::pause(&source, &mut target, names, &request.actor()).await?;
    Ok(Outcome {
        changed: "Capture takes no changes within a second, and the slot keeps them.".to_owned(),
        command: "lockstep pause capture".to_owned(),
        back: "/".to_owned(),
        ..Outcome::default()
    })
}

pub(super) async fn resume(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let (source, mut target) = (request.source().await?, request.target().await?);
    let names = &request.console.endpoints.names;
    capture::resume(&source, &mut target, names, &request.actor()).await?;
    Ok(Outcome {
        changed: "Capture goes on within a second.".to_owned(),
        command: "lockstep resume capture".to_owned(),
        back: "/".to_owned(),
        ..Outcome::default()
    })
}

/// Rows that are on the target by mistake stay; those that are missing or differ are written again.
pub(super) async fn read_again(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let tables = tables(request)?;
    let (source, mut target) = (request.source().await?, request.target().await?);
    let (names, actor) = (&request.console.endpoints.names, request.actor());
    let asked = snapshot::request(&source, &mut target, names, &tables, &actor).await?;
    let each = asked.iter().map(|it| format!("{} of {}", it.id, it.table));
    let each = each.collect::<Vec<_>>().join(", ");
    let flags = asked.iter().map(|it| format!(" --table {}", it.table));
    Ok(Outcome {
        changed: format!("Snapshot {each} is asked for; changes flow on meanwhile."),
        command: format!("lockstep snapshot{}", flags.collect::<String>()),
        back: "/replication".to_owned(),
        result: json!(asked),
        ..Outcome::default()
    })
}

pub(super) async fn cancel(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let id: i64 = request.number("id")?;
    let (source, mut target) = (request.source().await?, request.target().await?);
    let (names, actor) = (&request.console.endpoints.names, request.actor());
    let cancelled = snapshot::cancel(&source, &mut target, names, id, &actor).await?;
    Ok(Outcome {
        changed: format!("Snapshot {id} is cancelled; what it has read stays."),
        command: format!("lockstep snapshot --cancel {id}"),
        back: "/replication".to_owned(),
        result: json!([cancelled]),
        ..Outcome::default()
    })
}

impl Request<'_> {
    async fn source(&self) -> Result<service::postgres::Connection, Refusal> {
        let source = connect(&self.console.endpoints.source, "lockstep console").await;
        source.map_err(|error| Refusal::Failed(service::chain(&error)))
    }
}
