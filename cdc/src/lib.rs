//! Capture: one Postgres to topics.

pub mod source;

pub mod wire;
