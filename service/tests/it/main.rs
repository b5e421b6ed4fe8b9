//! Against real Postgres servers, which the tests start and end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificate;
mod server;

mod authentication;
mod description;
mod reachability;
mod signals;
mod tls;
