//! What lockstep up runs where there is no cluster: Postgres launcher, Kafka broker, schema registry.

pub mod kafka;
pub mod postgres;
pub mod registry;
