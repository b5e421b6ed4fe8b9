//! `/mode`: what may be done to the registry and to subjects.

use serde::Deserialize;
use serde_json::json;

use super::{Answer, Request};
use crate::registry::error::ApiError;
use crate::registry::ledger::{Force, Ledger};
use crate::registry::mode::Mode;

#[derive(Deserialize)]
struct ModeBody {
    mode: Option<String>,
}

pub(super) fn of_registry(ledger: &Ledger) -> Answer {
    told(ledger.state().scopes().registry_mode())
}

pub(super) fn of_subject(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let scopes = ledger.state().scopes();
    if request.query.flag("defaultToGlobal") {
        return Ok(told(scopes.mode(Some(subject))));
    }
    let own = scopes.own_mode(subject);
    own.map(told)
        .ok_or_else(|| ApiError::NoSubjectMode(subject.to_owned()))
}

pub(super) fn set(
    ledger: &mut Ledger,
    subject: Option<&str>,
    request: &Request,
) -> Result<Answer, ApiError> {
    let body: ModeBody = request.json()?;
    let mode = body.mode.unwrap_or_default();
    let mode = mode.parse().map_err(|_| ApiError::InvalidMode)?;
    let force = if request.query.flag("force") {
        Force::Yes
    } else {
        Force::No
    };
    ledger.set_mode(subject, mode, force)?;
    Ok(told(mode))
}

/// Answers with the mode that held until now. `recursive` takes the subjects' own modes away too.
pub(super) fn clear(
    ledger: &mut Ledger,
    subject: Option<&str>,
    request: &Request,
) -> Result<Answer, ApiError> {
    let old = ledger.clear_mode(subject)?;
    if subject.is_none() && request.query.flag("recursive") {
        ledger.clear_subject_modes()?;
    }
    Ok(told(old))
}

fn told(mode: Mode) -> Answer {
    json!({ "mode": mode }).into()
}
