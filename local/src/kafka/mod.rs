//! A Kafka broker for one machine: one node, in process, on loopback only.
//!
//! It stands in for a cluster where there is none, so that stock clients need not know the
//! difference. It keeps what it acknowledged across `kill -9`; see [`Fsync`] for power failures.
//! Not served: transactions, replication, TLS, SASL, quotas.
//!
//! A request goes through the modules in this order: `connection` frames it, `wire` checks it,
//! `api` answers it from `cluster`, which holds the `topics`, whose partitions are `log`s of
//! `batch`es on disk.

mod api;
mod batch;
mod broker;
mod cluster;
mod config;
mod connection;
mod disk;
mod groups;
mod housekeeping;
mod identity;
mod journal;
mod listener;
mod lock;
mod log;
mod offsets;
mod producer_ids;
mod topic_config;
mod topics;
mod wire;

pub use broker::{Broker, StartError, StopError};
pub use config::{Config, Fsync};
