//! What is wrong with a request, or with us (RFC 9457).

use serde::Serialize;
use serde_json::{Map, Value};

use super::kind::Kind;
use super::{HeaderName, HeaderValue, Reply, header, to_json};
use crate::database::QueryError;

/// A request that is not answered as asked.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Members beyond those that every problem has (RFC 9457, section 3.2).
    members: Map<String, Value>,
}

/// What is wrong with one field of the body, or with one query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    #[serde(flatten)]
    place: Place,
    /// For programs: `required`, `too_long`, …
    code: &'static str,
    /// For people.
    detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    /// A JSON pointer (RFC 6901) into the body.
    Pointer(String),
    Parameter(String),
}

impl FieldError {
    pub(crate) fn at(pointer: String, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            place: Place::Pointer(pointer),
            code,
            detail: detail.into(),
        }
    }

    pub(crate) fn of_parameter(name: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            place: Place::Parameter(name.to_owned()),
            code,
            detail: detail.into(),
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            members: Map::new(),
        }
    }

    /// Fields of a body that was readable.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(Kind::Validation, "see errors")
        }
    }

    /// Fields of a body that is not well formed.
    pub(super) fn malformed_at(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(Kind::Malformed, "the body is not well formed, see errors")
        }
    }

    /// Query parameters.
    pub(crate) fn bad_parameters(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(
                Kind::Malformed,
                "a query parameter is not valid, see errors",
            )
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn unavailable(detail: &'static str) -> Self {
        const RETRY_AFTER_SECONDS: u16 = 1;
        let retry_after = HeaderValue::from(RETRY_AFTER_SECONDS);
        Self::new(Kind::Unavailable, detail).with(header::RETRY_AFTER, retry_after)
    }

    /// The reply for a request with this id and path.
    pub(crate) fn reply(self, request_id: &str, path: &str) -> Reply {
        let entry = self.kind.entry();
        let document = Document {
            r#type: format!("/problems/{}", entry.slug),
            title: entry.title,
            status: entry.status.as_u16(),
            detail: &self.detail,
            instance: path,
            request_id,
            errors: &self.errors,
            members: &self.members,
        };
        let mut reply =
            Reply::of_type(entry.status, "application/problem+json", to_json(&document));
        for (name, value) in self.headers {
            reply = reply.with(name, value);
        }
        reply.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Exhausted => Self::unavailable("all connections to the database are busy"),
            QueryError::Away => Self::unavailable("the database is away"),
            QueryError::TimedOut => Self::unavailable("the database took too long"),
            QueryError::Failed(error) => {
                let error = service::postgres::describe(&error);
                tracing::error!(error, "statement failed");
                Self::new(Kind::Internal, "a statement failed")
            }
        }
    }
}
