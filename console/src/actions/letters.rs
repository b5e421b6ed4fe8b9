//! Applying dead letters after all, or giving them up.

use operate::dead_letters::{self, Redriven, Selection};
use serde_json::json;

use super::control::table;
use super::{Answer, Outcome, Refusal, Request};
use crate::users::Role;

/// Letters of one group that are redriven at once.
const GROUP: i64 = 1_000;

pub(super) async fn redrive(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let ids = ids(request)?;
    let words = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
    let command = format!("lockstep dead-letters redrive {words}");
    redriven(request, &ids, command).await
}

/// The open letters of one table and one SQLSTATE, the oldest first.
pub(super) async fn redrive_group(request: &Request<'_>) -> Answer {
    request.require(Role::Operator)?;
    let table = table(request)?;
    let command =
        format!("lockstep dead-letters list --table {table}; lockstep dead-letters redrive ID …");
    let selection = Selection {
        table: Some(table),
        sqlstate: Some(request.field("sqlstate")?.to_owned()),
        limit: GROUP,
        ..Selection::default()
    };
    let target = request.target().await?;
    let letters = dead_letters::list(&target, request.pipeline(), &selection).await?;
    let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
    redriven(request, &ids, command).await
}

async fn redriven(request: &Request<'_>, ids: &[i64], command: String) -> Answer {
    let endpoints = &request.console.endpoints;
    let redriven = dead_letters::redrive(
        &endpoints.target,
        request.pipeline(),
        ids,
        &request.actor(),
        &endpoints.registry,
        &endpoints.differences,
    )
    .await?;
    let Redriven {
        applied,
        refused,
        waiting,
    } = redriven;
    let result = json!(redriven);
    let details = [
        ("Applied", applied),
        ("Refused again", refused),
        ("Behind one that was refused again", waiting),
    ];
    let details = details.map(|(name, count)| (name.to_owned(), count.to_string()));
    Ok(Outcome {
        changed: format!("{applied} changes were applied after all."),
        details: details.into(),
        command,
        back: "/dead-letters".to_owned(),
        result,
    })
}

pub(super) async fn discard(request: &Request<'_>) -> Answer {
    request.require(Role::Admin)?;
    let ids = ids(request)?;
    let words = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
    request.require_typed(&words)?;
    let actor = request.actor();
    let reason = dead_letters::require_reason(&actor);
    let reason = reason.map_err(|error| Refusal::Fields(error.to_string()))?;
    let mut target = request.target().await?;
    let discarded = dead_letters::discard(&mut target, request.pipeline(), &ids, &actor).await?;
    Ok(Outcome {
        changed: format!("{discarded} letters were given up: source and target differ there."),
        command: format!("lockstep dead-letters discard {words} --reason '{reason}'"),
        back: "/dead-letters".to_owned(),
        result: json!(discarded),
        ..Outcome::default()
    })
}

fn ids(request: &Request<'_>) -> Result<Vec<i64>, Refusal> {
    let ids: Result<Vec<i64>, _> = request.fields.all("id").map(str::parse).collect();
    match ids {
        Ok(ids) if !ids.is_empty() => Ok(ids),
        _ => Err(Refusal::Fields(
            "the field id names letters by number".to_owned(),
        )),
    }
}
