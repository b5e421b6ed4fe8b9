use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::BrokerId;
use tokio::sync::Semaphore;

use super::config::Config;
use super::disk::Disk;
use super::groups::Coordinator;
use super::lock::DirectoryLock;
use super::offsets::Offsets;
use super::producer_ids::ProducerIds;
use super::topics::Topics;

/// The only node's id, as in Kafka's quick start.
pub(super) const NODE_ID: BrokerId = BrokerId(1);

/// Large requests that are received or answered at one time.
pub(super) const LARGE_REQUESTS_MAX: usize = 4;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: String,
    /// Where clients are told to connect.
    pub(super) address: SocketAddr,
    pub(super) config: Config,
    pub(super) topics: Arc<Topics>,
    pub(super) producer_ids: Arc<ProducerIds>,
    pub(super) groups: Coordinator,
    pub(super) offsets: Arc<Offsets>,
    pub(super) disk: Disk,
    /// Places for requests that take much memory.
    pub(super) large_requests: Semaphore,
    /// Held until the last connection is gone.
    pub(super) _lock: DirectoryLock,
}

/// Milliseconds since 1970, as records carry them.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
