//! The applier against a real Postgres, a real broker and a real registry.
//!
//! What capture would have written is written by [`rig::Rig`], row by row from what Postgres
//! itself sends, so that no test depends on capture.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;
mod shape;

mod bulk;
mod control;
mod dead_letters;
mod faults;
mod operations;
mod outbox;
mod overwrite;
mod restarts;
mod stops;
mod undecodable;
mod values;
mod waiting;
