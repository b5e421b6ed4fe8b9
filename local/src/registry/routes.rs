//! HTTP to and from the API's requests and answers. The only module that names warp.
//!
//! One filter takes every request: which paths exist, which methods they know and what the
//! errors look like is the API's business, so that nothing is answered in a framework's words.

use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use serde_json::json;
use tokio::net::TcpListener;
use warp::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use warp::http::{Response, StatusCode};
use warp::{Filter, Rejection};

use super::api::{Answer, Method, Query, Request, answer, decode_path, percent_decode};
use super::error::ApiError;
use super::ledger::Ledger;

/// The content types of the API; the first is what an answer is unless another is asked for.
const CONTENT_TYPES: [&str; 3] = [
    "application/vnd.schemaregistry.v1+json",
    "application/vnd.schemaregistry+json",
    "application/json",
];

/// What clients that set no content type send.
const NO_CONTENT_TYPE: &str = "application/octet-stream";

/// A table of 1,600 columns, Postgres' limit, makes a schema of some 300 kB.
const BODY_LIMIT: usize = 8 << 20;
const PATIENCE: usize = 8 * BODY_LIMIT;

/// The one lock of the registry. The ledger is taken out when the registry stops, so that a
/// connection that lingers cannot keep the file locked.
pub(super) type SharedLedger = Arc<Mutex<Option<Ledger>>>;

/// Serves until `stopped` resolves, then finishes the requests that have begun.
pub(super) async fn serve(
    listener: TcpListener,
    ledger: SharedLedger,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    let routes = warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or_else(|_| async { Ok::<_, Rejection>((String::new(),)) }))
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(
            move |method, path: warp::path::FullPath, query: String, headers, body| {
                let ledger = Arc::clone(&ledger);
                async move {
                    let content_type = content_type(&headers);
                    let outcome = match content_type {
                        Some(_) => {
                            handle(ledger, &method, path.as_str(), &query, &headers, body).await
                        }
                        None => collect(body).await.and(Err(ApiError::NotAcceptable)),
                    };
                    respond(outcome, content_type.unwrap_or(CONTENT_TYPES[0]))
                }
            },
        );
    warp::serve(routes)
        .incoming(listener)
        .graceful(stopped)
        .run()
        .await;
}

async fn handle(
    ledger: SharedLedger,
    method: &warp::http::Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Answer, ApiError> {
    let body = collect(body).await?;
    if !body.is_empty() && !is_json(headers) {
        return Err(ApiError::UnsupportedMediaType);
    }
    let request = Request {
        method: match *method {
            // A HEAD is answered as a GET; the HTTP layer leaves the body out.
            warp::http::Method::GET | warp::http::Method::HEAD => Method::Get,
            warp::http::Method::POST => Method::Post,
            warp::http::Method::PUT => Method::Put,
            warp::http::Method::DELETE => Method::Delete,
            _ => Method::Other,
        },
        path: decode_path(path).ok_or(ApiError::NotFound)?,
        query: parse_query(query),
        body,
    };
    // Off the async threads: a change waits for the disk with the lock held.
    let answered = tokio::task::spawn_blocking(move || {
        let mut ledger = ledger.lock().map_err(|_| ApiError::Interrupted)?;
        answer(ledger.as_mut().ok_or(ApiError::Stopped)?, &request)
    });
    answered.await.unwrap_or(Err(ApiError::Interrupted))
}

/// A body past the limit is still read, though not kept, so that the client comes to read the
/// answer; one without end is cut off.
async fn collect(
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Vec<u8>, ApiError> {
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    let mut received = 0;
    while let Some(chunk) = body.next().await {
        let mut chunk =
            chunk.map_err(|_| ApiError::BadRequest("the request's body broke off".to_owned()))?;
        received += chunk.remaining();
        if received > PATIENCE {
            break;
        }
        if received <= BODY_LIMIT {
            bytes.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
        }
    }
    if received > BODY_LIMIT {
        return Err(ApiError::BodyTooLarge { limit: BODY_LIMIT });
    }
    Ok(bytes)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    CONTENT_TYPES
        .iter()
        .chain([&NO_CONTENT_TYPE])
        .any(|accepted| accepted.eq_ignore_ascii_case(essence))
}

fn parse_query(query: &str) -> Query {
    Query(
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode_parameter(name)?, decode_parameter(value)?))
            })
            .collect(),
    )
}

/// In a query, unlike in a path, `+` is a space.
fn decode_parameter(text: &str) -> Option<String> {
    percent_decode(&text.replace('+', " "))
}

fn respond(outcome: Result<Answer, ApiError>, content_type: &'static str) -> Response<String> {
    let (status, body) = match outcome {
        Ok(Answer::Json(value)) => (StatusCode::OK, value.to_string()),
        Ok(Answer::Schema(text)) => (StatusCode::OK, text.as_ref().to_owned()),
        Err(error) => {
            let status = StatusCode::from_u16(error.status())
                .expect("error codes start with an HTTP status");
            if status.is_server_error() {
                tracing::error!(%error, "the registry could not answer");
            }
            let body = json!({ "error_code": error.code(), "message": error.to_string() });
            (status, body.to_string())
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The type that the client likes best among the API's (RFC 9110, "Accept"): one that it names
/// goes before one that it only lets in. None when it takes none of them.
fn content_type(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers
        .get(ACCEPT)
        .map(|value| value.to_str().unwrap_or_default());
    let accept = accept.filter(|accept| !accept.trim().is_empty());
    let Some(accept) = accept else {
        return Some(CONTENT_TYPES[0]);
    };
    let mut best: Option<(Named, f32, &'static str)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
        let quality: f32 = quality.unwrap_or(1.0);
        let known = CONTENT_TYPES
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name));
        let found = match (known, name) {
            (Some(known), _) => (Named::Yes, quality, known),
            (None, "*/*" | "application/*" | "*") => (Named::No, quality, CONTENT_TYPES[0]),
            (None, _) => continue,
        };
        let is_better =
            best.is_none_or(|(named, quality, _)| (found.0, found.1) > (named, quality));
        if found.1 > 0.0 && is_better {
            best = Some(found);
        }
    }
    best.map(|(.., content_type)| content_type)
}

/// Whether the client names a type, or lets it in with others.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Named {
    No,
    Yes,
}
