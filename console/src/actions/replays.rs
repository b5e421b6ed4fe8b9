//! Planning, running, cancelling and resuming replays.

use std::sync::Arc;

use operate::replay::{self, Begin, Begun, Destination, Request as Wanted};
use serde_json::{Value, json};

use super::control::parsed;
use super::{Answer, Outcome, Refusal, Request};
use crate::replays::{Replays, command};
use crate::users::Role;

/// Begins the dry run, without which nothing is replayed from here.
pub(super) fn plan(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let wanted = wanted(request)?;
    let command = format!("{} --dry-run", command(&wanted));
    let id = request.plans().begin(request.endpoints(), wanted);
    Ok(Outcome {
        changed: format!("The dry run of plan {id} has begun. It changes nothing."),
        command,
        back: format!("/replay/plans/{id}"),
        result: request.begun(id),
        ..Outcome::default()
    })
}

pub(super) fn run(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let id = request.number("plan")?;
    let plan = request.plans().find(id);
    let plan = plan.ok_or_else(|| Refusal::Fields("there is no such plan".to_owned()))?;
    request.require_typed(request.pipeline())?;
    let actor = request.actor();
    let reason = replay::require_reason(&actor);
    reason.map_err(|error| Refusal::Fields(error.to_string()))?;
    let reason = actor.reason.as_deref().unwrap_or_default();
    let command = format!("{} --reason '{reason}'", plan.work.command());
    if !request.plans().run(request.endpoints(), id, actor) {
        let rule = "the plan's dry run has not ended, or it was started already";
        return Err(Refusal::Fields(rule.to_owned()));
    }
    Ok(Outcome {
        changed: "The replay has begun.".to_owned(),
        command,
        back: format!("/replay/plans/{id}"),
        result: request.begun(id),
        ..Outcome::default()
    })
}

pub(super) async fn cancel(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let id: i64 = request.number("id")?;
    replay::cancel(&request.console.endpoints, id, &request.actor()).await?;
    Ok(Outcome {
        changed: format!("Replay {id} stops at its next transaction."),
        command: format!("lockstep replay --cancel {id}"),
        back: "/replay".to_owned(),
        ..Outcome::default()
    })
}

pub(super) fn resume(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let id: i64 = request.number("id")?;
    let plan = request
        .plans()
        .resume(request.endpoints(), id, request.actor());
    Ok(Outcome {
        changed: format!("Replay {id} goes on."),
        command: format!("lockstep replay --resume {id}"),
        back: format!("/replay/plans/{plan}"),
        result: request.begun(plan),
        ..Outcome::default()
    })
}

impl Request<'_> {
    fn plans(&self) -> &Arc<Replays> {
        &self.console.replays
    }

    fn begun(&self, plan: u64) -> Value {
        json!(Begun {
            plan,
            confirm: self.pipeline().to_owned(),
        })
    }

    fn endpoints(&self) -> operate::endpoints::Endpoints {
        self.console.endpoints.clone()
    }
}

/// What the wizard's fields say, as the command line would.
fn wanted(request: &Request<'_>) -> Result<Wanted, Refusal> {
    let said = |error: anyhow::Error| Refusal::Fields(format!("{error:#}"));
    let begin = match request.field("begin")? {
        "earliest" => Begin::Earliest,
        "lsn" => replay::begin_at_lsn(request.field("at")?).map_err(said)?,
        "time" => replay::begin_at_time(request.field("at")?).map_err(said)?,
        "offset" => Begin::Offset(request.number("at")?),
        _ => {
            return Err(Refusal::Fields(
                "begin is earliest, lsn, time or offset".to_owned(),
            ));
        }
    };
    let to = request.fields.one("to").map(str::parse).transpose();
    let to = to.map_err(|_| Refusal::Fields("to is an LSN such as 0/16B3748".to_owned()))?;
    // One after the other, or together in the wizard's one field.
    let typed = request.fields.all("tables");
    let typed = typed.flat_map(|names| names.split([',', ' ']).filter(|name| !name.is_empty()));
    let tables = request.fields.all("table").chain(typed).map(parsed);
    let tables = tables.collect::<Result<_, _>>()?;
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
