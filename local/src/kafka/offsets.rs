//! The offsets that consumer groups have committed. A commit is on disk before it is answered.
//!
//! What a producer commits as a part of its transaction is pending: it counts once the transaction
//! is committed, and until then a reader that wants stable offsets is told to come again (KIP-447).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::journal::{Journal, Sync};
use super::transactions::Outcome;

/// Changes after which the journal is rewritten, if it is also several times what it describes.
const REWRITE_AFTER: u64 = 20_000;

#[derive(Debug)]
pub(super) struct Offsets {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    journal: Journal,
    all: All,
}

/// What the journal describes.
#[derive(Debug, Default)]
struct All {
    groups: HashMap<String, Committed>,
    /// What open transactions are to commit, by group and producer id.
    pending: BTreeMap<(String, i64), Pending>,
}

/// The offsets of one open transaction for one group. None for a partition for which an offset was
/// committed outside of it since: the later of the two is to count.
type Pending = BTreeMap<(String, i32), Option<Offset>>;

/// The offsets of one group, by topic and partition.
type Committed = BTreeMap<(String, i32), Offset>;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offset {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
    /// When it was committed, in milliseconds since 1970.
    pub(super) at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Commit {
        group: String,
        offsets: Vec<(String, i32, Offset)>,
    },
    ForgetGroup {
        group: String,
    },
    ForgetOffsets {
        group: String,
        partitions: Vec<(String, i32)>,
    },
    /// Committed in a transaction that is open.
    Pend {
        group: String,
        producer_id: i64,
        offsets: Vec<(String, i32, Option<Offset>)>,
    },
    /// The transaction has ended.
    Settle {
        group: String,
        producer_id: i64,
        outcome: Outcome,
    },
    ForgetTopic {
        topic: String,
    },
}

impl Offsets {
    pub(super) fn open(data_dir: &Path, sync: Sync) -> io::Result<Self> {
        let (journal, records) = Journal::open(&data_dir.join("offsets.journal"), sync)?;
        let mut all = All::default();
        for record in records {
            all.apply(serde_json::from_slice(&record)?);
        }
        Ok(Self {
            kept: Mutex::new(Kept { journal, all }),
        })
    }

    /// Keeps offsets for a group, all or none.
    pub(super) fn commit(
        &self,
        group: &str,
        offsets: Vec<(String, i32, Offset)>,
    ) -> io::Result<()> {
        self.lock().change(Change::Commit {
            group: group.to_owned(),
            offsets,
        })
    }

    /// Keeps offsets that count once the producer's transaction is committed.
    pub(super) fn pend(
        &self,
        group: &str,
        producer_id: i64,
        offsets: Vec<(String, i32, Offset)>,
    ) -> io::Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let pending = |(topic, partition, offset)| (topic, partition, Some(offset));
        self.lock().change(Change::Pend {
            group: group.to_owned(),
            producer_id,
            offsets: offsets.into_iter().map(pending).collect(),
        })
    }

    /// Lets the pending offsets of a transaction count, or drops them.
    pub(super) fn settle(&self, group: &str, producer_id: i64, outcome: Outcome) -> io::Result<()> {
        let mut kept = self.lock();
        if !kept
            .all
            .pending
            .contains_key(&(group.to_owned(), producer_id))
        {
            return Ok(());
        }
        kept.change(Change::Settle {
            group: group.to_owned(),
            producer_id,
            outcome,
        })
    }

    /// The groups, with the producers' ids, for which offsets are pending.
    pub(super) fn all_pending(&self) -> Vec<(String, i64)> {
        self.lock().all.pending.keys().cloned().collect()
    }

    /// Whether an open transaction is about to commit an offset of the partition.
    pub(super) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        let kept = self.lock();
        if kept.all.pending.is_empty() {
            return false;
        }
        let key = (topic.to_owned(), partition);
        kept.all
            .pending_of(group)
            .any(|(_, offsets)| offsets.contains_key(&key))
    }

    /// Whether anything is kept of the group.
    pub(super) fn has(&self, group: &str) -> bool {
        let kept = self.lock();
        kept.all.groups.contains_key(group) || kept.all.pending_of(group).next().is_some()
    }

    /// The groups that have committed.
    pub(super) fn groups(&self) -> Vec<String> {
        self.lock().all.groups.keys().cloned().collect()
    }

    pub(super) fn forget_group(&self, group: &str) -> io::Result<()> {
        let group = group.to_owned();
        self.lock().change(Change::ForgetGroup { group })
    }

    /// Drops what a group has committed for some partitions.
    pub(super) fn forget(&self, group: &str, partitions: Vec<(String, i32)>) -> io::Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.lock().change(Change::ForgetOffsets {
            group: group.to_owned(),
            partitions,
        })
    }

    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Offset> {
        let key = (topic.to_owned(), partition);
        self.lock().all.groups.get(group)?.get(&key).cloned()
    }

    /// Everything that a group has committed.
    pub(super) fn all(&self, group: &str) -> Vec<(String, i32, Offset)> {
        let kept = self.lock();
        let committed = kept.all.groups.get(group).into_iter().flatten();
        committed
            .map(|((topic, partition), at)| (topic.clone(), *partition, at.clone()))
            .collect()
    }

    /// Drops what was committed for a topic that is deleted.
    pub(super) fn forget_topic(&self, topic: &str) -> io::Result<()> {
        let mut kept = self.lock();
        let committed = kept.all.groups.values().flat_map(BTreeMap::keys);
        let pending = kept.all.pending.values().flat_map(BTreeMap::keys);
        if !committed.chain(pending).any(|(name, _)| name == topic) {
            return Ok(());
        }
        kept.change(Change::ForgetTopic {
            topic: topic.to_owned(),
        })
    }

    /// Drops groups whose last commit is older than a time and which nobody is in.
    pub(super) fn expire(
        &self,
        before_ms: i64,
        has_members: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        let mut kept = self.lock();
        let old = |committed: &Committed| committed.values().all(|offset| offset.at < before_ms);
        let all = &kept.all;
        let expired = all.groups.iter().filter(|(id, committed)| {
            old(committed) && !has_members(id) && all.pending_of(id).next().is_none()
        });
        let expired: Vec<String> = expired.map(|(id, _)| id.clone()).collect();
        for group in expired {
            kept.change(Change::ForgetGroup { group })?;
        }
        Ok(())
    }

    /// Forces all commits to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.lock().journal.sync()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn change(&mut self, change: Change) -> io::Result<()> {
        self.journal.append(&serde_json::to_vec(&change)?)?;
        self.all.apply(change);
        self.rewrite_when_long()
    }

    fn rewrite_when_long(&mut self) -> io::Result<()> {
        let described = self.all.groups.len() + self.all.pending.len();
        let described = u64::try_from(described).unwrap_or(u64::MAX);
        if self.journal.records() < REWRITE_AFTER.max(described.saturating_mul(4)) {
            return Ok(());
        }
        let commits = self
            .all
            .groups
            .iter()
            .map(|(group, committed)| Change::Commit {
                group: group.clone(),
                offsets: listed(committed),
            });
        let pending = self.all.pending.iter();
        let pending = pending.map(|((group, producer_id), offsets)| Change::Pend {
            group: group.clone(),
            producer_id: *producer_id,
            offsets: listed(offsets),
        });
        let records = commits
            .chain(pending)
            .map(|change| serde_json::to_vec(&change))
            .collect::<Result<Vec<_>, _>>()?;
        self.journal.rewrite(&records)
    }
}

fn listed<O: Clone>(committed: &BTreeMap<(String, i32), O>) -> Vec<(String, i32, O)> {
    committed
        .iter()
        .map(|((topic, partition), offset)| (topic.clone(), *partition, offset.clone()))
        .collect()
}

impl All {
    fn pending_of(&self, group: &str) -> impl Iterator<Item = (&(String, i64), &Pending)> {
        self.pending
            .range((group.to_owned(), i64::MIN)..=(group.to_owned(), i64::MAX))
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Commit { group, offsets } => {
                self.supersede(&group, &offsets);
                insert(self.groups.entry(group).or_default(), offsets);
            }
            Change::ForgetGroup { group } => {
                self.pending.retain(|(pending, _), _| *pending != group);
                self.groups.remove(&group);
            }
            Change::ForgetOffsets { group, partitions } => {
                if let Some(committed) = self.groups.get_mut(&group) {
                    committed.retain(|partition, _| !partitions.contains(partition));
                }
                self.drop_empty();
            }
            Change::Pend {
                group,
                producer_id,
                offsets,
            } => insert(
                self.pending.entry((group, producer_id)).or_default(),
                offsets,
            ),
            Change::Settle {
                group,
                producer_id,
                outcome,
            } => {
                let settled = self.pending.remove(&(group.clone(), producer_id));
                if let (Some(settled), Outcome::Commit) = (settled, outcome) {
                    let committed = self.groups.entry(group).or_default();
                    let settled = settled.into_iter();
                    committed.extend(settled.filter_map(|(key, offset)| Some((key, offset?))));
                }
                self.drop_empty();
            }
            Change::ForgetTopic { topic } => {
                for committed in self.groups.values_mut() {
                    committed.retain(|(name, _), _| *name != topic);
                }
                for pending in self.pending.values_mut() {
                    pending.retain(|(name, _), _| *name != topic);
                }
                self.drop_empty();
            }
        }
    }

    /// Notes that what is pending for a partition is older than what is committed now.
    fn supersede(&mut self, group: &str, offsets: &[(String, i32, Offset)]) {
        let of_group = (group.to_owned(), i64::MIN)..=(group.to_owned(), i64::MAX);
        for (_, pending) in self.pending.range_mut(of_group) {
            for (topic, partition, _) in offsets {
                if let Some(older) = pending.get_mut(&(topic.clone(), *partition)) {
                    *older = None;
                }
            }
        }
    }

    fn drop_empty(&mut self) {
        self.groups.retain(|_, committed| !committed.is_empty());
        self.pending.retain(|_, offsets| !offsets.is_empty());
    }
}

fn insert<O>(committed: &mut BTreeMap<(String, i32), O>, offsets: Vec<(String, i32, O)>) {
    for (topic, partition, offset) in offsets {
        committed.insert((topic, partition), offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, time: i64) -> Offset {
        Offset {
            offset,
            leader_epoch: 0,
            metadata: String::new(),
            at: time,
        }
    }

    fn commit(offsets: &Offsets, group: &str, topic: &str, offset: i64, time: i64) {
        offsets
            .commit(group, vec![(topic.to_owned(), 0, at(offset, time))])
            .unwrap();
    }

    #[test]
    fn commits_survive_being_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let offsets = Offsets::open(directory.path(), Sync::Never).unwrap();
        commit(&offsets, "a", "t", 1, 10);
        commit(&offsets, "a", "t", 2, 11);
        commit(&offsets, "b", "gone", 3, 12);
        offsets.forget_topic("gone").unwrap();
        drop(offsets);
        let offsets = Offsets::open(directory.path(), Sync::Never).unwrap();
        assert_eq!(offsets.committed("a", "t", 0), Some(at(2, 11)));
        assert_eq!(offsets.all("b"), []);
    }

    #[test]
    fn only_old_groups_without_members_expire() {
        let directory = tempfile::tempdir().unwrap();
        let offsets = Offsets::open(directory.path(), Sync::Never).unwrap();
        commit(&offsets, "old", "t", 1, 10);
        commit(&offsets, "old but alive", "t", 1, 10);
        commit(&offsets, "young", "t", 1, 30);
        offsets
            .expire(20, |group| group == "old but alive")
            .unwrap();
        assert_eq!(offsets.all("old"), []);
        assert_eq!(offsets.all("old but alive").len(), 1);
        assert_eq!(offsets.all("young").len(), 1);
    }

    #[test]
    fn pending_offsets_count_once_their_transaction_is_committed() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Offsets::open(directory.path(), Sync::Never).unwrap();
        let offsets = open();
        let pend = |offsets: &Offsets, producer_id, offset| {
            let pending = vec![("t".to_owned(), 0, at(offset, 10))];
            offsets.pend("a", producer_id, pending).unwrap();
        };
        pend(&offsets, 7, 5);
        pend(&offsets, 8, 6);
        drop(offsets);
        let offsets = open();
        assert!(offsets.is_pending("a", "t", 0));
        assert_eq!(offsets.committed("a", "t", 0), None);
        assert!(offsets.has("a"));
        offsets.settle("a", 8, Outcome::Abort).unwrap();
        assert_eq!(offsets.all_pending(), [("a".to_owned(), 7)]);
        offsets.settle("a", 7, Outcome::Commit).unwrap();
        offsets.settle("a", 7, Outcome::Abort).unwrap();
        drop(offsets);
        let offsets = open();
        assert!(!offsets.is_pending("a", "t", 0));
        assert_eq!(offsets.committed("a", "t", 0), Some(at(5, 10)));
    }

    #[test]
    fn an_offset_committed_later_outside_of_a_transaction_stays() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Offsets::open(directory.path(), Sync::Never).unwrap();
        let offsets = open();
        let pending = ["t", "u"].map(|topic| (topic.to_owned(), 0, at(5, 10)));
        offsets.pend("a", 7, pending.into()).unwrap();
        commit(&offsets, "a", "t", 9, 11);
        drop(offsets);
        let offsets = open();
        assert!(offsets.is_pending("a", "t", 0));
        offsets.settle("a", 7, Outcome::Commit).unwrap();
        assert_eq!(offsets.committed("a", "t", 0), Some(at(9, 11)));
        assert_eq!(offsets.committed("a", "u", 0), Some(at(5, 10)));
    }

    #[test]
    fn offsets_and_groups_are_forgotten_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let offsets = Offsets::open(directory.path(), Sync::Never).unwrap();
        for group in ["a", "b"] {
            commit(&offsets, group, "t", 1, 10);
            commit(&offsets, group, "u", 2, 10);
        }
        offsets.forget("a", vec![("t".to_owned(), 0)]).unwrap();
        offsets.forget_group("b").unwrap();
        drop(offsets);
        let offsets = Offsets::open(directory.path(), Sync::Never).unwrap();
        assert_eq!(offsets.committed("a", "t", 0), None);
        assert_eq!(offsets.committed("a", "u", 0), Some(at(2, 10)));
        assert!(!offsets.has("b"));
    }

    #[test]
    fn a_long_journal_is_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let offsets = Offsets::open(directory.path(), Sync::Never).unwrap();
        for offset in 0..30_000 {
            commit(&offsets, "a", "t", offset, 10);
        }
        let size = std::fs::metadata(directory.path().join("offsets.journal"))
            .unwrap()
            .len();
        assert!(size < 15_000 * 100, "{size} bytes");
        drop(offsets);
        let offsets = Offsets::open(directory.path(), Sync::Never).unwrap();
        assert_eq!(offsets.committed("a", "t", 0), Some(at(29_999, 10)));
    }
}
