//! One request and its reply: id, time limit, metrics, log, and what all replies have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::Value;
use service::http::{carries_token, request_id};
use service::{Monitor, Secret, chain};
use tracing::Instrument;

use crate::config::Config;
use crate::database::Database;
use crate::http::{
    Body, Encoding, HeaderMap, HeaderName, HeaderValue, Kind, Problem, Reply, Request, StatusCode,
    header, json,
};
use crate::metrics::Metrics;
use crate::openapi::OpenApi;
use crate::role::Role;
use crate::router::{self, Route};

/// What requests are answered with.
pub(crate) struct Exchange {
    pub(crate) database: Arc<Database>,
    pub(crate) role: Role,
    pub(crate) openapi: OpenApi,
    body_limit: usize,
    pub(crate) require_if_match: bool,
    token: Option<Secret>,
    time_limit: Duration,
    metrics: Metrics,
    registry: Registry,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

impl Exchange {
    pub(crate) fn new(
        config: &Config,
        monitor: Monitor,
        metrics: Metrics,
        database: Arc<Database>,
        role: Role,
    ) -> Self {
        Self {
            database,
            role,
            openapi: OpenApi::of(config),
            body_limit: usize::try_from(config.api_body_bytes).unwrap_or(usize::MAX),
            require_if_match: config.api_require_if_match,
            token: config.api_token.clone(),
            time_limit: config.api_timeout_seconds,
            metrics,
            registry: monitor.metrics,
        }
    }

    pub(crate) async fn answer(&self, request: Request) -> Reply {
        let start = Instant::now();
        let id = request_id(&request.headers);
        let span = tracing::info_span!("request", %id, traceparent = tracing::field::Empty);
        if let Some(parent) = trace_parent(&request.headers) {
            span.record("traceparent", parent);
        }
        let encoding = Encoding::of(&request.headers);
        let method = request.method.clone();
        let route = Route::find(&request.path);
        let path = request.path.clone();

        let outcome = self
            .within_time(route, request)
            .instrument(span.clone())
            .await;
        let reply = outcome.unwrap_or_else(|problem| problem.reply(&id, &path));
        let elapsed = start.elapsed();
        let template = route.map_or("unknown", Route::template);
        self.metrics
            .answered(template, &method, reply.status, elapsed);
        let status = reply.status.as_u16();
        span.in_scope(|| tracing::debug!(%method, template, status, ?elapsed, "answered"));
        encoding.apply(finished(reply, &id)).await
    }

    async fn within_time(&self, route: Option<Route>, request: Request) -> Result<Reply, Problem> {
        let Some(route) = route else {
            return Err(Problem::new(Kind::NotFound, "the API has no such path"));
        };
        match tokio::time::timeout(self.time_limit, router::dispatch(self, route, request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Problem::unavailable("the request took too long")),
        }
    }

    pub(crate) async fn read(&self, body: Body) -> Result<Vec<u8>, Problem> {
        self.in_time(body.read(self.body_limit)).await
    }

    pub(crate) async fn read_json(&self, body: Body) -> Result<Value, Problem> {
        json(&self.read(body).await?)
    }

    pub(crate) async fn require_empty(&self, body: Body) -> Result<(), Problem> {
        self.in_time(body.require_empty()).await
    }

    /// Waits for a body for half of the request's time, so that some is left for the work.
    async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let read = tokio::time::timeout(self.time_limit / 2, read).await;
        read.unwrap_or_else(|_| {
            let detail = "the body did not arrive in time";
            Err(Problem::new(Kind::TooSlow, detail))
        })
    }

    /// Refuses a change without the token, if there is one.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        match carries_token(given, token) {
            true => Ok(()),
            false => {
                let challenge = HeaderValue::from_static("Bearer");
                let detail = "the bearer token is missing or wrong";
                Err(Problem::new(Kind::Unauthorized, detail)
                    .with(header::WWW_AUTHENTICATE, challenge))
            }
        }
    }

    pub(crate) async fn metrics_page(&self) -> Result<Reply, Problem> {
        self.metrics.count_articles(&self.database).await;
        let mut page = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut page) {
            Ok(()) => Ok(Reply::of_type(
                StatusCode::OK,
                prometheus::TEXT_FORMAT,
                page,
            )),
            Err(error) => {
                tracing::error!(error = %chain(&error), "encode metrics");
                Err(Problem::new(
                    Kind::Internal,
                    "the metrics cannot be encoded",
                ))
            }
        }
    }
}

/// Where a trace has come from (W3C Trace Context, section 3.2), so that our log can be joined to it.
fn trace_parent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(&TRACE_PARENT).iter();
    let text = values.next()?.to_str().ok()?;
    let mut parts = text.split('-');
    let is_fit = [2, 32, 16, 2].into_iter().all(|length| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        // Ids of zeros are none.
        let is_set = |part: &str| length == 2 || part.bytes().any(|byte| byte != b'0');
        let part = parts.next().unwrap_or_default();
        part.len() == length && part.bytes().all(hex) && is_set(part)
    });
    // A version to come may add parts; the first has none, and ff never is one.
    let is_known = match text.get(..2) {
        Some("00") => parts.next().is_none(),
        version => version != Some("ff"),
    };
    (is_fit && is_known && text.len() <= 128 && values.next().is_none()).then_some(text)
}

fn finished(reply: Reply, id: &str) -> Reply {
    let mut reply = reply.with_text(REQUEST_ID, id).with(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let no_cache = HeaderValue::from_static("no-cache");
    // May be kept, but not used without asking whether it still holds.
    reply
        .headers
        .entry(header::CACHE_CONTROL)
        .or_insert(no_cache);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_over_when_it_is_one() {
        let of = |value| {
            let headers = HeaderMap::from_iter([(TRACE_PARENT, HeaderValue::from_static(value))]);
            trace_parent(&headers).is_some()
        };
        assert!(of(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        ));
        assert!(of(
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"
        ));
        for unfit in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(!of(unfit), "{unfit}");
        }
    }
}
