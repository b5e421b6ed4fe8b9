use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::BrokerId;
use tokio::sync::Semaphore;

use super::config::Config;
use super::disk::Disk;
use super::groups::{Coordinator, Description, Listed};
use super::lock::DirectoryLock;
use super::offsets::Offsets;
use super::producer_ids::ProducerIds;
use super::topics::Topics;
use super::transactions::Transactions;

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
    pub(super) transactions: Arc<Transactions>,
    pub(super) disk: Disk,
    /// Places for requests that take much memory.
    pub(super) large_requests: Semaphore,
    /// Held until the last connection is gone.
    pub(super) _lock: DirectoryLock,
}

impl Cluster {
    /// Every group: those that have members, and those of which there are only offsets.
    pub(super) fn all_groups(&self) -> Vec<Listed> {
        let mut groups: BTreeMap<String, Listed> = self
            .offsets
            .groups()
            .into_iter()
            .map(|id| (id.clone(), Listed::of_offsets_alone(id)))
            .collect();
        let with_members = self.groups.list().into_iter();
        groups.extend(with_members.map(|group| (group.group_id.clone(), group)));
        groups.into_values().collect()
    }

    pub(super) fn describe_group(&self, group_id: &str) -> Option<Description> {
        let of_offsets_alone = || {
            let has_offsets = self.offsets.has(group_id);
            has_offsets.then(Description::of_offsets_alone)
        };
        self.groups.describe(group_id).or_else(of_offsets_alone)
    }
}

/// Milliseconds since 1970, as records carry them.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
