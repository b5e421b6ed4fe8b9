//! `/schemas`: the same schemas, found by id or all at once.

use serde_json::json;

use super::subjects::{described, prefix};
use super::{Answer, Request};
use crate::registry::error::ApiError;
use crate::registry::event::{SchemaId, Version};
use crate::registry::ledger::Ledger;
use crate::registry::state::{Entry, Show};

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
        answer.push(described(ledger, name, version)?);
    }
    Ok(json!(answer).into())
}

/// The schema of an id is there as long as any version uses it, deleted ones included: records
/// written with it may still be read.
pub(super) fn by_id(ledger: &Ledger, id: &str, request: &Request) -> Result<Answer, ApiError> {
    let id = parse(id)?;
    let mut answer = json!({ "schema": &*ledger.text(id)? });
    if request.query.flag("fetchMaxId") {
        answer["maxId"] = json!(ledger.state().next_id().0 - 1);
    }
    Ok(answer.into())
}

pub(super) fn schema(ledger: &Ledger, id: &str) -> Result<Answer, ApiError> {
    Ok(Answer::Schema(ledger.text(parse(id)?)?))
}

pub(super) fn subjects(ledger: &Ledger, id: &str, request: &Request) -> Result<Answer, ApiError> {
    let entry = entry(ledger, id)?;
    let mut names: Vec<&str> = uses(ledger, entry, request.query.show())
        .map(|(subject, _)| subject)
        .collect();
    names.dedup();
    Ok(json!(request.query.page(names.into_iter(), None)?).into())
}

pub(super) fn versions(ledger: &Ledger, id: &str, request: &Request) -> Result<Answer, ApiError> {
    let entry = entry(ledger, id)?;
    let versions = uses(ledger, entry, request.query.show())
        .map(|(subject, version)| json!({ "subject": subject, "version": version }));
    Ok(json!(request.query.page(versions, None)?).into())
}

/// The places that use a schema, sorted by subject and version.
fn uses<'a>(
    ledger: &'a Ledger,
    entry: &'a Entry,
    show: Show,
) -> impl Iterator<Item = (&'a str, Version)> {
    entry
        .uses
        .iter()
        .filter(move |(subject, version)| {
            let version = ledger
                .state()
                .subject(subject)
                .and_then(|known| known.version(*version));
            version.is_some_and(|version| show.admits(version.deleted))
        })
        .map(|(subject, version)| (subject.as_str(), *version))
}

fn entry<'a>(ledger: &'a Ledger, id: &str) -> Result<&'a Entry, ApiError> {
    let id = parse(id)?;
    ledger
        .state()
        .schema(id)
        .ok_or(ApiError::SchemaIdNotFound(id.0))
}

/// What is no number is no address.
fn parse(id: &str) -> Result<SchemaId, ApiError> {
    id.parse().map(SchemaId).map_err(|_| ApiError::NotFound)
}
