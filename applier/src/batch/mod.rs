//! Changes in commit order, and what is left to do of them when only the result counts.

mod compact;
mod sift;

pub(crate) use compact::{Done, Form, Stage, TableStage, stages};
pub(crate) use sift::{Aside, HeldKeys, Sifted};

use std::collections::BTreeMap;
use std::sync::Arc;

use change::commit::SequenceState;
use change::schema_change::SchemaChange;
use change::{Lsn, Position};

use crate::decode::{Action, Plan, Row};
use crate::error::{ChangePlace, RecordPlace};
use crate::progress::Mark;
use crate::schema_change::Placed;

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
    /// Changes of tables, where they stand among those of rows.
    pub(crate) schema_changes: Vec<Placed>,
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
    pub(crate) schema_changes: usize,
    /// The source's transactions in it.
    pub(crate) transactions: usize,
    /// Where the target is afterwards.
    pub(crate) mark: Mark,
    /// How far sequences of the source are by then.
    pub(crate) sequences: Vec<SequenceState>,
}

impl Portion {
    /// Adds a change of a table.
    pub(crate) fn place(&mut self, change: SchemaChange, record: RecordPlace) {
        self.schema_changes.push(Placed {
            changes: self.changes.len(),
            change,
            record,
        });
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.changes.push(change);
    }

    /// Adds the end of a commits record.
    pub(crate) fn end(&mut self, mark: Mark, transactions: usize, sequences: Vec<SequenceState>) {
        self.borders.push(Border {
            changes: self.changes.len(),
            schema_changes: self.schema_changes.len(),
            transactions,
            mark,
            sequences,
        });
    }

    /// How far sequences of the source are at its end, by schema and name.
    pub(crate) fn sequences(&self) -> BTreeMap<(&str, &str), i64> {
        let states = self.borders.iter().flat_map(|border| &border.sequences);
        states
            .map(|it| ((it.schema.as_str(), it.name.as_str()), it.last_value))
            .collect()
    }

    /// Where the target is after it; `None` when it stops in the middle of a commits record.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        let last = self.borders.last()?;
        let is_last =
            last.changes == self.changes.len() && last.schema_changes == self.schema_changes.len();
        is_last.then_some(&last.mark)
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
        let schema_change = self.schema_changes.last().map(Placed::commit_lsn);
        let last = border.max(change).max(schema_change);
        last.is_some_and(|last| last >= lsn)
    }

    /// Where to cut it so that a transaction that changes a table is applied by itself: what a table
    /// was prepared for is something else behind it, and some changes must commit before they can be
    /// used.
    pub(crate) fn schema_border(&self) -> Option<Lsn> {
        let lsn = self.schema_changes.first()?.commit_lsn();
        let change = self.changes.first().map(|it| it.position.commit_lsn);
        let border = self.borders.first().map(|border| border.mark.applied);
        let something_before = [change, border].into_iter().flatten().any(|it| it < lsn);
        match something_before {
            true => Some(lsn),
            false => Some(Lsn::new(lsn.as_u64() + 1)).filter(|next| self.reaches(*next)),
        }
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
        let before = |it: &Placed| it.commit_lsn() < lsn;
        let schema_at = self.schema_changes.partition_point(before);
        let mut rest = Self {
            schema_changes: self.schema_changes.split_off(schema_at),
            changes: self.changes.split_off(at),
            borders: self.borders.split_off(whole),
            bytes: 0,
        };
        for border in &mut rest.borders {
            border.changes -= at;
            border.schema_changes -= schema_at;
        }
        for placed in &mut rest.schema_changes {
            placed.changes -= at;
        }
        rest.bytes = rest.changes.iter().map(Change::bytes).sum();
        self.bytes -= rest.bytes;
        self.end(last.within(lsn.just_before()), 0, Vec::new());
        rest
    }

    /// Takes a cut back.
    pub(crate) fn join(&mut self, rest: Self) {
        self.borders.pop();
        let (at, schema_at) = (self.changes.len(), self.schema_changes.len());
        let borders = rest.borders.into_iter().map(|border| Border {
            changes: border.changes + at,
            schema_changes: border.schema_changes + schema_at,
            ..border
        });
        let placed = rest.schema_changes.into_iter().map(|placed| Placed {
            changes: placed.changes + at,
            ..placed
        });
        self.schema_changes.extend(placed);
        self.borders.extend(borders);
        self.changes.extend(rest.changes);
        self.bytes += rest.bytes;
    }
}

#[cfg(test)]
mod tests;
