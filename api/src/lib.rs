//! The reference application: articles over REST. Writes go to DB1; reads may be served from DB2.
//!
//! A request's way: `server` takes it off the socket, `exchange` gives it an id, a time limit
//! and its place in the metrics, `router` finds what it means, `articles` and `health` do it;
//! `openapi` describes it all, and `docs` shows that.
//! Whatever is wrong becomes a `Problem` (RFC 9457).

mod config;
pub use config::Config;

mod run;
pub use run::{Error, run};

mod exchange;
mod role;
mod router;
mod server;

mod http;

mod articles;
mod docs;
mod health;
mod idempotency;
mod metrics;
mod openapi;

mod database;

mod position;
mod replica;

mod migrations;
pub use migrations::{MigrateError, migrate, prepare_replica};
