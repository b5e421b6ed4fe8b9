//! Changes in commit order, and what is left to do of them when only the result counts.

mod compact;

pub(crate) use compact::{Done, Form, Stage, TableStage, stages};

use std::sync::Arc;

use change::Position;

use crate::decode::{Action, Plan};
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

    pub(crate) fn bytes(&self) -> usize {
        let row = match &self.action {
            Action::Insert(row) | Action::Delete(row) => row.len(),
            Action::Update { row, moved_from } => {
                row.len() + moved_from.as_ref().map_or(0, crate::decode::Row::len)
            }
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
    /// The source's transactions that end in it.
    pub(crate) transactions: usize,
    /// Where the target is afterwards; `None` in the middle of a commits record.
    pub(crate) end: Option<Mark>,
}

impl Portion {
    /// Adds a change of a commits record that is not complete by it.
    pub(crate) fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.changes.push(change);
        self.end = None;
    }

    pub(crate) fn ends_in_truncate(&self) -> bool {
        let last = self.changes.last();
        last.is_some_and(|change| change.action == Action::Truncate)
    }
}
