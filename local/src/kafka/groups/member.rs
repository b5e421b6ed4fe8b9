use std::time::{Duration, Instant};

use bytes::Bytes;

/// A request to be in a group.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Join {
    /// Empty for a consumer that has no id yet.
    pub(in crate::kafka) member_id: String,
    /// Set by a static member (KIP-345).
    pub(in crate::kafka) instance_id: Option<String>,
    /// What the client calls itself, for an operator to read.
    pub(in crate::kafka) client_id: String,
    /// The id that a new member gets.
    pub(in crate::kafka) new_member_id: String,
    /// Whether a new member must come again with the id that it got (KIP-394).
    pub(in crate::kafka) must_know_its_id: bool,
    /// Whether a returning leader can be told to leave the assignment as it is (KIP-814).
    pub(in crate::kafka) can_skip_assignment: bool,
    pub(in crate::kafka) protocol_type: String,
    /// Names and metadata of the assignors that the member offers, the one it likes best first.
    pub(in crate::kafka) protocols: Vec<(String, Bytes)>,
    pub(in crate::kafka) session_timeout: Duration,
    pub(in crate::kafka) rebalance_timeout: Duration,
}

/// What a member says of itself in every later request.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Participant {
    pub(in crate::kafka) member_id: String,
    pub(in crate::kafka) instance_id: Option<String>,
    pub(in crate::kafka) generation: i32,
}

/// A request for the assignment.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Sync {
    pub(in crate::kafka) member: Participant,
    pub(in crate::kafka) protocol_type: Option<String>,
    pub(in crate::kafka) protocol: Option<String>,
    /// From the leader: what each member gets.
    pub(in crate::kafka) assignments: Vec<(String, Bytes)>,
}

/// Who is to leave: by member id, or a static member by its instance id alone.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Leave {
    pub(in crate::kafka) member_id: String,
    pub(in crate::kafka) instance_id: Option<String>,
}

/// Names a request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket(pub(super) u64);

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// When the member counts as gone, unless it is heard of or waits for an answer.
    pub(super) expires: Instant,
    pub(super) joining: Option<Ticket>,
    pub(super) syncing: Option<Ticket>,
}

impl Member {
    pub(super) fn new(id: String, join: Join, now: Instant) -> Self {
        Self {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            expires: now + join.session_timeout,
            joining: None,
            syncing: None,
        }
    }

    pub(super) fn heard_of(&mut self, now: Instant) {
        self.expires = now + self.session_timeout;
    }

    pub(super) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What the member tells the leader under a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let offered = self.protocols.iter().find(|(name, _)| name == protocol);
        offered
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }
}
