//! Changes in commit order, and what is left to do of them when only the result counts.

mod compact;
mod sift;

pub(crate) use compact::{Done, Form, Stage, TableStage, stages};
pub(crate) use sift::{Aside, HeldKeys, Sifted};

use std::sync::Arc;

use change::{Lsn, Position};

use crate::decode::{Action, Plan, Row};
use crate::error::{ChangePlace, RecordPlace};
use crate::progress::Mark;

/// One change of one row, or the truncation of a table.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) position: Position,
    pub(crate) plan: Arc<Plan>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) action: Action,
}

impl Change {
    pub(crate) fn place(&self) -> Box<ChangePlace> {
        Box::new(ChangePlace {
            record: RecordPlace {
                topic: self.plan.topic.clone(),
                partition: self.partition,
                offset: self.offset,
            },
            position: self.position,
        })
    }

    /// The keys of the rows that it touches: where the row is then, and where it was before if it
    /// moved. In a table without a key the whole row is one.
    pub(crate) fn keys(&self) -> (Option<Row>, Option<&Row>) {
        let key_of = |row: &Row| match self.plan.has_key() {
            true => self.plan.key_of(row),
            false => Some(row.clone()),
        };
        match &self.action {
            Action::Insert(row) => (key_of(row), None),
            Action::Update { row, moved_from } => (key_of(row), moved_from.as_ref()),
            Action::Delete(key) => (Some(key.clone()), None),
            Action::Truncate | Action::Unreadable(_) => (None, None),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let row = match &self.action {
            Action::Insert(row) | Action::Delete(row) => row.len(),
            Action::Update { row, moved_from } => {
                row.len() + moved_from.as_ref().map_or(0, Row::len)
            }
            Action::Unreadable(record) => record.value.len(),
            Action::Truncate => 0,
        };
        row + size_of::<Self>()
    }
}

/// Changes that are applied at once: those of whole commits records, or a part of one's that is
/// too large to be held.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    pub(crate) changes: Vec<Change>,
    /// What the changes take in memory.
    pub(crate) bytes: usize,
    /// The commits records that end in it.
    pub(crate) borders: Vec<Border>,
}

/// Where a commits record ends.
#[derive(Debug)]
pub(crate) struct Border {
    /// So many of the portion's changes are of it or come before it.
    pub(crate) changes: usize,
    /// The source's transactions in it.
    pub(crate) transactions: usize,
    /// Where the target is afterwards.
    pub(crate) mark: Mark,
}

impl Portion {
    pub(crate) fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.changes.push(change);
    }

    /// Adds the end of a commits record.
    pub(crate) fn end(&mut self, mark: Mark, transactions: usize) {
        self.borders.push(Border {
            changes: self.changes.len(),
            transactions,
            mark,
        });
    }

    /// Where the target is after it; `None` when it stops in the middle of a commits record.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        let last = self.borders.last()?;
        (last.changes == self.changes.len()).then_some(&last.mark)
    }

    /// The source's transactions that end in it.
    pub(crate) fn transactions(&self) -> usize {
        self.borders.iter().map(|border| border.transactions).sum()
    }

    pub(crate) fn ends_in_truncate(&self) -> bool {
        let last = self.changes.last();
        last.is_some_and(|change| change.action == Action::Truncate)
    }

    /// Whether something in it committed at `lsn` or later.
    pub(crate) fn reaches(&self, lsn: Lsn) -> bool {
        let border = self.borders.last().map(|border| border.mark.applied);
        let change = self.changes.last().map(|it| it.position.commit_lsn);
        border.max(change).is_some_and(|last| last >= lsn)
    }

    /// Cuts it where everything that committed before `lsn` is in the first part, which then ends
    /// there, and returns the rest. `before` is where the target is before this portion.
    pub(crate) fn cut(&mut self, lsn: Lsn, before: &Mark) -> Self {
        let whole = self
            .borders
            .partition_point(|border| border.mark.applied < lsn);
        let last = self.borders[..whole].last();
        let (from, last) = match last {
            Some(border) => (border.changes, border.mark.clone()),
            None => (0, before.clone()),
        };
        let inside = self.changes[from..].partition_point(|it| it.position.commit_lsn < lsn);
        let at = from + inside;
        let mut rest = Self {
            changes: self.changes.split_off(at),
            borders: self.borders.split_off(whole),
            bytes: 0,
        };
        for border in &mut rest.borders {
            border.changes -= at;
        }
        rest.bytes = rest.changes.iter().map(Change::bytes).sum();
        self.bytes -= rest.bytes;
        self.end(last.within(lsn.just_before()), 0);
        rest
    }

    /// Takes a cut back.
    pub(crate) fn join(&mut self, rest: Self) {
        self.borders.pop();
        let at = self.changes.len();
        let borders = rest.borders.into_iter().map(|border| Border {
            changes: border.changes + at,
            ..border
        });
        self.borders.extend(borders);
        self.changes.extend(rest.changes);
        self.bytes += rest.bytes;
    }
}

#[cfg(test)]
mod tests;
