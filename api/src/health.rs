//! Whether the service is well, and how far what it serves is. No token is asked for, and nothing is cached.

use std::time::Duration;

use serde_json::{Value, json};

use crate::articles::{position_of_primary, rfc3339};
use crate::exchange::Exchange;
use crate::http::{HeaderValue, Problem, Reply, StatusCode, header};
use crate::replica::Replica;
use crate::role::Role;

/// Under the patience of those who probe.
const LIMIT: Duration = Duration::from_secs(1);

/// The state of everything the service needs.
pub(crate) async fn report(exchange: &Exchange) -> Reply {
    let database = told(exchange.database.ping(LIMIT).await);
    let mut checks = json!({ "db": database });
    let mut failing = database != OK;
    if let Role::Replica(replica) = &exchange.role {
        let replication = told(state(replica));
        failing |= replication != OK;
        checks["replication"] = replication.into();
    }
    let (status, word) = match failing {
        false => (StatusCode::OK, OK),
        true => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    let page = json!({ "status": word, "checks": checks, "version": env!("CARGO_PKG_VERSION") });
    page_of(status, &page)
}

/// Whether the process answers at all: restarting it would not bring a database back.
pub(crate) fn live() -> Reply {
    page_of(StatusCode::OK, &json!({ "status": OK }))
}

/// Whether requests should be sent here.
pub(crate) async fn ready(exchange: &Exchange) -> Reply {
    let mut reason = told(exchange.database.ping(LIMIT).await);
    if let (OK, Role::Replica(replica)) = (reason.as_str(), &exchange.role) {
        reason = told(state(replica));
    }
    match reason.as_str() {
        OK => page_of(StatusCode::OK, &json!({ "status": OK })),
        reason => {
            let page = json!({ "status": "failing", "reason": reason });
            page_of(StatusCode::SERVICE_UNAVAILABLE, &page)
        }
    }
}

/// How far the database is that is served.
pub(crate) async fn position(exchange: &Exchange) -> Result<Reply, Problem> {
    let page = match &exchange.role {
        Role::Primary(_) => {
            let (position, at) = position_of_primary(&exchange.database).await?;
            json!({ "role": "primary", "position": position.to_string(), "at": rfc3339(&at) })
        }
        Role::Replica(replica) => {
            let nothing = || Problem::unavailable("nothing was applied to the replica yet");
            let applied = replica.applied().ok_or_else(nothing)?;
            let phase = match applied.is_streaming {
                true => "streaming",
                false => "snapshotting",
            };
            json!({
                "role": "replica",
                "position": applied.position.to_string(),
                "phase": phase,
                "committed_at": rfc3339(&applied.committed_at),
                "applied_at": rfc3339(&applied.applied_at),
            })
        }
    };
    Ok(page_of(StatusCode::OK, &page))
}

const OK: &str = "ok";

fn told(state: Result<(), impl ToString>) -> String {
    state.map_or_else(|error| error.to_string(), |()| OK.to_owned())
}

fn state(replica: &Replica) -> Result<(), &'static str> {
    match replica.applied() {
        None => Err("nothing was applied to the replica yet"),
        Some(applied) if !applied.is_streaming => Err("the first snapshot is not complete"),
        Some(_) => Ok(()),
    }
}

fn page_of(status: StatusCode, page: &Value) -> Reply {
    let no_store = HeaderValue::from_static("no-store");
    Reply::json(status, page).with(header::CACHE_CONTROL, no_store)
}
