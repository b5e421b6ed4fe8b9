//! One REST API: calls with a time limit, a bound, tries and a circuit breaker.

use std::str::FromStr;
use std::time::{Duration, Instant};

use change::Lsn;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::breaker::Breaker;
use super::{Caller, Failure};
use crate::metrics::Metrics;

/// One REST API.
pub(super) struct Service {
    /// As it is called in metrics and health.
    name: &'static str,
    base: Url,
    client: Client,
    calls: Semaphore,
    breaker: Breaker,
    metrics: Metrics,
}

/// Why a REST API cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{flag} {url:?} is no URL of a server: expected http://HOST:PORT")]
    Url { flag: &'static str, url: String },
    #[error("make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// How calls are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) time_limit: Duration,
    pub(super) calls: usize,
}

/// What is asked. Only what may be done twice is tried again: reads, and writes with a key.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) body: Option<&'a Value>,
    pub(super) if_match: Option<&'a str>,
    pub(super) idempotency_key: Option<String>,
}

/// What came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) etag: Option<String>,
    pub(super) position: Option<Lsn>,
    pub(super) body: Vec<u8>,
}

/// Pauses before the second and third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

const POSITION: &str = "lockstep-position";

impl Call<'_> {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: None,
            body: None,
            if_match: None,
            idempotency_key: None,
        }
    }

    fn may_be_repeated(&self) -> bool {
        self.method == Method::GET || self.idempotency_key.is_some()
    }
}

impl Service {
    pub(super) fn new(
        name: &'static str,
        flag: &'static str,
        url: &str,
        manner: Manner,
        metrics: Metrics,
    ) -> Result<Self, BuildError> {
        let malformed = || BuildError::Url {
            flag,
            url: url.to_owned(),
        };
        let base = Url::parse(url).map_err(|_| malformed())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(malformed());
        }
        let client = Client::builder()
            .timeout(manner.time_limit)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(BuildError::Client)?;
        Ok(Self {
            name,
            base,
            client,
            calls: Semaphore::new(manner.calls),
            breaker: Breaker::new(),
            metrics,
        })
    }

    pub(super) async fn call(&self, caller: &Caller, call: &Call<'_>) -> Result<Answer, Failure> {
        let mut pauses = PAUSES.iter();
        loop {
            let outcome = self.attempt(caller, call).await;
            match outcome {
                Err(failure) if failure.passes() && call.may_be_repeated() => {
                    let Some(pause) = pauses.next() else {
                        return Err(failure);
                    };
                    tokio::time::sleep(*pause).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, caller: &Caller, call: &Call<'_>) -> Result<Answer, Failure> {
        if !self.breaker.admits(Instant::now()) {
            self.metrics.called(self.name, "circuit_open");
            return Err(Failure::CircuitOpen);
        }
        // It is never closed.
        let _permit = self.calls.acquire().await.map_err(|_| Failure::TimedOut)?;
        let outcome = answer(self.request(caller, call).send().await).await;
        match &outcome {
            Err(failure) if failure.is_outage() && !failure.is_behind() => {
                self.breaker.failed(Instant::now());
            }
            _ => self.breaker.succeeded(),
        }
        self.metrics.circuit(self.name, self.breaker.is_closed());
        let word = match &outcome {
            Ok(_) => "ok",
            Err(Failure::Problem(_)) => "problem",
            Err(Failure::TimedOut) => "timeout",
            Err(_) => "failed",
        };
        self.metrics.called(self.name, word);
        outcome
    }

    fn request(&self, caller: &Caller, call: &Call<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{}", call.path));
        url.set_query(call.query.as_deref());
        let mut request = self
            .client
            .request(call.method.clone(), url)
            .header(header::ACCEPT, "application/json")
            .header("x-request-id", &caller.request_id);
        if let Some(traceparent) = &caller.traceparent {
            request = request.header("traceparent", traceparent);
        }
        if let Some(authorization) = &caller.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(minimum) = caller.minimum() {
            request = request.header("lockstep-min-position", minimum.to_string());
        }
        if let Some(etag) = call.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        match call.body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}

async fn answer(sent: Result<Response, reqwest::Error>) -> Result<Answer, Failure> {
    let response = sent.map_err(|error| failure(&error))?;
    let status = response.status();
    let headers = response.headers().clone();
    let body = response.bytes().await.map_err(|error| failure(&error))?;
    if status.is_success() {
        return Ok(Answer {
            etag: text(&headers, header::ETAG.as_str()),
            position: text(&headers, POSITION).and_then(|text| Lsn::from_str(&text).ok()),
            body: body.to_vec(),
        });
    }
    Err(refusal(status, &body))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// A proxy between us and the API may answer without a problem.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice(body) {
        Ok(problem @ Value::Object(_)) => Failure::Problem(problem),
        _ => match status.as_u16() {
            502..=504 => Failure::Unreachable,
            _ => Failure::Unreadable,
        },
    }
}

/// The library's own text names hosts; it goes to the log only.
fn failure(error: &reqwest::Error) -> Failure {
    tracing::debug!(error = %service::chain(error), "call of the REST API failed");
    match error.is_timeout() {
        true => Failure::TimedOut,
        false => Failure::Unreachable,
    }
}
