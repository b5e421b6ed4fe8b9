//! A Kafka broker for one machine: one node, in process, on loopback only.
//!
//! It stands in for a cluster where there is none, so that stock clients need not know the
//! difference. It keeps what it acknowledged across `kill -9`; see [`Fsync`] for power failures.
//!
//! A request goes through the modules in this order: `connection` frames it, `wire` checks it,
//! `api` answers it from `cluster`, which holds the `topics`, whose partitions are `log`s of
//! `batch`es on disk.
//!
//! # Data directory
//!
//! | file | content |
//! |---|---|
//! | `broker.lock` | the process that uses the directory |
//! | `broker.json` | format, cluster id, and how the last process ended |
//! | `topics.journal` | which topics exist, with their settings |
//! | `offsets.journal` | what consumer groups have committed |
//! | `producer-ids` | below which ids may have been given out |
//! | `topics/NAME-ID/PARTITION/` | segments, their indexes, and the checkpoint |
//!
//! # Limits
//!
//! Not served: transactions, compaction (`cleanup.policy=compact` is taken and keeps everything),
//! deletion of records, more partitions for a topic that exists, administration of groups,
//! replication, TLS, SASL, ACLs, quotas, fetch sessions, topic ids in Produce and Fetch, the group
//! protocol of KIP-848. Of the settings of a topic those act that `topic_config` reads; the others
//! are taken, checked and described. Records inside a compressed batch are not looked at.

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
