//! The offsets that consumer groups have committed. A commit is on disk before it is answered.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::journal::{Journal, Sync};

/// Changes after which the journal is rewritten, if it is also several times what it describes.
const REWRITE_AFTER: u64 = 20_000;

#[derive(Debug)]
pub(super) struct Offsets {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    journal: Journal,
    groups: HashMap<String, Committed>,
}

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
    ForgetTopic {
        topic: String,
    },
}

impl Offsets {
    pub(super) fn open(data_dir: &Path, sync: Sync) -> io::Result<Self> {
        let (journal, records) = Journal::open(&data_dir.join("offsets.journal"), sync)?;
        let mut groups = HashMap::new();
        for record in records {
            apply(&mut groups, serde_json::from_slice(&record)?);
        }
        Ok(Self {
            kept: Mutex::new(Kept { journal, groups }),
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

    pub(super) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Offset> {
        let key = (topic.to_owned(), partition);
        self.lock().groups.get(group)?.get(&key).cloned()
    }

    /// Everything that a group has committed.
    pub(super) fn all(&self, group: &str) -> Vec<(String, i32, Offset)> {
        let kept = self.lock();
        let committed = kept.groups.get(group).into_iter().flatten();
        committed
            .map(|((topic, partition), at)| (topic.clone(), *partition, at.clone()))
            .collect()
    }

    /// Drops what was committed for a topic that is deleted.
    pub(super) fn forget_topic(&self, topic: &str) -> io::Result<()> {
        let mut kept = self.lock();
        let names = |committed: &Committed| committed.keys().any(|(name, _)| name == topic);
        if !kept.groups.values().any(names) {
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
        let expired = kept
            .groups
            .iter()
            .filter(|(id, committed)| old(committed) && !has_members(id));
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
        apply(&mut self.groups, change);
        self.rewrite_when_long()
    }

    fn rewrite_when_long(&mut self) -> io::Result<()> {
        let groups = u64::try_from(self.groups.len()).unwrap_or(u64::MAX);
        if self.journal.records() < REWRITE_AFTER.max(groups.saturating_mul(4)) {
            return Ok(());
        }
        let commits = self.groups.iter().map(|(group, committed)| {
            let offsets = committed
                .iter()
                .map(|((topic, partition), offset)| (topic.clone(), *partition, offset.clone()));
            serde_json::to_vec(&Change::Commit {
                group: group.clone(),
                offsets: offsets.collect(),
            })
        });
        let commits = commits.collect::<Result<Vec<_>, _>>()?;
        self.journal.rewrite(&commits)
    }
}

fn apply(groups: &mut HashMap<String, Committed>, change: Change) {
    match change {
        Change::Commit { group, offsets } => {
            let committed = groups.entry(group).or_default();
            for (topic, partition, offset) in offsets {
                committed.insert((topic, partition), offset);
            }
        }
        Change::ForgetGroup { group } => {
            groups.remove(&group);
        }
        Change::ForgetTopic { topic } => {
            for committed in groups.values_mut() {
                committed.retain(|(name, _), _| *name != topic);
            }
            groups.retain(|_, committed| !committed.is_empty());
        }
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
