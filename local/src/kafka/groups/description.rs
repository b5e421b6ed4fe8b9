//! What tools are told of a group.

use bytes::Bytes;

use super::group::{Group, State};
use super::subscription::{CONSUMER, topics};

/// A group in a list of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Listed {
    pub(in crate::kafka) group_id: String,
    pub(in crate::kafka) state: &'static str,
    /// Empty for a group that only commits offsets.
    pub(in crate::kafka) protocol_type: String,
}

/// A group and everyone in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Description {
    pub(in crate::kafka) state: &'static str,
    pub(in crate::kafka) protocol_type: String,
    /// The assignor, once the members have their assignment.
    pub(in crate::kafka) protocol: String,
    pub(in crate::kafka) members: Vec<MemberDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct MemberDescription {
    pub(in crate::kafka) id: String,
    pub(in crate::kafka) instance_id: Option<String>,
    pub(in crate::kafka) client_id: String,
    pub(in crate::kafka) metadata: Bytes,
    pub(in crate::kafka) assignment: Bytes,
}

impl State {
    /// Kafka's name of the state (`ClassicGroupState`).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => EMPTY,
            Self::Joining { .. } => "PreparingRebalance",
            Self::Syncing { .. } => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The state of a group that nobody is in.
const EMPTY: &str = "Empty";

impl Listed {
    /// A group of which there are only offsets.
    pub(in crate::kafka) fn of_offsets_alone(group_id: String) -> Self {
        Self {
            group_id,
            state: EMPTY,
            protocol_type: String::new(),
        }
    }
}

impl Description {
    /// A group of which there are only offsets.
    pub(in crate::kafka) fn of_offsets_alone() -> Self {
        Self {
            state: EMPTY,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
        }
    }
}

impl Group {
    pub(super) fn describe(&self) -> Description {
        // What members offer and have is told only when it is settled.
        let protocol = match self.state {
            State::Stable => self.protocol.clone(),
            State::Empty | State::Joining { .. } | State::Syncing { .. } => None,
        };
        let members = self.members.values().map(|member| MemberDescription {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            metadata: protocol
                .as_ref()
                .map(|protocol| member.metadata(protocol))
                .unwrap_or_default(),
            assignment: match protocol {
                Some(_) => member.assignment.clone(),
                None => Bytes::new(),
            },
        });
        Description {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol: protocol.unwrap_or_default(),
        }
    }

    /// Whether the members are consumers of a topic, as far as they tell.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        let Some(protocol) = &self.protocol else {
            return false;
        };
        let subscribed = self
            .members
            .values()
            .map(|member| topics(&member.metadata(protocol)));
        match subscribed.collect::<Option<Vec<_>>>() {
            Some(all) => all.iter().flatten().any(|name| name == topic),
            // A subscription that is not understood may name any topic.
            None => true,
        }
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }
}
