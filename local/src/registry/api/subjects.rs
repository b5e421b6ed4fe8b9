//! `/subjects` and `/compatibility/subjects`.

use serde_json::{Value, json};

use super::request::in_default_context;
use super::{Answer, Request};
use crate::registry::error::ApiError;
use crate::registry::event::Version;
use crate::registry::ledger::{Against, Format, Ledger, Which};
use crate::registry::state::{Entry, Show, SubjectVersion};

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
    in_default_context(prefix.strip_prefix(ALL_CONTEXTS).unwrap_or(prefix))
}

pub(super) fn look_up(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let show = request.query.show();
    let (candidate, _) = request.candidate(ledger, subject)?;
    match ledger.find(subject, &candidate, show) {
        Some(version) => Ok(described(ledger, subject, version, request.query.format())?.into()),
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
    let (candidate, wish) = request.candidate(ledger, subject)?;
    let id = ledger.register(subject, &candidate, wish)?;
    Ok(json!({ "id": id }).into())
}

/// The latest version: no schema here has metadata, so that none has a certain key.
pub(super) fn with_metadata(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let version = ledger.version(subject, Which::Latest, request.query.show())?;
    if request.query.text("key").is_some() {
        return Err(ApiError::SchemaNotFound);
    }
    Ok(described(ledger, subject, version, request.query.format())?.into())
}

/// With `deletedAsNegative` the deleted versions come too, as negative numbers.
pub(super) fn versions(
    ledger: &Ledger,
    subject: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let negative = request.query.flag("deletedAsNegative");
    let show = if negative {
        Show::All
    } else {
        request.query.show()
    };
    let versions = ledger
        .subject(subject, show)?
        .versions(show)
        .map(|version| {
            let number = i64::from(version.version.0);
            if negative && version.deleted {
                -number
            } else {
                number
            }
        });
    Ok(json!(request.query.page(versions, None)?).into())
}

pub(super) fn version(
    ledger: &Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let version = found(ledger, subject, version, request)?;
    Ok(described(ledger, subject, version, request.query.format())?.into())
}

pub(super) fn version_schema(
    ledger: &Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    let version = found(ledger, subject, version, request)?;
    let entry = ledger.entry(version.id)?;
    Ok(Answer::Schema(ledger.text(entry, request.query.format())))
}

/// The ids of the schemas that refer to the version.
pub(super) fn version_references(
    ledger: &Ledger,
    subject: &str,
    version: &str,
    request: &Request,
) -> Result<Answer, ApiError> {
    // A deleted version may be referred to by deleted ones only, and is asked for with the same
    // flag.
    let version = found(ledger, subject, version, request)?.version;
    let show = request.query.show();
    let referrers = ledger.state().referrers(subject, version, show);
    let ids = referrers.map(|(id, _)| id);
    Ok(json!(request.query.page(ids, None)?).into())
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
    format: Format,
) -> Result<Value, ApiError> {
    let mut answer = json!({ "subject": subject, "version": version.version, "id": version.id });
    add_content(&mut answer, ledger, ledger.entry(version.id)?, format);
    Ok(answer)
}

/// Schema and references; the references are left out where the schema has none, as with
/// Confluent.
pub(super) fn add_content(answer: &mut Value, ledger: &Ledger, entry: &Entry, format: Format) {
    answer["schema"] = json!(&*ledger.text(entry, format));
    if !entry.content.references.is_empty() {
        answer["references"] = json!(&*entry.content.references);
    }
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
    let objections = match request.candidate(ledger, subject) {
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
