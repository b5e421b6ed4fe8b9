//! Whether the service is well. No token is asked for, and nothing is cached.

use std::time::Duration;

use serde_json::{Value, json};

use crate::exchange::Exchange;
use crate::http::{HeaderValue, Reply, StatusCode, header};

/// Under the patience of those who probe.
const LIMIT: Duration = Duration::from_secs(1);

/// The state of everything the service needs.
pub(crate) async fn report(exchange: &Exchange) -> Reply {
    let (status, word, database) = match exchange.database.ping(LIMIT).await {
        Ok(()) => (StatusCode::OK, "ok", "ok".to_owned()),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "failing",
            error.to_string(),
        ),
    };
    let page = json!({
        "status": word,
        "checks": { "db": database },
        "version": env!("CARGO_PKG_VERSION"),
    });
    page_of(status, &page)
}

/// Whether the process answers at all: restarting it would not bring a database back.
pub(crate) fn live() -> Reply {
    page_of(StatusCode::OK, &json!({ "status": "ok" }))
}

/// Whether requests should be sent here.
pub(crate) async fn ready(exchange: &Exchange) -> Reply {
    match exchange.database.ping(LIMIT).await {
        Ok(()) => page_of(StatusCode::OK, &json!({ "status": "ok" })),
        Err(error) => {
            let page = json!({ "status": "failing", "reason": error.to_string() });
            page_of(StatusCode::SERVICE_UNAVAILABLE, &page)
        }
    }
}

fn page_of(status: StatusCode, page: &Value) -> Reply {
    let no_store = HeaderValue::from_static("no-store");
    Reply::json(status, page).with(header::CACHE_CONTROL, no_store)
}
