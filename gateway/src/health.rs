//! Whether the gateway is well. No token is asked for, and nothing is cached.

use serde_json::{Map, Value, json};

use crate::http::{Reply, StatusCode};
use crate::upstream::{Caller, Upstream};

/// The state of everything the gateway needs.
pub(crate) async fn report(upstream: &Upstream, id: &str) -> Reply {
    let checks = checks(upstream, id).await;
    let (status, word) = match is_well(&checks) {
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

/// Whether requests should be sent here.
pub(crate) async fn ready(upstream: &Upstream, id: &str) -> Reply {
    report(upstream, id).await
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
