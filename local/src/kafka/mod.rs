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
//! | `broker.json` | format, cluster id, how many processes there were, and how the last one ended |
//! | `topics.journal` | which topics exist, with their settings |
//! | `offsets.journal` | what consumer groups have committed, or are about to in a transaction |
//! | `groups.journal` | who is in which consumer group |
//! | `transactions.journal` | where each transactional id stands |
//! | `producer-ids` | below which ids may have been given out |
//! | `topics/NAME-ID/PARTITION/` | segments, their indexes, the checkpoint, where a client had records deleted `start-offset`, and what compaction is writing |
//!
//! # Limits
//!
//! Not served: replication, TLS, SASL, ACLs, quotas, fetch sessions, topic ids in Produce and Fetch,
//! the group protocol of KIP-848. Of the settings of a topic those act that `topic_config` reads; the
//! others are taken, checked and described. Those of the broker are described, and none is changed
//! while it runs; loggers, groups and client metrics have none. Records inside a compressed batch are
//! looked at in compacted topics, and where a time is searched for.
//!
//! Compaction never begins with a segment that still grows, and a segment ends with an append, so
//! that what was appended last stays uncompacted while nothing follows, as in Kafka. The markers of
//! transactions stay for ever, and records in transactions replace no older ones.
//!
//! Transactions are those of version 1: the second (KIP-890) is not announced, so that clients use
//! the first. WriteTxnMarkers is not served: a transaction that no coordinator knows is aborted at
//! the start. There are no topics `__consumer_offsets` and `__transaction_state`, so that tools do
//! not find offsets among the partitions of a transaction. Memory and the checkpoint of a partition
//! grow with the aborted transactions in its log, by some tens of bytes for each.

mod api;
mod batch;
mod broker;
mod broker_settings;
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
mod topic_settings;
mod topics;
mod transactions;
mod wire;

pub use broker::{Broker, StartError, StopError};
pub use config::{Config, Fsync};
