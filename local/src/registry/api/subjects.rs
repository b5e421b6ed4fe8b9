//! `/subjects` and `/compatibility/subjects`.

use serde_json::{Value, json};

use super::{Answer, Request};
use crate::registry::error::ApiError;
use crate::registry::event::Version;
use crate::registry::ledger::{Against, Ledger, Which};
use crate::registry::state::{Show, SubjectVersion};

/// The prefix that stands for "every context" in Confluent's registry; here there is but one.
const ALL_CONTEXTS: &str = ":*:";

pub(super) fn list(ledger: &Ledger, request: &Request) -> Result<Answer, ApiError> {
    let show = request.query.show();
    let prefix = prefix(request);
    let names = ledger
        .state()
        .subjects()
        .filter(|(name, _)| name.starts_with(prefix))
        .filter(|(_, subject)| match show {
            Show::Live => !subject.is_deleted(),
            Show::All => true,
            Show::DeletedOnly => subject.is_deleted(),
        })
        .map(|(name, _)| name);
    Ok(json!(request.query.page(names, None)?).into())
}

pub(super) fn prefix(request: &Request) -> &str {
    let prefix = request.query.text("subjectPrefix").unwrap_or_default();
    prefix.strip_prefix(ALL_CONTEXTS).unwrap_or(prefix)
}

pub(super) fn look_up(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let show = request.query.show();
    let (candidate, _) = request.candidate()?;
    match ledger.find(subject, &candidate.text, show) {
        Some(version) => Ok(described(ledger, subject, version)?.into()),
        None => {
            ledger.subject(subject, show)?;
            Err(ApiError::SchemaNotFound)
        }
    }
}

pub(super) fn register(
    ledger: &mut Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let (candidate, wish) = request.candidate()?;
    let id = ledger.register(subject, &candidate, wish)?;
    Ok(json!({ "id": id }).into())
}

pub(super) fn versions(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let show = request.query.show();
    let versions = ledger
        .subject(subject, show)?
        .versions(show)
        .map(|version| version.version);
    Ok(json!(request.query.page(versions, None)?).into())
}

pub(super) fn version(
    ledger: &Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let version = found(ledger, subject, version, request)?;
    Ok(described(ledger, subject, version)?.into())
}

pub(super) fn version_schema(
    ledger: &Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let version = found(ledger, subject, version, request)?;
    Ok(Answer::Schema(ledger.text(version.id)?))
}

/// No schema refers to another subject's, so the list is empty.
pub(super) fn version_references(
    ledger: &Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    found(ledger, subject, version, request)?;
    Ok(json!([]).into())
}

fn found(
    ledger: &Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<SubjectVersion, ApiError> {
    let which = Which::parse(version)?;
    ledger.version(subject, which, request.query.show())
}

pub(super) fn described(
    ledger: &Ledger,
    subject: &str,
    version: SubjectVersion,
) -> Result<Value, ApiError> {
    Ok(json!({
        "subject": subject,
        "version": version.version,
        "id": version.id,
        "schema": &*ledger.text(version.id)?,
    }))
}

pub(super) fn delete(
    ledger: &mut Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let versions: Vec<Version> = if request.query.flag("permanent") {
        ledger.erase_subject(subject)?
    } else {
        ledger.delete_subject(subject)?
    };
    Ok(json!(versions).into())
}

pub(super) fn delete_version(
    ledger: &mut Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let which = Which::parse(version)?;
    let version = if request.query.flag("permanent") {
        ledger.erase_version(subject, which)?
    } else {
        ledger.delete_version(subject, which)?
    };
    Ok(json!(version).into())
}

pub(super) fn compatibility(
    ledger: &Ledger,
    subject: &str,
    version: Option<&str>,
    request: &Request,
) -> Result<Answer, ApiError> {
    let against = match version {
        Some(version) => Against::One(Which::parse(version)?),
        None => Against::ByLevel,
    };
    let verbose = request.query.flag("verbose");
    let objections = match request.candidate() {
        Ok((candidate, _)) => ledger.objections(subject, &candidate, against)?,
        // Who asks why is told why, rather than refused.
        Err(invalid @ ApiError::InvalidSchema(_)) if verbose => vec![invalid.to_string()],
        Err(other) => return Err(other),
    };
    let mut answer = json!({ "is_compatible": objections.is_empty() });
    if verbose {
        answer["messages"] = json!(objections);
    }
    Ok(answer.into())
}
