//! Who is in a group, and how a generation gives way to the next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::group::{Answer, Group, GroupError, InitialJoin, Joined, State, Synced};
use super::member::{Join, Member, Ticket};

impl Group {
    pub(super) fn add(&mut self, member_id: String, join: Join, ticket: Ticket, now: Instant) {
        self.announced.remove(&member_id);
        self.protocol_type = Some(join.protocol_type.clone());
        if let Some(instance_id) = &join.instance_id {
            self.instances
                .insert(instance_id.clone(), member_id.clone());
        }
        let mut member = Member::new(member_id.clone(), join, now);
        member.joining = Some(ticket);
        self.members.insert(member_id, member);
        if let State::Joining {
            initial: Some(initial),
            ..
        } = &mut self.state
        {
            initial.members_arrived = true;
        }
        self.rebalance(now);
        self.complete_join_if_all_are_here(now);
    }

    pub(super) fn rejoin(&mut self, join: Join, ticket: Ticket, now: Instant) {
        if let Some(member) = self.members.get_mut(&join.member_id) {
            member.protocols = join.protocols;
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            member.heard_of(now);
            // A request that was sent again takes the place of the first, whose answer went astray.
            if let Some(stale) = member.joining.replace(ticket) {
                let refused = Err(GroupError::RebalanceInProgress);
                self.answers.push(Answer::Joined(stale, refused));
            }
        }
        self.rebalance(now);
        self.complete_join_if_all_are_here(now);
    }

    /// A static member came back under a new id; the old one is fenced.
    pub(super) fn replace(
        &mut self,
        replaced: &str,
        member_id: String,
        join: Join,
        ticket: Ticket,
        now: Instant,
    ) {
        let Some(mut member) = self.members.remove(replaced) else {
            return;
        };
        self.fence(&mut member);
        let old_leader = self.leader.clone();
        if old_leader.as_deref() == Some(replaced) {
            self.leader = Some(member_id.clone());
        }
        if let Some(instance_id) = &join.instance_id {
            self.instances
                .insert(instance_id.clone(), member_id.clone());
        }
        let can_skip = join.can_skip_assignment;
        let assignment = member.assignment;
        member = Member::new(member_id.clone(), join, now);
        member.assignment = assignment;
        self.members.insert(member_id.clone(), member);
        if self.state == State::Stable && self.choose_protocol() == self.protocol {
            self.unkept = true;
            self.answer_returned(&member_id, old_leader, can_skip, ticket);
            return;
        }
        if let Some(member) = self.members.get_mut(&member_id) {
            member.joining = Some(ticket);
        }
        self.rebalance(now);
        self.complete_join_if_all_are_here(now);
    }

    fn fence(&mut self, member: &mut Member) {
        if let Some(ticket) = member.joining.take() {
            self.answers
                .push(Answer::Joined(ticket, Err(GroupError::FencedInstance)));
        }
        if let Some(ticket) = member.syncing.take() {
            self.answers
                .push(Answer::Synced(ticket, Err(GroupError::FencedInstance)));
        }
    }

    /// The group goes on as it was. A leader that cannot be told to skip the assignment is told the
    /// old leader's id, so that it does not take itself for the leader and send one (KIP-814).
    fn answer_returned(
        &mut self,
        member_id: &str,
        old_leader: Option<String>,
        can_skip: bool,
        ticket: Ticket,
    ) {
        let is_leader = self.leader.as_deref() == Some(member_id);
        let mut joined = self.joined(member_id);
        joined.skip_assignment = is_leader && can_skip;
        if !can_skip {
            joined.members.clear();
            joined.leader = old_leader.unwrap_or_default();
        }
        self.answers.push(Answer::Joined(ticket, Ok(joined)));
    }

    pub(super) fn remove(&mut self, member_id: &str, now: Instant) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        let gone = GroupError::UnknownMember;
        if let Some(ticket) = member.joining {
            self.answers.push(Answer::Joined(ticket, Err(gone.clone())));
        }
        if let Some(ticket) = member.syncing {
            self.answers.push(Answer::Synced(ticket, Err(gone)));
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.rebalance(now);
        self.complete_join_if_all_are_here(now);
    }

    /// Calls all members to join again, unless they are called already.
    fn rebalance(&mut self, now: Instant) {
        let initial = match self.state {
            State::Joining { .. } => return,
            State::Empty => {
                let latest = now + self.rebalance_timeout();
                Some(InitialJoin {
                    latest,
                    members_arrived: false,
                })
            }
            State::Syncing { .. } | State::Stable => None,
        };
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                let refused = Err(GroupError::RebalanceInProgress);
                self.answers.push(Answer::Synced(ticket, refused));
                member.heard_of(now);
            }
        }
        let wait = match initial {
            Some(_) => self.initial_delay.min(self.rebalance_timeout()),
            None => self.rebalance_timeout(),
        };
        self.state = State::Joining {
            deadline: now + wait,
            initial,
        };
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    pub(super) fn complete_join_if_all_are_here(&mut self, now: Instant) {
        let State::Joining { initial: None, .. } = self.state else {
            return;
        };
        if self.announced.is_empty() && self.members.values().all(|member| member.joining.is_some())
        {
            self.complete_join(now);
        }
    }

    pub(super) fn end_of_join(&mut self, initial: Option<InitialJoin>, now: Instant) {
        match initial {
            Some(InitialJoin {
                latest,
                members_arrived: true,
            }) if latest > now => {
                let deadline = latest.min(now + self.initial_delay);
                let initial = Some(InitialJoin {
                    latest,
                    members_arrived: false,
                });
                self.state = State::Joining { deadline, initial };
            }
            _ => self.complete_join(now),
        }
    }

    /// Starts the next generation with those who have joined.
    fn complete_join(&mut self, now: Instant) {
        // Static members may be late: they keep their place until their session ends.
        let stays = |member: &Member| member.joining.is_some() || member.instance_id.is_some();
        self.members.retain(|_, member| stays(member));
        if self.members.is_empty() {
            self.state = State::Empty;
            self.generation += 1;
            self.leader = None;
            self.protocol = None;
            self.unkept = true;
            return;
        }
        let joined = |id: &String| self.members.get(id).is_some_and(|m| m.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some(leader) = self
                .members
                .values()
                .find(|member| member.joining.is_some())
            else {
                // Only absent static members are left; they have their session's time to return.
                let deadline = now + self.rebalance_timeout();
                self.state = State::Joining {
                    deadline,
                    initial: None,
                };
                return;
            };
            self.leader = Some(leader.id.clone());
        }
        self.generation += 1;
        self.protocol = self.choose_protocol();
        self.state = State::Syncing {
            deadline: now + self.rebalance_timeout(),
        };
        let waiting: Vec<(String, Ticket)> = self
            .members
            .values_mut()
            .filter_map(|member| Some((member.id.clone(), member.joining.take()?)))
            .collect();
        for (member_id, ticket) in waiting {
            self.answer_joined(&member_id, ticket, now);
        }
    }

    /// Members that have joined and do not ask for their assignment are gone.
    pub(super) fn end_of_sync(&mut self, now: Instant) {
        let silent = |member: &&Member| member.syncing.is_none();
        let silent: Vec<String> = self
            .members
            .values()
            .filter(silent)
            .map(|member| member.id.clone())
            .collect();
        for member_id in silent {
            self.remove(&member_id, now);
        }
        self.rebalance(now);
    }

    /// The assignor that all members offer and most of them like best.
    fn choose_protocol(&self) -> Option<String> {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let favourite = member.protocols.iter().find(|(name, _)| common(name));
            *votes.entry(&favourite?.0).or_default() += 1;
        }
        let winner = votes.into_iter().max_by_key(|(_, count)| *count);
        winner.map(|(name, _)| name.to_owned())
    }

    pub(super) fn answer_joined(&mut self, member_id: &str, ticket: Ticket, now: Instant) {
        self.heard_of(member_id, now);
        let joined = self.joined(member_id);
        self.answers.push(Answer::Joined(ticket, Ok(joined)));
    }

    fn joined(&self, member_id: &str) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = match leader == member_id {
            true => {
                let all = self.members.values();
                all.map(|m| (m.id.clone(), m.instance_id.clone(), m.metadata(&protocol)))
                    .collect()
            }
            false => Vec::new(),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol,
            leader,
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members,
        }
    }

    pub(super) fn answer_syncs(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.heard_of(now);
                let synced = Synced {
                    protocol_type: self.protocol_type.clone().unwrap_or_default(),
                    protocol: self.protocol.clone().unwrap_or_default(),
                    assignment: member.assignment.clone(),
                };
                self.answers.push(Answer::Synced(ticket, Ok(synced)));
            }
        }
    }
}
