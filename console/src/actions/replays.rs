//! Planning, running, cancelling and resuming replays.

use std::sync::Arc;

use change::TableName;
use operate::replay::{self, Begin, Destination, Request as Wanted};

use super::{Answer, Outcome, Refusal, Request};
use crate::pages::replay::command;
use crate::replays::Replays;
use crate::users::Role;

/// Begins the dry run, without which nothing is replayed from here.
pub(super) fn plan(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let wanted = wanted(request)?;
    let command = format!("{} --dry-run", command(&wanted));
    let id = request.plans().begin(request.endpoints(), wanted);
    Ok(Outcome {
        changed: format!("The dry run of plan {id} has begun. It changes nothing."),
        details: Vec::new(),
        command,
        back: format!("/replay/plans/{id}"),
    })
}

pub(super) fn run(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let id = number(request, "plan")?;
    let plan = request.plans().find(id);
    let plan = plan.ok_or_else(|| Refusal::Fields("there is no such plan".to_owned()))?;
    request.require_typed(request.pipeline())?;
    let reason = request.field("reason")?;
    let command = format!("{} --reason '{reason}'", command(&plan.request));
    if !request
        .plans()
        .run(request.endpoints(), id, request.actor())
    {
        let rule = "the plan's dry run has not ended, or it was started already";
        return Err(Refusal::Fields(rule.to_owned()));
    }
    Ok(Outcome {
        changed: "The replay has begun.".to_owned(),
        details: Vec::new(),
        command,
        back: format!("/replay/plans/{id}"),
    })
}

pub(super) async fn cancel(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let id: i64 = number(request, "id")?;
    replay::cancel(&request.console.endpoints, id, &request.actor()).await?;
    Ok(Outcome {
        changed: format!("Replay {id} stops at its next transaction."),
        details: Vec::new(),
        command: format!("lockstep replay --cancel {id}"),
        back: "/replay".to_owned(),
    })
}

pub(super) fn resume(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let id: i64 = number(request, "id")?;
    let plans = request.plans();
    plans.resume(request.endpoints(), id, request.actor());
    Ok(Outcome {
        changed: format!("Replay {id} goes on."),
        details: Vec::new(),
        command: format!("lockstep replay --resume {id}"),
        back: "/replay".to_owned(),
    })
}

impl Request<'_> {
    fn plans(&self) -> &Arc<Replays> {
        &self.console.replays
    }

    fn endpoints(&self) -> operate::endpoints::Endpoints {
        self.console.endpoints.clone()
    }
}

fn number<T: std::str::FromStr>(request: &Request<'_>, name: &str) -> Result<T, Refusal> {
    let number = request.field(name)?.parse();
    number.map_err(|_| Refusal::Fields(format!("{name} is a number")))
}

/// What the wizard's fields say, as the command line would.
fn wanted(request: &Request<'_>) -> Result<Wanted, Refusal> {
    let said = |error: anyhow::Error| Refusal::Fields(format!("{error:#}"));
    let begin = match request.field("begin")? {
        "earliest" => Begin::Earliest,
        "lsn" => replay::begin_at_lsn(request.field("at")?).map_err(said)?,
        "time" => replay::begin_at_time(request.field("at")?).map_err(said)?,
        "offset" => Begin::Offset(number(request, "at")?),
        _ => {
            return Err(Refusal::Fields(
                "begin is earliest, lsn, time or offset".to_owned(),
            ));
        }
    };
    let to = request.fields.one("to").map(str::parse).transpose();
    let to = to.map_err(|_| Refusal::Fields("to is an LSN such as 0/16B3748".to_owned()))?;
    let names = request
        .fields
        .all("table")
        .flat_map(|names| names.split([',', ' ']));
    let tables: Option<Vec<TableName>> = names
        .filter(|name| !name.is_empty())
        .map(|name| {
            let (schema, table) = name.split_once('.')?;
            Some(TableName::new(schema, table))
        })
        .collect();
    let tables =
        tables.ok_or_else(|| Refusal::Fields("tables are named as schema.table".to_owned()))?;
    let into = match request.fields.one("into") {
        Some(schema) => Destination::Schema(schema.to_owned()),
        None => Destination::Live,
    };
    Ok(Wanted {
        begin,
        to,
        tables,
        into,
    })
}
