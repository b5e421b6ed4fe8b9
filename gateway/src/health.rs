//! Whether the gateway is well. No token is asked for, and nothing is cached.

use serde_json::{Map, Value, json};
use service::Health;

use crate::http::{Reply, StatusCode};
use crate::upstream::{Caller, Upstream};

/// The state of everything the gateway needs, Kafka for subscriptions among it.
pub(crate) async fn report(upstream: &Upstream, health: &Health, id: &str) -> Reply {
    let mut checks = checks(upstream, id).await;
    for (name, reason) in health.failing() {
        checks.insert(name.to_owned(), reason.into());
    }
    page(&checks)
}

/// Whether requests should be sent here: without Kafka there are no subscriptions, but all else.
pub(crate) async fn ready(upstream: &Upstream, id: &str) -> Reply {
    page(&checks(upstream, id).await)
}

fn page(checks: &Map<String, Value>) -> Reply {
    let (status, word) = match is_well(checks) {
        true => (StatusCode::OK, OK),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    let page = json!({ "status": word, "checks": checks, "version": env!("CARGO_PKG_VERSION") });
    Reply::json(status, "application/json", &page)
}

/// Whether the process answers at all: restarting it would not bring REST back.
pub(crate) fn live() -> Reply {
    Reply::json(StatusCode::OK, "application/json", &json!({ "status": OK }))
}

const OK: &str = "ok";

async fn checks(upstream: &Upstream, id: &str) -> Map<String, Value> {
    let states = upstream.ready(&Caller::new(id)).await.into_iter();
    let told = states.map(|(name, state)| {
        let state = state.map_or_else(|failure| failure.to_string(), |()| OK.to_owned());
        (name.to_owned(), state.into())
    });
    told.collect()
}

fn is_well(checks: &Map<String, Value>) -> bool {
    checks.values().all(|state| state == OK)
}
