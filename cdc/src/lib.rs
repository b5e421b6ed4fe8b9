//! Capture: one Postgres to topics.

pub mod wire;
