//! Confluent's REST resources over the ledger: a request in, an answer out, no HTTP library.

mod config;
mod mode;
mod request;
mod schemas;
mod subjects;

use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use request::{Method, Query, Request, decode_path, percent_decode};

use request::in_default_context;

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

/// Everything that has an address here. What is missing (associations, guids, other contexts)
/// must answer 404 and nothing else: clients of newer registries ask for associations first and
/// take only a 404 for "this one has none".
#[derive(Clone, Copy, Debug)]
enum Resource<'a> {
    Root,
    Cluster,
    Release,
    Contexts,
    Subjects,
    Subject(&'a str),
    SubjectMetadata(&'a str),
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
        ["v1", "metadata", "id"] => Resource::Cluster,
        ["v1", "metadata", "version"] => Resource::Release,
        ["contexts"] => Resource::Contexts,
        ["subjects"] => Resource::Subjects,
        ["subjects", subject] => Resource::Subject(subject),
        ["subjects", subject, "metadata"] => Resource::SubjectMetadata(subject),
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

/// The path with the subject in it that is meant: without the default context, and for the one
/// named where that is an alias. Configuration and mode are the alias' own.
fn meant(path: &[String], ledger: &Ledger) -> Vec<String> {
    let mut path = path.to_vec();
    let (position, aliases) = match path.first().map(String::as_str) {
        Some("subjects") => (1, true),
        Some("compatibility") => (2, true),
        Some("config" | "mode") => (1, false),
        Some(_) | None => return path,
    };
    if let Some(subject) = path.get_mut(position) {
        *subject = in_default_context(subject).to_owned();
        if aliases && let Some(alias) = ledger.state().scopes().alias(subject) {
            *subject = alias.to_owned();
        }
    }
    path
}

pub(crate) fn answer(ledger: &mut Ledger, request: &Request) -> Result<Answer, ApiError> {
    let path = meant(&request.path, ledger);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let resource = resource(&path).ok_or(ApiError::NotFound)?;
    match request.method {
        Method::Get => read(ledger, resource, request),
        Method::Post | Method::Put | Method::Delete => change(ledger, resource, request),
        Method::Other => Err(ApiError::MethodNotAllowed),
    }
}

fn read(ledger: &Ledger, resource: Resource, request: &Request) -> Result<Answer, ApiError> {
    match resource {
        Resource::Root => Ok(json!({}).into()),
        Resource::Cluster => Ok(cluster()),
        Resource::Release => Ok(release()),
        Resource::Contexts => {
            let contexts = request.query.page(["."].into_iter(), None)?;
            Ok(json!(contexts).into())
        }

        Resource::Subjects => subjects::list(ledger, request),
        Resource::SubjectMetadata(subject) => subjects::with_metadata(ledger, subject, request),
        Resource::Versions(subject) => subjects::versions(ledger, subject, request),
        Resource::Version(subject, version) => subjects::version(ledger, subject, version, request),
        Resource::VersionSchema(subject, version) => {
            subjects::version_schema(ledger, subject, version, request)
        }
        Resource::VersionReferences(subject, version) => {
            subjects::version_references(ledger, subject, version, request)
        }

        Resource::Schemas => schemas::list(ledger, request),
        Resource::SchemaTypes => Ok(json!(["AVRO"]).into()),
        Resource::Id(id) => schemas::by_id(ledger, id, request),
        Resource::IdSchema(id) => schemas::schema(ledger, id, request),
        Resource::IdSubjects(id) => schemas::subjects(ledger, id, request),
        Resource::IdVersions(id) => schemas::versions(ledger, id, request),

        Resource::Config => Ok(config::of_registry(ledger)),
        Resource::SubjectConfig(subject) => config::of_subject(ledger, subject, request),
        Resource::Mode => Ok(mode::of_registry(ledger)),
        Resource::SubjectMode(subject) => mode::of_subject(ledger, subject, request),

        Resource::Subject(_) | Resource::Compatibility(_) | Resource::CompatibilityVersion(..) => {
            Err(ApiError::MethodNotAllowed)
        }
    }
}

fn change(ledger: &mut Ledger, resource: Resource, request: &Request) -> Result<Answer, ApiError> {
    use Method::{Delete, Post, Put};
    match (request.method, resource) {
        (Post, Resource::Subject(subject)) => subjects::look_up(ledger, subject, request),
        (Delete, Resource::Subject(subject)) => subjects::delete(ledger, subject, request),
        (Post, Resource::Versions(subject)) => subjects::register(ledger, subject, request),
        (Delete, Resource::Version(subject, version)) => {
            subjects::delete_version(ledger, subject, version, request)
        }
        (Post, Resource::Compatibility(subject)) => {
            subjects::compatibility(ledger, subject, None, request)
        }
        (Post, Resource::CompatibilityVersion(subject, version)) => {
            subjects::compatibility(ledger, subject, Some(version), request)
        }

        (Put, Resource::Config) => config::set(ledger, None, request),
        (Delete, Resource::Config) => config::clear(ledger, None),
        (Put, Resource::SubjectConfig(subject)) => config::set(ledger, Some(subject), request),
        (Delete, Resource::SubjectConfig(subject)) => config::clear(ledger, Some(subject)),
        (Put, Resource::Mode) => mode::set(ledger, None, request),
        (Delete, Resource::Mode) => mode::clear(ledger, None, request),
        (Put, Resource::SubjectMode(subject)) => mode::set(ledger, Some(subject), request),
        (Delete, Resource::SubjectMode(subject)) => mode::clear(ledger, Some(subject), request),

        _ => Err(ApiError::MethodNotAllowed),
    }
}

/// What tools show to tell registries apart.
fn cluster() -> Answer {
    let clusters = json!({ "schema-registry-cluster": "lockstep" });
    json!({ "scope": { "path": [], "clusters": clusters } }).into()
}

/// Tools ask for the release to know what they may ask for: it is that of Confluent's registry
/// whose API this is.
fn release() -> Answer {
    let own = concat!("lockstep-", env!("CARGO_PKG_VERSION"));
    json!({ "version": "7.9.0", "commitId": own }).into()
}
