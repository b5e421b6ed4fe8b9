use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::description::{Description, Listed};
use super::group::{Answer, Group, GroupError, Joined, Synced};
use super::member::{Join, Leave, Participant, Sync, Ticket};
use super::store::Store;

/// Kafka's `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
const SESSION_MIN: Duration = Duration::from_secs(6);
const SESSION_MAX: Duration = Duration::from_mins(30);

/// All groups, and the requests that wait in them.
#[derive(Debug)]
pub(in crate::kafka) struct Coordinator {
    groups: Mutex<Groups>,
    /// Told when a group may have an earlier deadline than the one waited for.
    changed: Notify,
    initial_delay: Duration,
}

#[derive(Debug)]
struct Groups {
    store: Store,
    by_id: HashMap<String, Group>,
    next_ticket: u64,
    joining: HashMap<Ticket, oneshot::Sender<Result<Joined, GroupError>>>,
    syncing: HashMap<Ticket, oneshot::Sender<Result<Synced, GroupError>>>,
}

/// Why a group, or its offsets for a topic, are not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::kafka) enum GroupDeleteError {
    #[error("there is no such group")]
    NotFound,
    #[error("the group has members")]
    NotEmpty,
}

impl Coordinator {
    /// Takes up the groups of the last process. Blocks.
    pub(in crate::kafka) fn open(data_dir: &Path, initial_delay: Duration) -> io::Result<Self> {
        let (store, by_id) = Store::open(data_dir, initial_delay, Instant::now())?;
        Ok(Self {
            groups: Mutex::new(Groups {
                store,
                by_id,
                next_ticket: 0,
                joining: HashMap::new(),
                syncing: HashMap::new(),
            }),
            changed: Notify::new(),
            initial_delay,
        })
    }

    /// Lets sessions and rebalances end in time, until `stop` is requested.
    pub(in crate::kafka) async fn keep_time(&self, stop: CancellationToken) {
        loop {
            let next = self.lock().next_timeout();
            let due = async {
                match next {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = due => self.lock().handle_timeouts(Instant::now()),
            }
        }
    }

    /// Returns once the rebalance that the member starts or joins has all its members.
    pub(in crate::kafka) async fn join(
        &self,
        group_id: &str,
        join: Join,
    ) -> Result<Joined, GroupError> {
        if group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        if !(SESSION_MIN..=SESSION_MAX).contains(&join.session_timeout) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let answer = {
            let mut groups = self.lock();
            if !groups.by_id.contains_key(group_id) && !join.member_id.is_empty() {
                return Err(GroupError::UnknownMember);
            }
            let (ticket, answer) = groups.wait_for_join();
            let initial_delay = self.initial_delay;
            let group = groups
                .by_id
                .entry(group_id.to_owned())
                .or_insert_with(|| Group::new(initial_delay));
            group.handle_join(join, ticket, Instant::now());
            groups.deliver(group_id);
            answer
        };
        self.changed.notify_one();
        answer.await.unwrap_or(Err(GroupError::UnknownMember))
    }

    /// Returns once the leader has sent the assignment.
    pub(in crate::kafka) async fn sync(
        &self,
        group_id: &str,
        sync: Sync,
    ) -> Result<Synced, GroupError> {
        let answer = {
            let mut groups = self.lock();
            let (ticket, answer) = groups.wait_for_sync();
            match groups.by_id.get_mut(group_id) {
                Some(group) => group.handle_sync(sync, ticket, Instant::now()),
                None => drop(groups.syncing.remove(&ticket)),
            }
            groups.deliver(group_id);
            answer
        };
        self.changed.notify_one();
        answer.await.unwrap_or(Err(GroupError::UnknownMember))
    }

    pub(in crate::kafka) fn heartbeat(
        &self,
        group_id: &str,
        member: &Participant,
    ) -> Result<(), GroupError> {
        let mut groups = self.lock();
        let group = groups
            .by_id
            .get_mut(group_id)
            .ok_or(GroupError::UnknownMember)?;
        group.handle_heartbeat(member, Instant::now())
    }

    pub(in crate::kafka) fn leave(&self, group_id: &str, leave: &Leave) -> Result<(), GroupError> {
        let mut groups = self.lock();
        let group = groups
            .by_id
            .get_mut(group_id)
            .ok_or(GroupError::UnknownMember)?;
        let left = group.handle_leave(leave, Instant::now());
        groups.deliver(group_id);
        drop(groups);
        self.changed.notify_one();
        left
    }

    /// Whether a commit may be taken now.
    pub(in crate::kafka) fn check_commit(
        &self,
        group_id: &str,
        member: &Participant,
    ) -> Result<(), GroupError> {
        let mut groups = self.lock();
        match groups.by_id.get_mut(group_id) {
            Some(group) => group.handle_commit(member, Instant::now()),
            None if member.generation < 0 => Ok(()),
            None => Err(GroupError::IllegalGeneration),
        }
    }

    /// Whether a commit may become part of a transaction now.
    pub(in crate::kafka) fn check_transactional_commit(
        &self,
        group_id: &str,
        member: &Participant,
    ) -> Result<(), GroupError> {
        let mut groups = self.lock();
        match groups.by_id.get_mut(group_id) {
            Some(group) => group.handle_transactional_commit(member, Instant::now()),
            None if member.generation < 0 => Ok(()),
            None => Err(GroupError::IllegalGeneration),
        }
    }

    /// Every group that has or had members.
    pub(in crate::kafka) fn list(&self) -> Vec<Listed> {
        let groups = self.lock();
        let listed = groups.by_id.iter().map(|(id, group)| Listed {
            group_id: id.clone(),
            state: group.state.name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
        });
        listed.collect()
    }

    pub(in crate::kafka) fn describe(&self, group_id: &str) -> Option<Description> {
        self.lock().by_id.get(group_id).map(Group::describe)
    }

    /// Forgets a group that nobody is in.
    pub(in crate::kafka) fn delete(&self, group_id: &str) -> Result<(), GroupDeleteError> {
        let mut groups = self.lock();
        match groups.by_id.get(group_id) {
            None => Err(GroupDeleteError::NotFound),
            Some(group) if !group.members.is_empty() => Err(GroupDeleteError::NotEmpty),
            Some(_) => {
                groups.forget(group_id);
                Ok(())
            }
        }
    }

    /// Which of the topics the group is subscribed to, so that its offsets for them stay.
    pub(in crate::kafka) fn subscribed<'a>(
        &self,
        group_id: &str,
        topics: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<bool>, GroupDeleteError> {
        let groups = self.lock();
        let group = groups
            .by_id
            .get(group_id)
            .ok_or(GroupDeleteError::NotFound)?;
        if group.members.is_empty() {
            return Ok(topics.map(|_| false).collect());
        }
        if !group.is_of_consumers() {
            return Err(GroupDeleteError::NotEmpty);
        }
        Ok(topics.map(|topic| group.is_subscribed_to(topic)).collect())
    }

    /// Forgets the groups that nobody is in and of which nothing else is kept.
    pub(in crate::kafka) fn forget_empty(&self, has_offsets: impl Fn(&str) -> bool) {
        let mut groups = self.lock();
        let empty = groups
            .by_id
            .iter()
            .filter(|(id, group)| group.is_empty() && !has_offsets(id));
        for group_id in empty.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            groups.forget(&group_id);
        }
    }

    /// Whether anyone is in the group.
    pub(in crate::kafka) fn has_members(&self, group_id: &str) -> bool {
        self.lock()
            .by_id
            .get(group_id)
            .is_some_and(|group| !group.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Groups {
    fn wait_for_join(&mut self) -> (Ticket, oneshot::Receiver<Result<Joined, GroupError>>) {
        let ticket = self.ticket();
        let (sender, receiver) = oneshot::channel();
        self.joining.insert(ticket, sender);
        (ticket, receiver)
    }

    fn wait_for_sync(&mut self) -> (Ticket, oneshot::Receiver<Result<Synced, GroupError>>) {
        let ticket = self.ticket();
        let (sender, receiver) = oneshot::channel();
        self.syncing.insert(ticket, sender);
        (ticket, receiver)
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.by_id.values().filter_map(Group::poll_timeout).min()
    }

    fn handle_timeouts(&mut self, now: Instant) {
        let due = |group: &Group| group.poll_timeout().is_some_and(|deadline| deadline <= now);
        let ids = self
            .by_id
            .iter()
            .filter(|(_, group)| due(group))
            .map(|(id, _)| id.clone());
        for group_id in ids.collect::<Vec<_>>() {
            if let Some(group) = self.by_id.get_mut(&group_id) {
                group.handle_timeout(now);
            }
            self.deliver(&group_id);
        }
    }

    fn forget(&mut self, group_id: &str) {
        self.by_id.remove(group_id);
        if let Err(cause) = self.store.forget(group_id) {
            error!(group_id, %cause, "forget a consumer group; it is back after a restart");
        }
    }

    /// Keeps a group that came to rest. This is done before its members hear of it, so that one
    /// that was left behind cannot pass for a member after a restart. It is a small write to a file
    /// that is not forced to the disk, once per generation.
    fn keep(&mut self, group_id: &str) {
        let Some(group) = self.by_id.get_mut(group_id) else {
            return;
        };
        if !group.take_unkept() {
            return;
        }
        let kept = match self.store.keep(group_id, group) {
            Ok(()) => self.store.rewrite_when_long(&self.by_id),
            Err(cause) => self.store.forget(group_id).and(Err(cause)),
        };
        if let Err(cause) = kept {
            error!(group_id, %cause, "keep a consumer group; a restart rebalances it");
        }
    }

    /// Hands out the answers of a group, and forgets the group when it never came to be.
    fn deliver(&mut self, group_id: &str) {
        self.keep(group_id);
        let Some(group) = self.by_id.get_mut(group_id) else {
            return;
        };
        let answers = group.poll_answers();
        if group.is_empty() && group.generation == 0 {
            self.by_id.remove(group_id);
        }
        for answer in answers {
            // The receiver is gone when the client left while it waited.
            match answer {
                Answer::Joined(ticket, joined) => {
                    if let Some(waiting) = self.joining.remove(&ticket) {
                        let _ = waiting.send(joined);
                    }
                }
                Answer::Synced(ticket, synced) => {
                    if let Some(waiting) = self.syncing.remove(&ticket) {
                        let _ = waiting.send(synced);
                    }
                }
            }
        }
    }
}
