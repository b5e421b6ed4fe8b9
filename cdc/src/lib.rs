//! Capture: one Postgres to topics.
