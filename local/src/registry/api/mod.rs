//! Confluent's REST resources over the ledger: a request in, an answer out, no HTTP library.

mod config;
mod request;
mod schemas;
mod subjects;

use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use request::{Method, Query, Request, decode_path, percent_decode};

use super::error::ApiError;
use super::ledger::Ledger;

/// The body of a successful answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Json(Value),
    /// A schema's own text, byte for byte.
    Schema(Arc<str>),
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

/// Everything that has an address here. What is missing (associations, contexts, guids, metadata)
/// must answer 404 and nothing else: clients of newer registries ask for associations first and
/// take only a 404 for "this one has none".
#[derive(Clone, Copy, Debug)]
enum Resource<'a> {
    Root,
    Subjects,
    Subject(&'a str),
    Versions(&'a str),
    Version(&'a str, &'a str),
    VersionSchema(&'a str, &'a str),
    VersionReferences(&'a str, &'a str),
    Schemas,
    SchemaTypes,
    Id(&'a str),
    IdSchema(&'a str),
    IdSubjects(&'a str),
    IdVersions(&'a str),
    Compatibility(&'a str),
    CompatibilityVersion(&'a str, &'a str),
    Config,
    SubjectConfig(&'a str),
    Mode,
    SubjectMode(&'a str),
}

fn resource<'a>(path: &[&'a str]) -> Option<Resource<'a>> {
    Some(match *path {
        [] => Resource::Root,
        ["subjects"] => Resource::Subjects,
        ["subjects", subject] => Resource::Subject(subject),
        ["subjects", subject, "versions"] => Resource::Versions(subject),
        ["subjects", subject, "versions", version] => Resource::Version(subject, version),
        ["subjects", subject, "versions", version, "schema"] => {
            Resource::VersionSchema(subject, version)
        }
        ["subjects", subject, "versions", version, "referencedby"] => {
            Resource::VersionReferences(subject, version)
        }
        ["schemas"] => Resource::Schemas,
        ["schemas", "types"] => Resource::SchemaTypes,
        ["schemas", "ids", id] => Resource::Id(id),
        ["schemas", "ids", id, "schema"] => Resource::IdSchema(id),
        ["schemas", "ids", id, "subjects"] => Resource::IdSubjects(id),
        ["schemas", "ids", id, "versions"] => Resource::IdVersions(id),
        ["compatibility", "subjects", subject, "versions"] => Resource::Compatibility(subject),
        ["compatibility", "subjects", subject, "versions", version] => {
            Resource::CompatibilityVersion(subject, version)
        }
        ["config"] => Resource::Config,
        ["config", subject] => Resource::SubjectConfig(subject),
        ["mode"] => Resource::Mode,
        ["mode", subject] => Resource::SubjectMode(subject),
        _ => return None,
    })
}

pub(crate) fn answer(ledger: &mut Ledger, request: &Request) -> Result<Answer, ApiError> {
    use Method::{Delete, Get, Post, Put};
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let resource = resource(&path).ok_or(ApiError::NotFound)?;
    match (request.method, resource) {
        (Get, Resource::Root) => Ok(json!({}).into()),

        (Get, Resource::Subjects) => subjects::list(ledger, request),
        (Post, Resource::Subject(subject)) => subjects::look_up(ledger, subject, request),
        (Delete, Resource::Subject(subject)) => subjects::delete(ledger, subject, request),
        (Get, Resource::Versions(subject)) => subjects::versions(ledger, subject, request),
        (Post, Resource::Versions(subject)) => subjects::register(ledger, subject, request),
        (Get, Resource::Version(subject, version)) => {
            subjects::version(ledger, subject, version, request)
        }
        (Delete, Resource::Version(subject, version)) => {
            subjects::delete_version(ledger, subject, version, request)
        }
        (Get, Resource::VersionSchema(subject, version)) => {
            subjects::version_schema(ledger, subject, version, request)
        }
        (Get, Resource::VersionReferences(subject, version)) => {
            subjects::version_references(ledger, subject, version, request)
        }
        (Post, Resource::Compatibility(subject)) => {
            subjects::compatibility(ledger, subject, None, request)
        }
        (Post, Resource::CompatibilityVersion(subject, version)) => {
            subjects::compatibility(ledger, subject, Some(version), request)
        }

        (Get, Resource::Schemas) => schemas::list(ledger, request),
        (Get, Resource::SchemaTypes) => Ok(json!(["AVRO"]).into()),
        (Get, Resource::Id(id)) => schemas::by_id(ledger, id, request),
        (Get, Resource::IdSchema(id)) => schemas::schema(ledger, id),
        (Get, Resource::IdSubjects(id)) => schemas::subjects(ledger, id, request),
        (Get, Resource::IdVersions(id)) => schemas::versions(ledger, id, request),

        (Get, Resource::Config) => Ok(config::global(ledger)),
        (Put, Resource::Config) => config::set(ledger, None, request),
        (Delete, Resource::Config) => config::clear(ledger, None),
        (Get, Resource::SubjectConfig(subject)) => config::of_subject(ledger, subject, request),
        (Put, Resource::SubjectConfig(subject)) => config::set(ledger, Some(subject), request),
        (Delete, Resource::SubjectConfig(subject)) => config::clear(ledger, Some(subject)),
        (Get, Resource::Mode) => Ok(config::mode()),
        (Get, Resource::SubjectMode(subject)) => config::mode_of_subject(subject, request),

        _ => Err(ApiError::MethodNotAllowed),
    }
}
