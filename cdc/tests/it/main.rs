//! Integration tests of capture. Real servers, a database and a slot per test.
#![allow(clippy::unwrap_used, reason = "a helper fails as its test does")]

mod capture_begin;
mod capture_changes;
mod captured;
mod filters;
mod first_snapshot;
mod messages;
mod operated;
mod outcome;
mod source_errors;
mod source_fixture;
mod source_login;
mod source_session;
mod source_spool;
mod source_stream;
mod spool;
mod wire_golden;
mod wire_random;
