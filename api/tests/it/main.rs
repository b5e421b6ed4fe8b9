//! The API over HTTP, in front of a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod description;
mod fixture;

mod articles;
mod concurrency;
mod contract;
mod docs;
mod idempotency;
mod lists;
mod operation;
mod oracle;
mod problems;
mod representations;
mod resilience;
mod search;
mod wal;
mod wire;
