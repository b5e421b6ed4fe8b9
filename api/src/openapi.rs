//! The API's own description: `openapi.json`, as this service answers.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use crate::config::Config;
use crate::http::{
    ETag, HeaderMap, Preconditions, Problem, Reply, StatusCode, header, require_acceptable, to_json,
};

pub(crate) const PATH: &str = "/api/v1/openapi.json";

const TEXT: &str = include_str!("../openapi.json");

const MEDIA_TYPE: &str = "application/json";

/// The description, ready to be sent.
pub(crate) struct OpenApi {
    bytes: Vec<u8>,
    etag: ETag,
}

impl OpenApi {
    /// What the settings exclude is left out.
    pub(crate) fn of(config: &Config) -> Self {
        let mut document = document();
        if config.api_token.is_none() {
            leave_out_token(&mut document);
        }
        if config.read_only {
            leave_out_writes(&mut document);
        }
        let bytes = to_json(&document);
        let etag = ETag::strong(tag(&bytes));
        Self { bytes, etag }
    }

    pub(crate) fn answer(&self, headers: &HeaderMap) -> Result<Reply, Problem> {
        require_acceptable(headers, MEDIA_TYPE)?;
        let reply = Reply::of_type(StatusCode::OK, MEDIA_TYPE, self.bytes.clone());
        let reply = match Preconditions::of(headers)?.is_known(&self.etag.clone().into()) {
            true => reply.not_modified(),
            false => reply,
        };
        Ok(reply.with(header::ETAG, self.etag.header()))
    }
}

/// The whole description, with what only some settings have.
pub(crate) fn document() -> Value {
    serde_json::from_str(TEXT).expect("the tests parse it too")
}

fn leave_out_token(document: &mut Value) {
    for operation in operations(document) {
        operation.shift_remove("security");
        if let Some(Value::Object(responses)) = operation.get_mut("responses") {
            responses.shift_remove("401");
        }
    }
    for (part, name) in [("", "security"), ("/components", "securitySchemes")] {
        if let Some(Value::Object(members)) = document.pointer_mut(part) {
            members.shift_remove(name);
        }
    }
}

/// As a replica is served.
fn leave_out_writes(document: &mut Value) {
    if let Some(Value::Object(paths)) = document.get_mut("paths") {
        for path in paths.values_mut().filter_map(Value::as_object_mut) {
            path.retain(|method, _| !WRITES.contains(&method.as_str()));
        }
        paths.retain(|_, path| path.get("get").is_some());
    }
}

const WRITES: [&str; 4] = ["post", "put", "patch", "delete"];

/// Everything that a path has beside its parameters.
fn operations(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let paths = paths.into_iter().flat_map(Map::values_mut);
    paths
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
}

/// Another content has another.
fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("o{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests;
