//! The operations of a request, from the text that came to the answers.

use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{BatchRequest, BatchResponse, Name, Request, Response, Variables};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;

use super::error::{code_of, coded};
use super::{Schema, Session};
use crate::metrics::Metrics;

/// What came: one operation, or several.
pub(crate) struct Operations(BatchRequest);

/// A query string's. (The library's own reader does not know `operationName`.)
#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    query: String,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<String>,
}

/// Why it cannot be read; for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the body is not JSON, at line {line} column {column}")]
    Json { line: usize, column: usize },
    #[error(
        "the body is no GraphQL request: an object with `query`, and where needed `variables`, \
         `operationName` and `extensions`"
    )]
    Shape,
    #[error(
        "the query string is no GraphQL request: `query`, `variables` in JSON, `operationName`"
    )]
    Query,
    #[error("a request may have 1 to {0} operations")]
    Batch(usize),
}

/// How it ended.
pub(crate) struct Outcome {
    pub(crate) body: Vec<u8>,
    /// Whether nothing was executed: no operation got as far as its fields.
    pub(crate) refused: bool,
}

impl Operations {
    pub(crate) fn of_query(query: &str) -> Result<Self, Unreadable> {
        let parameters: Parameters =
            serde_urlencoded::from_str(query).map_err(|_| Unreadable::Query)?;
        if parameters.query.is_empty() {
            return Err(Unreadable::Query);
        }
        let json = |text: Option<String>| match text {
            Some(text) => serde_json::from_str(&text).map_err(|_| Unreadable::Query),
            None => Ok(Value::Object(serde_json::Map::new())),
        };
        let variables = json(parameters.variables)?;
        if !variables.is_object() {
            return Err(Unreadable::Query);
        }
        let mut request = Request::new(parameters.query).variables(Variables::from_json(variables));
        request.operation_name = parameters.operation_name;
        Ok(Self(request.into()))
    }

    pub(crate) fn of_body(body: &[u8], limit: usize) -> Result<Self, Unreadable> {
        let json = |error: serde_json::Error| Unreadable::Json {
            line: error.line(),
            column: error.column(),
        };
        let value: Value = serde_json::from_slice(body).map_err(json)?;
        let count = value.as_array().map_or(1, Vec::len);
        if count == 0 || count > limit {
            return Err(Unreadable::Batch(limit));
        }
        let requests = value
            .as_array()
            .map_or(std::slice::from_ref(&value), Vec::as_slice);
        let shaped = requests.iter().all(|it| it["query"].is_string());
        match serde_json::from_value(value) {
            Ok(batch) if shaped => Ok(Self(batch)),
            _ => Err(Unreadable::Shape),
        }
    }

    /// Whether none of them writes. One that cannot be parsed writes nothing.
    pub(crate) fn only_read(&mut self) -> bool {
        self.0
            .iter_mut()
            .all(|request| matches!(kind(request), None | Some(OperationType::Query)))
    }

    /// Runs them, each within `limit`, and gives the answers as JSON.
    pub(crate) async fn run(
        self,
        schema: &Schema,
        session: &Session,
        metrics: &Metrics,
        limit: Duration,
    ) -> Outcome {
        let run = |request: Request| run(schema, session, metrics, limit, request);
        let response = match self.0 {
            BatchRequest::Single(request) => BatchResponse::Single(run(request).await),
            BatchRequest::Batch(requests) => {
                BatchResponse::Batch(join_all(requests.into_iter().map(run)).await)
            }
        };
        let responses = match &response {
            BatchResponse::Single(response) => std::slice::from_ref(response),
            BatchResponse::Batch(responses) => responses,
        };
        Outcome {
            refused: responses.iter().all(is_refusal),
            body: serde_json::to_vec(&response).expect("an answer is JSON"),
        }
    }
}

async fn run(
    schema: &Schema,
    session: &Session,
    metrics: &Metrics,
    limit: Duration,
    mut request: Request,
) -> Response {
    let word = match kind(&mut request) {
        Some(OperationType::Query) => "query",
        Some(OperationType::Mutation) => "mutation",
        Some(OperationType::Subscription) => "subscription",
        None => "unknown",
    };
    let executed = schema.execute(request.data(session.clone()));
    let response = match tokio::time::timeout(limit, executed).await {
        Ok(response) => response,
        Err(_) => Response::from_errors(vec![coded("TIMEOUT", "the operation took too long")]),
    };
    count(&response, word, metrics);
    response
}

/// Counts an operation and its errors.
pub(crate) fn count(response: &Response, operation: &str, metrics: &Metrics) {
    let outcome = match (response.is_ok(), is_refusal(response)) {
        (true, _) => "ok",
        (false, true) => "refused",
        (false, false) => "errors",
    };
    metrics.operated(operation, outcome);
    for error in &response.errors {
        metrics.erred(code_of(error).unwrap_or("INTERNAL"));
    }
}

/// A request error, as the specification calls it: no field was resolved.
fn is_refusal(response: &Response) -> bool {
    let no_data = response.data == async_graphql::Value::Null;
    no_data && response.is_err() && response.errors.iter().all(|error| error.path.is_empty())
}

/// What the request's operation does; none when that cannot be told, which execution then explains.
fn kind(request: &mut Request) -> Option<OperationType> {
    let name = request.operation_name.clone();
    let document = request.parsed_query().ok()?;
    let mut operations = document
        .operations
        .iter()
        .filter(|(operation, _)| name.is_none() || name.as_deref() == operation.map(Name::as_str));
    operations.next().map(|(_, operation)| operation.node.ty)
}
