//! `/schemas`: the same schemas, found by id or all at once.

use serde_json::json;

use super::subjects::{add_content, described, prefix};
use super::{Answer, Request};
use crate::registry::error::ApiError;
use crate::registry::event::SchemaId;
use crate::registry::ledger::Ledger;
use crate::registry::state::Entry;

/// How many schemas Confluent's registry lists when nobody says how many.
const LIST_LIMIT: usize = 1000;

pub(super) fn list(ledger: &Ledger, request: &Request) -> Result<Answer, ApiError> {
    let show = request.query.show();
    let prefix = prefix(request);
    let mut found = Vec::new();
    for (name, subject) in ledger
        .state()
        .subjects()
        .filter(|(name, _)| name.starts_with(prefix))
    {
        let versions = subject.versions(show);
        if request.query.flag("latestOnly") {
            found.extend(versions.last().map(|version| (name, version)));
        } else {
            found.extend(versions.map(|version| (name, version)));
        }
    }
    let mut answer = Vec::new();
    for (name, version) in request.query.page(found.into_iter(), Some(LIST_LIMIT))? {
        answer.push(described(ledger, name, version, request.query.format())?);
    }
    Ok(json!(answer).into())
}

/// The schema of an id is there as long as any version uses it, deleted ones included: records
/// written with it may still be read.
pub(super) fn by_id(ledger: &Ledger, id: &str, request: &Request) -> Result<Answer, ApiError> {
    let mut answer = json!({});
    add_content(
        &mut answer,
        ledger,
        entry(ledger, id)?,
        request.query.format(),
    );
    if request.query.flag("fetchMaxId") {
        answer["maxId"] = json!(ledger.state().last_id());
    }
    Ok(answer.into())
}

pub(super) fn schema(ledger: &Ledger, id: &str, request: &Request) -> Result<Answer, ApiError> {
    let entry = entry(ledger, id)?;
    Ok(Answer::Schema(ledger.text(entry, request.query.format())))
}

pub(super) fn subjects(ledger: &Ledger, id: &str, request: &Request) -> Result<Answer, ApiError> {
    let entry = entry(ledger, id)?;
    let mut names: Vec<&str> = ledger
        .state()
        .uses(entry, request.query.show())
        .map(|(subject, _)| subject)
        .collect();
    names.dedup();
    Ok(json!(request.query.page(names.into_iter(), None)?).into())
}

pub(super) fn versions(ledger: &Ledger, id: &str, request: &Request) -> Result<Answer, ApiError> {
    let entry = entry(ledger, id)?;
    let versions = ledger
        .state()
        .uses(entry, request.query.show())
        .map(|(subject, version)| json!({ "subject": subject, "version": version }));
    Ok(json!(request.query.page(versions, None)?).into())
}

fn entry<'a>(ledger: &'a Ledger, id: &str) -> Result<&'a Entry, ApiError> {
    ledger.entry(parse(id)?)
}

/// What is no number is no address.
fn parse(id: &str) -> Result<SchemaId, ApiError> {
    id.parse().map(SchemaId).map_err(|_| ApiError::NotFound)
}
