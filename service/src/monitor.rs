//! What a service tells about itself, and the port that tells it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Value, json};
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::listener::{self, ListenError};
use crate::{Shutdown, chain, serve_http};

/// Metrics and health of one service. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    pub metrics: Registry,
    pub health: Health,
}

impl Monitor {
    pub fn new() -> Self {
        Self::default()
    }
}

/// The state of the dependencies a service needs, by name.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, State>>>);

#[derive(Debug)]
enum State {
    Fine,
    /// Fine, and something that whoever looks should know: somebody paused it.
    Noted(String),
    Failing(String),
}

impl Health {
    /// Reports a dependency: fine, or what is wrong with it. A service reports its dependencies as
    /// failing ("not connected yet") before it first tries them, so that it is not ready too soon.
    pub fn set(&self, dependency: &'static str, state: Result<(), String>) {
        let state = match state {
            Ok(()) => State::Fine,
            Err(reason) => State::Failing(reason),
        };
        self.states().insert(dependency, state);
    }

    /// Reports that a dependency is fine, in a state that is not the usual one.
    pub fn note(&self, dependency: &'static str, state: String) {
        self.states().insert(dependency, State::Noted(state));
    }

    /// The dependencies that fail, with what is wrong.
    pub fn failing(&self) -> Vec<(&'static str, String)> {
        let states = self.states();
        let failing = states.iter().filter_map(|(name, state)| match state {
            State::Failing(reason) => Some((*name, reason.clone())),
            State::Fine | State::Noted(_) => None,
        });
        failing.collect()
    }

    pub fn is_ready(&self) -> bool {
        let states = self.states();
        !states.values().any(|it| matches!(it, State::Failing(_)))
    }

    /// Every dependency with `ok`, its unusual state, or what is wrong.
    pub fn report(&self) -> BTreeMap<&'static str, String> {
        let states = self.states();
        let report = states.iter().map(|(name, state)| match state {
            State::Fine => (*name, "ok".to_owned()),
            State::Noted(text) | State::Failing(text) => (*name, text.clone()),
        });
        report.collect()
    }

    fn states(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, State>> {
        // No code that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the monitor's port is not served.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    #[error("serve metrics and health")]
    Listen(#[from] ListenError),
}

/// Serves `/metrics`, `/healthz` and `/readyz` until a stop is requested.
///
/// `/healthz` answers 200 as long as the process answers at all: restarting it would not mend a
/// dependency. `/readyz` answers 503 while a dependency fails. Both name what fails.
///
/// # Errors
///
/// When the address cannot be bound.
pub async fn serve_monitor(
    listen: SocketAddr,
    monitor: Monitor,
    shutdown: Shutdown,
) -> Result<(), MonitorError> {
    let listener = listener::bind(listen, "--metrics-listen").await?;
    serve_http(listener, routes(monitor), &shutdown).await;
    Ok(())
}

fn routes(monitor: Monitor) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let Monitor { metrics, health } = monitor;
    let ready = health.clone();
    let metrics = warp::path!("metrics").map(move || metrics_page(&metrics));
    let healthz = warp::path!("healthz").map(move || health_page(&health, StatusCode::OK));
    let readyz = warp::path!("readyz").map(move || {
        let status = match ready.is_ready() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        health_page(&ready, status)
    });
    let pages = metrics.or(healthz).unify().or(readyz).unify();
    let absent = warp::any().map(|| StatusCode::NOT_FOUND.into_response());
    warp::get()
        .or(warp::head())
        .unify()
        .and(pages)
        .or(absent)
        .unify()
}

fn metrics_page(metrics: &Registry) -> Response {
    let mut page = Vec::new();
    match TextEncoder::new().encode(&metrics.gather(), &mut page) {
        Ok(()) => {
            warp::reply::with_header(page, "content-type", prometheus::TEXT_FORMAT).into_response()
        }
        Err(error) => {
            tracing::error!(error = %chain(&error), "encode metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn health_page(health: &Health, status: StatusCode) -> Response {
    let word = match health.is_ready() {
        true => "ok",
        false => "failing",
    };
    let page: Value = json!({ "status": word, "checks": health.report() });
    let page = warp::reply::with_header(warp::reply::json(&page), "cache-control", "no-store");
    warp::reply::with_status(page, status).into_response()
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    async fn get(monitor: &Monitor, path: &str) -> (u16, String) {
        let request = warp::test::request().path(path);
        let reply = request.reply(&routes(monitor.clone())).await;
        let text = String::from_utf8(reply.body().to_vec()).unwrap();
        (reply.status().as_u16(), text)
    }

    #[tokio::test]
    async fn readiness_names_what_fails() {
        let monitor = Monitor::new();
        monitor.health.set("kafka", Ok(()));
        monitor
            .health
            .set("source", Err("connection refused".into()));
        let expected =
            r#"{"status":"failing","checks":{"kafka":"ok","source":"connection refused"}}"#;
        assert_eq!(get(&monitor, "/readyz").await, (503, expected.to_owned()));
        assert_eq!(get(&monitor, "/healthz").await, (200, expected.to_owned()));

        monitor.health.note("source", "paused by ann".to_owned());
        let expected = r#"{"status":"ok","checks":{"kafka":"ok","source":"paused by ann"}}"#;
        assert_eq!(get(&monitor, "/readyz").await, (200, expected.to_owned()));

        monitor.health.set("source", Ok(()));
        let (status, _) = get(&monitor, "/readyz").await;
        assert_eq!(status, 200);
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let monitor = Monitor::new();
        let counter = IntCounter::new("rows_total", "Rows.").unwrap();
        monitor.metrics.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        let (status, page) = get(&monitor, "/metrics").await;
        assert_eq!(status, 200);
        assert!(page.contains("\nrows_total 3\n"), "{page}");
    }

    #[tokio::test]
    async fn another_path_is_not_found() {
        let (status, _) = get(&Monitor::new(), "/else").await;
        assert_eq!(status, 404);
    }

    #[tokio::test]
    async fn the_port_answers_until_the_stop() {
        let address = "127.0.0.1:0".parse().unwrap();
        let shutdown = Shutdown::new();
        shutdown.request();
        serve_monitor(address, Monitor::new(), shutdown)
            .await
            .unwrap();
    }
}
