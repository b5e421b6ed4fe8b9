//! The classic rebalance protocol, as Kafka's group coordinator has it: all members join, one of
//! them assigns, all sync. No clock and no waiting here: requests that must wait leave a ticket,
//! and answers come out by ticket.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::member::{Join, Leave, Member, Participant, Sync, Ticket};

/// More would be a runaway client.
const MEMBERS_MAX: usize = 1000;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    /// The assignor of this generation.
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids of static members by their instance ids.
    pub(super) instances: HashMap<String, String>,
    /// Ids that were given to new members, who are to come again by then.
    pub(super) announced: HashMap<String, Instant>,
    /// How long the first rebalance of an empty group waits for more members.
    pub(super) initial_delay: Duration,
    pub(super) answers: Vec<Answer>,
    /// Whether the group came to rest, or a member was replaced, since it was last kept.
    pub(super) unkept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    /// Members are to join again.
    Joining {
        deadline: Instant,
        initial: Option<InitialJoin>,
    },
    /// All have joined; the leader is to send the assignment.
    Syncing {
        deadline: Instant,
    },
    Stable,
}

/// The first rebalance is held back a little, so that members that start together are not
/// rebalanced one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitialJoin {
    /// The wait is prolonged while members arrive, up to here.
    pub(super) latest: Instant,
    pub(super) members_arrived: bool,
}

/// What a request that waited gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Joined(Ticket, Result<Joined, GroupError>),
    Synced(Ticket, Result<Synced, GroupError>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Joined {
    pub(in crate::kafka) generation: i32,
    pub(in crate::kafka) protocol_type: String,
    pub(in crate::kafka) protocol: String,
    pub(in crate::kafka) leader: String,
    pub(in crate::kafka) member_id: String,
    pub(in crate::kafka) skip_assignment: bool,
    /// For the leader: every member's id, instance id and metadata.
    pub(in crate::kafka) members: Vec<(String, Option<String>, Bytes)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Synced {
    pub(in crate::kafka) protocol_type: String,
    pub(in crate::kafka) protocol: String,
    pub(in crate::kafka) assignment: Bytes,
}

/// Why a member's request is refused; each has a code of its own in the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::kafka) enum GroupError {
    #[error("come again with member id {0}")]
    MemberIdRequired(String),
    #[error("the member is not in the group")]
    UnknownMember,
    #[error("another process has the same group.instance.id")]
    FencedInstance,
    #[error("the generation is over")]
    IllegalGeneration,
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    #[error("no assignor is shared with the other members")]
    InconsistentProtocol,
    #[error("the group has too many members")]
    TooManyMembers,
    #[error("the group id is not valid")]
    InvalidGroupId,
    #[error("the session timeout is not between 6 seconds and 30 minutes")]
    InvalidSessionTimeout,
}

impl Group {
    pub(super) fn new(initial_delay: Duration) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: HashMap::new(),
            announced: HashMap::new(),
            initial_delay,
            answers: Vec::new(),
            unkept: false,
        }
    }

    /// Whether nothing is going on: all members have their assignment, or there are none.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Empty | State::Stable)
    }

    /// Whether the group is to be kept now, which this call takes for done.
    pub(super) fn take_unkept(&mut self) -> bool {
        self.is_at_rest() && std::mem::take(&mut self.unkept)
    }

    /// Whether nobody is in the group or about to be.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.announced.is_empty()
    }

    /// Takes the answers that have become due.
    pub(super) fn poll_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// When `handle_timeout` is to be called, at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let by_state = match self.state {
            State::Joining { deadline, .. } | State::Syncing { deadline } => Some(deadline),
            State::Empty | State::Stable => None,
        };
        let silent = self.members.values().filter(|member| !member.waits());
        let expiries = silent.map(|member| member.expires);
        expiries
            .chain(self.announced.values().copied())
            .chain(by_state)
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.announced.retain(|_, deadline| *deadline > now);
        let gone = |member: &&Member| !member.waits() && member.expires <= now;
        let gone: Vec<String> = self
            .members
            .values()
            .filter(gone)
            .map(|member| member.id.clone())
            .collect();
        for member_id in gone {
            self.remove(&member_id, now);
        }
        match self.state {
            State::Joining { deadline, initial } if deadline <= now => {
                self.end_of_join(initial, now);
            }
            State::Joining { .. } => self.complete_join_if_all_are_here(now),
            State::Syncing { deadline } if deadline <= now => self.end_of_sync(now),
            State::Syncing { .. } | State::Stable | State::Empty => {}
        }
    }

    /// Takes a member in; the answer comes by the ticket, at once or after the rebalance.
    pub(super) fn handle_join(&mut self, join: Join, ticket: Ticket, now: Instant) {
        if let Err(refused) = self.join(join, ticket, now) {
            self.answers.push(Answer::Joined(ticket, Err(refused)));
        }
    }

    fn join(&mut self, join: Join, ticket: Ticket, now: Instant) -> Result<(), GroupError> {
        self.check_protocols(&join)?;
        if join.member_id.is_empty() {
            return self.join_new(join, ticket, now);
        }
        if self.announced.contains_key(&join.member_id) {
            let member_id = join.member_id.clone();
            self.add(member_id, join, ticket, now);
            return Ok(());
        }
        self.check_identity(&join.member_id, join.instance_id.as_deref())?;
        let member = self
            .members
            .get(&join.member_id)
            .ok_or(GroupError::UnknownMember)?;
        let unchanged = member.protocols == join.protocols;
        let is_leader = self.leader.as_ref() == Some(&join.member_id);
        match self.state {
            State::Empty => return Err(GroupError::UnknownMember),
            State::Joining { .. } => self.rejoin(join, ticket, now),
            // The answer was lost, or a follower asks without news: it gets this generation again.
            State::Syncing { .. } if unchanged => self.answer_joined(&join.member_id, ticket, now),
            State::Stable if unchanged && !is_leader => {
                self.answer_joined(&join.member_id, ticket, now);
            }
            State::Syncing { .. } | State::Stable => self.rejoin(join, ticket, now),
        }
        Ok(())
    }

    fn join_new(&mut self, join: Join, ticket: Ticket, now: Instant) -> Result<(), GroupError> {
        if self.members.len() + self.announced.len() >= MEMBERS_MAX {
            return Err(GroupError::TooManyMembers);
        }
        let member_id = join.new_member_id.clone();
        if let Some(instance_id) = &join.instance_id {
            if let Some(replaced) = self.instances.get(instance_id).cloned() {
                self.replace(&replaced, member_id, join, ticket, now);
            } else {
                self.add(member_id, join, ticket, now);
            }
            return Ok(());
        }
        if join.must_know_its_id {
            self.announced
                .insert(member_id.clone(), now + join.session_timeout);
            return Err(GroupError::MemberIdRequired(member_id));
        }
        self.add(member_id, join, ticket, now);
        Ok(())
    }

    /// Gives a member its assignment; the leader's request brings everyone's.
    pub(super) fn handle_sync(&mut self, sync: Sync, ticket: Ticket, now: Instant) {
        if let Err(refused) = self.check_sync(&sync) {
            self.answers.push(Answer::Synced(ticket, Err(refused)));
            return;
        }
        let member_id = sync.member.member_id;
        if let Some(waiting) = self.members.get_mut(&member_id) {
            waiting.syncing = Some(ticket);
        }
        if matches!(self.state, State::Syncing { .. }) && self.leader.as_ref() == Some(&member_id) {
            let mut assignments: HashMap<_, _> = sync.assignments.into_iter().collect();
            for member in self.members.values_mut() {
                member.assignment = assignments.remove(&member.id).unwrap_or_default();
            }
            self.state = State::Stable;
            self.unkept = true;
        }
        if self.state == State::Stable {
            self.answer_syncs(now);
        }
    }

    /// The member lives.
    pub(super) fn handle_heartbeat(
        &mut self,
        member: &Participant,
        now: Instant,
    ) -> Result<(), GroupError> {
        self.check_participant(member)?;
        self.heard_of(&member.member_id, now);
        match self.state {
            State::Joining { .. } => Err(GroupError::RebalanceInProgress),
            State::Empty | State::Syncing { .. } | State::Stable => Ok(()),
        }
    }

    pub(super) fn handle_leave(&mut self, leave: &Leave, now: Instant) -> Result<(), GroupError> {
        let member_id = match &leave.instance_id {
            Some(instance_id) if leave.member_id.is_empty() => self
                .instances
                .get(instance_id)
                .cloned()
                .ok_or(GroupError::UnknownMember)?,
            _ => {
                if self.announced.remove(&leave.member_id).is_some() {
                    self.complete_join_if_all_are_here(now);
                    return Ok(());
                }
                self.check_identity(&leave.member_id, leave.instance_id.as_deref())?;
                leave.member_id.clone()
            }
        };
        self.remove(&member_id, now);
        Ok(())
    }

    /// Whether a commit may be taken: from a member of this generation, or, while there are no
    /// members, from a consumer that assigns itself.
    pub(super) fn handle_commit(
        &mut self,
        member: &Participant,
        now: Instant,
    ) -> Result<(), GroupError> {
        if member.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_participant(member)?;
        self.heard_of(&member.member_id, now);
        match self.state {
            State::Syncing { .. } => Err(GroupError::RebalanceInProgress),
            State::Empty | State::Joining { .. } | State::Stable => Ok(()),
        }
    }

    /// Whether a commit may become part of a transaction: the producer vouches for it, so it need
    /// not come from a member (KIP-447).
    pub(super) fn handle_transactional_commit(
        &mut self,
        member: &Participant,
        now: Instant,
    ) -> Result<(), GroupError> {
        let names_nobody = member.member_id.is_empty() && member.instance_id.is_none();
        if member.generation < 0 && (names_nobody || self.members.is_empty()) {
            return Ok(());
        }
        self.check_participant(member)?;
        self.heard_of(&member.member_id, now);
        Ok(())
    }

    fn check_protocols(&self, join: &Join) -> Result<(), GroupError> {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return Err(GroupError::InconsistentProtocol);
        }
        let others = || {
            self.members
                .values()
                .filter(|member| member.id != join.member_id)
        };
        if others().next().is_none() {
            return Ok(());
        }
        let shared = |name: &str| others().all(|member| member.supports(name));
        if self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|(name, _)| shared(name))
        {
            Ok(())
        } else {
            Err(GroupError::InconsistentProtocol)
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), GroupError> {
        self.check_participant(&sync.member)?;
        let differs =
            |claimed: &Option<String>, ours: &Option<String>| claimed.is_some() && claimed != ours;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.state {
            State::Empty => Err(GroupError::UnknownMember),
            State::Joining { .. } => Err(GroupError::RebalanceInProgress),
            State::Syncing { .. } | State::Stable => Ok(()),
        }
    }

    fn check_identity(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            return match self.instances.get(instance_id) {
                Some(current) if current == member_id => Ok(()),
                Some(_) => Err(GroupError::FencedInstance),
                None => Err(GroupError::UnknownMember),
            };
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(GroupError::UnknownMember)
        }
    }

    fn check_participant(&self, member: &Participant) -> Result<(), GroupError> {
        self.check_identity(&member.member_id, member.instance_id.as_deref())?;
        if member.generation == self.generation {
            Ok(())
        } else {
            Err(GroupError::IllegalGeneration)
        }
    }

    pub(super) fn heard_of(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard_of(now);
        }
    }
}
