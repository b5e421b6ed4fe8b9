//! The gateway over HTTP and WebSockets, in front of a real REST API and a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

mod abuse;
mod articles;
mod fuzz;
mod http;
mod outages;
mod schema;
