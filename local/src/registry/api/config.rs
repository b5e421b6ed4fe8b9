//! `/config`, the compatibility levels, and `/mode`, which here is always to read and write.

use serde::Deserialize;
use serde_json::json;

use super::{Answer, Request};
use crate::registry::error::ApiError;
use crate::registry::ledger::Ledger;

/// PUT says `compatibility` where GET says `compatibilityLevel`.
#[derive(Deserialize)]
struct ConfigBody {
    compatibility: Option<String>,
}

pub(super) fn global(ledger: &Ledger) -> Answer {
    json!({ "compatibilityLevel": ledger.state().global_level() }).into()
}

pub(super) fn of_subject(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let level = match ledger.state().own_level(subject) {
        Some(level) => level,
        None if request.query.flag("defaultToGlobal") => ledger.state().global_level(),
        None => return Err(ApiError::NoSubjectLevel(subject.to_owned())),
    };
    Ok(json!({ "compatibilityLevel": level }).into())
}

pub(super) fn set(
    ledger: &mut Ledger,
    subject: Option<&str>,
    request: &Request,
) -> Result<Answer, ApiError> {
    let body: ConfigBody = request.json()?;
    let level = body.compatibility.as_deref().unwrap_or_default();
    let level = level.parse().map_err(|_| ApiError::InvalidLevel)?;
    ledger.set_level(subject, level)?;
    Ok(json!({ "compatibility": level }).into())
}

/// Answers with the level that held until now.
pub(super) fn clear(ledger: &mut Ledger, subject: Option<&str>) -> Result<Answer, ApiError> {
    let level = ledger.clear_level(subject)?;
    Ok(json!({ "compatibilityLevel": level }).into())
}

pub(super) fn mode() -> Answer {
    json!({ "mode": "READWRITE" }).into()
}

pub(super) fn mode_of_subject(subject: &str, request: &Request) -> Result<Answer, ApiError> {
    if request.query.flag("defaultToGlobal") {
        return Ok(mode());
    }
    Err(ApiError::NoSubjectMode(subject.to_owned()))
}
