//! Letting capture rest, and having it read a table once more.

use operate::catalog;
use operate::{capture, snapshot};
use service::postgres::connect;

use super::control::table;
use super::{Answer, Outcome, Refusal, Request};
use crate::users::Role;

pub(super) async fn pause(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let (source, mut target) = (request.source().await?, request.target().await?);
    let names = &request.console.endpoints.names;
    capture::pause(&source, &mut target, names, &request.actor()).await?;
    Ok(Outcome {
        changed: "Capture takes no changes within a second, and the slot keeps them.".to_owned(),
        details: Vec::new(),
        command: "lockstep pause capture".to_owned(),
        back: "/".to_owned(),
    })
}

pub(super) async fn resume(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let (source, mut target) = (request.source().await?, request.target().await?);
    let names = &request.console.endpoints.names;
    capture::resume(&source, &mut target, names, &request.actor()).await?;
    Ok(Outcome {
        changed: "Capture goes on within a second.".to_owned(),
        details: Vec::new(),
        command: "lockstep resume capture".to_owned(),
        back: "/".to_owned(),
    })
}

/// Rows that are on the target by mistake stay; those that are missing or differ are written again.
pub(super) async fn read_again(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let table = table(request)?;
    let (source, mut target) = (request.source().await?, request.target().await?);
    let names = &request.console.endpoints.names;
    let published = catalog::published(&source, &names.publication).await?;
    snapshot::readable(&published, &table)?;
    let id = snapshot::request(&source, &mut target, names, &table, &request.actor()).await?;
    Ok(Outcome {
        changed: format!("Snapshot {id} of {table} is asked for; changes flow on meanwhile."),
        details: Vec::new(),
        command: format!("lockstep snapshot --table {table}"),
        back: "/replication".to_owned(),
    })
}

impl Request<'_> {
    async fn source(&self) -> Result<service::postgres::Connection, Refusal> {
        let source = connect(&self.console.endpoints.source, "lockstep console").await;
        source.map_err(|error| Refusal::Failed(service::chain(&error)))
    }
}
