//! Who was in which generation of each group, in a journal: after a restart members go on with
//! their heartbeats as if nothing had been, and static members find their place.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::group::{Group, State};
use super::member::Member;
use crate::kafka::journal::{Journal, Sync};

/// Changes after which the journal is rewritten, if it is also several times what it describes.
const REWRITE_AFTER: u64 = 1000;

#[derive(Debug)]
pub(super) struct Store {
    journal: Journal,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Keep(Kept),
    Forget { group: String },
}

/// A group at rest: all members have their assignment, or there are none.
#[derive(Serialize, Deserialize)]
struct Kept {
    group: String,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: Vec<KeptMember>,
}

#[derive(Serialize, Deserialize)]
struct KeptMember {
    id: String,
    instance_id: Option<String>,
    client_id: String,
    session_timeout_ms: u64,
    rebalance_timeout_ms: u64,
    protocols: Vec<(String, Vec<u8>)>,
    assignment: Vec<u8>,
}

impl Store {
    /// Opens the journal and gives the groups in it, whose members have a session's time from
    /// `now` on to be heard of.
    pub(super) fn open(
        data_dir: &Path,
        initial_delay: Duration,
        now: Instant,
    ) -> io::Result<(Self, HashMap<String, Group>)> {
        // Never forced to the disk: what a power failure takes costs a rebalance.
        let (journal, records) = Journal::open(&data_dir.join("groups.journal"), Sync::Never)?;
        let mut kept = HashMap::new();
        for record in records {
            match serde_json::from_slice(&record)? {
                Change::Keep(group) => {
                    kept.insert(group.group.clone(), group);
                }
                Change::Forget { group } => {
                    kept.remove(&group);
                }
            }
        }
        let groups = kept
            .into_iter()
            .map(|(id, kept)| (id, kept.into_group(initial_delay, now)));
        Ok((Self { journal }, groups.collect()))
    }

    pub(super) fn keep(&mut self, id: &str, group: &Group) -> io::Result<()> {
        self.append(&Change::Keep(Kept::of(id, group)))
    }

    pub(super) fn forget(&mut self, id: &str) -> io::Result<()> {
        let group = id.to_owned();
        self.append(&Change::Forget { group })
    }

    /// Shortens the journal to the groups that are there, once that pays. A group that is being
    /// rebalanced is not kept: its members have no assignment to go on with.
    pub(super) fn rewrite_when_long(&mut self, groups: &HashMap<String, Group>) -> io::Result<()> {
        let described = u64::try_from(groups.len()).unwrap_or(u64::MAX);
        if self.journal.records() < REWRITE_AFTER.max(described.saturating_mul(4)) {
            return Ok(());
        }
        let at_rest = groups.iter().filter(|(_, group)| group.is_at_rest());
        let records = at_rest
            .map(|(id, group)| serde_json::to_vec(&Change::Keep(Kept::of(id, group))))
            .collect::<Result<Vec<_>, _>>()?;
        self.journal.rewrite(&records)
    }

    fn append(&mut self, change: &Change) -> io::Result<()> {
        self.journal.append(&serde_json::to_vec(change)?)
    }
}

impl Kept {
    fn of(id: &str, group: &Group) -> Self {
        Self {
            group: id.to_owned(),
            generation: group.generation,
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            leader: group.leader.clone(),
            members: group.members.values().map(KeptMember::of).collect(),
        }
    }

    fn into_group(self, initial_delay: Duration, now: Instant) -> Group {
        let members: BTreeMap<_, _> = self
            .members
            .into_iter()
            .map(|member| (member.id.clone(), member.into_member(now)))
            .collect();
        let instances = members
            .values()
            .filter_map(|member| Some((member.instance_id.clone()?, member.id.clone())));
        Group {
            state: if members.is_empty() {
                State::Empty
            } else {
                State::Stable
            },
            generation: self.generation,
            protocol_type: self.protocol_type,
            protocol: self.protocol,
            leader: self.leader,
            instances: instances.collect(),
            members,
            ..Group::new(initial_delay)
        }
    }
}

impl KeptMember {
    fn of(member: &Member) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let protocols = member.protocols.iter();
        Self {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            session_timeout_ms: millis(member.session_timeout),
            rebalance_timeout_ms: millis(member.rebalance_timeout),
            protocols: protocols
                .map(|(name, metadata)| (name.clone(), metadata.to_vec()))
                .collect(),
            assignment: member.assignment.to_vec(),
        }
    }

    fn into_member(self, now: Instant) -> Member {
        let session_timeout = Duration::from_millis(self.session_timeout_ms);
        let protocols = self.protocols.into_iter();
        Member {
            id: self.id,
            instance_id: self.instance_id,
            client_id: self.client_id,
            session_timeout,
            rebalance_timeout: Duration::from_millis(self.rebalance_timeout_ms),
            protocols: protocols
                .map(|(name, metadata)| (name, Bytes::from(metadata)))
                .collect(),
            assignment: Bytes::from(self.assignment),
            expires: now + session_timeout,
            joining: None,
            syncing: None,
        }
    }
}
