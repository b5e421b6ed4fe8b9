//! From which offset on each leader epoch appended (KIP-101): by this a client finds out whether
//! what it has read is still what the log holds (KIP-320).

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Epochs {
    /// Epoch and start offset, both rising.
    starts: Vec<(i32, i64)>,
}

/// The last epoch that is not after the one asked for, and the offset after its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct EpochEnd {
    pub(in crate::kafka) epoch: i32,
    pub(in crate::kafka) end_offset: i64,
}

impl Epochs {
    /// Notes that `epoch` appends from `offset` on. An epoch that appended nothing is forgotten.
    pub(super) fn begin(&mut self, epoch: i32, offset: i64) {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        self.forget_from(offset);
        self.starts.push((epoch, offset));
    }

    /// Forgets epochs that begin at or after an offset, because the log is cut or read again there.
    pub(super) fn forget_from(&mut self, offset: i64) {
        self.starts.retain(|(_, start)| *start < offset);
    }

    /// Forgets epochs that ended at or before an offset.
    pub(super) fn forget_before(&mut self, offset: i64) {
        let later = self.starts.partition_point(|(_, start)| *start <= offset);
        self.starts.drain(..later.saturating_sub(1));
    }

    /// `LeaderEpochFileCache.endOffsetFor` in Kafka. `None` when that epoch is not known.
    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if epoch == latest {
            let end_offset = log_end;
            return Some(EpochEnd { epoch, end_offset });
        }
        let later = self.starts.partition_point(|(known, _)| *known <= epoch);
        let (_, end_offset) = *self.starts.get(later)?;
        let floor = later.checked_sub(1).and_then(|at| self.starts.get(at));
        let epoch = floor.map_or(epoch, |(known, _)| *known);
        Some(EpochEnd { epoch, end_offset })
    }

    /// The epoch that appended the record at an offset.
    pub(super) fn at(&self, offset: i64) -> Option<i32> {
        let later = self.starts.partition_point(|(_, start)| *start <= offset);
        let at = later.checked_sub(1)?;
        self.starts.get(at).map(|(epoch, _)| *epoch)
    }

    fn latest(&self) -> Option<i32> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(starts: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, offset) in starts {
            epochs.begin(*epoch, *offset);
        }
        epochs
    }

    #[track_caller]
    fn check(epoch: i32, expected: Option<(i32, i64)>) {
        let found = epochs(&[(2, 0), (3, 10), (5, 10), (7, 30)]).end_of(epoch, 40);
        let found = found.map(|end| (end.epoch, end.end_offset));
        assert_eq!(found, expected, "epoch {epoch}");
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        check(1, Some((1, 0)));
        check(2, Some((2, 10)));
        // The third appended nothing.
        check(3, Some((2, 10)));
        check(4, Some((2, 10)));
        check(5, Some((5, 30)));
        check(6, Some((5, 30)));
        check(7, Some((7, 40)));
        check(8, None);
    }

    #[test]
    fn what_is_cut_is_forgotten_at_both_ends() {
        let mut epochs = epochs(&[(0, 0), (1, 10), (2, 20)]);
        epochs.forget_before(15);
        assert_eq!(epochs.at(9), None);
        assert_eq!(epochs.at(15), Some(1));
        epochs.forget_from(20);
        assert_eq!(epochs.at(25), Some(1));
    }
}
