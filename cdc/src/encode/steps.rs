//! Which records one change becomes.

use change::envelope::Op;

use super::plan::TablePlan;
use crate::wire::pgoutput::OldTuple;
use crate::wire::{Column, TupleData};

/// One record to be: what was done, and the rows to tell of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    pub op: Op,
    pub before: Option<Vec<Column<'a>>>,
    pub after: Option<Vec<Column<'a>>>,
}

/// For a union's branch, a length, and what numbers take more as Avro.
const COLUMN_ROOM: usize = 8;

impl<'a> Step<'a> {
    /// About what its rows take when they are encoded, rather more than less.
    pub(super) fn room(&self) -> usize {
        let columns = self.before.iter().chain(&self.after).flatten();
        let room = |column: &Column<'_>| match column {
            Column::Binary(image) | Column::Text(image) => image.len() + COLUMN_ROOM,
            Column::Null | Column::UnchangedToast => COLUMN_ROOM,
        };
        columns.map(room).sum::<usize>() + COLUMN_ROOM
    }

    /// The row that the record's key is of.
    pub(super) fn keyed_row(&self) -> Option<&[Column<'a>]> {
        self.after.as_deref().or(self.before.as_deref())
    }
}

pub(crate) fn insert<'a>(op: Op, new: &TupleData<'a>) -> Step<'a> {
    Step {
        op,
        before: None,
        after: Some(new.iter().collect()),
    }
}

/// What the stream calls an insert may be an update that moved a row into the publication's filter:
/// then large values that it did not touch are left out.
pub(crate) fn inserted<'a>(new: &TupleData<'a>) -> Step<'a> {
    let row = insert(Op::Create, new);
    let is_part = row
        .after
        .iter()
        .flatten()
        .any(|column| *column == Column::UnchangedToast);
    match is_part {
        true => Step {
            op: Op::Update,
            ..row
        },
        false => row,
    }
}

/// All rows of a table.
pub(crate) fn truncation() -> Step<'static> {
    Step {
        op: Op::Truncate,
        before: None,
        after: None,
    }
}

pub(crate) fn delete<'a>(old: &OldTuple<'a>) -> Step<'a> {
    let (OldTuple::Key(row) | OldTuple::Full(row)) = old;
    Step {
        op: Op::Delete,
        before: Some(row.iter().collect()),
        after: None,
    }
}

/// An update is one record, or two where it changes the key (see [`change::envelope`]).
pub(crate) fn update<'a>(
    plan: &TablePlan,
    old: Option<&OldTuple<'a>>,
    new: &TupleData<'a>,
) -> (Step<'a>, Option<Step<'a>>) {
    let mut after: Vec<Column<'a>> = new.iter().collect();
    let Some(old) = old else {
        return (
            Step {
                op: Op::Update,
                before: None,
                after: Some(after),
            },
            None,
        );
    };
    let (OldTuple::Key(tuple) | OldTuple::Full(tuple)) = old;
    let before: Vec<Column<'a>> = tuple.iter().collect();
    if let OldTuple::Full(_) = old {
        fill_unchanged(&mut after, &before);
    }
    if plan.same_key(&before, &after) {
        return (
            Step {
                op: Op::Update,
                before: Some(before),
                after: Some(after),
            },
            None,
        );
    }
    fill_unchanged_key(plan, &mut after, &before);
    let gone = Step {
        op: Op::Delete,
        before: Some(before.clone()),
        after: None,
    };
    if after.contains(&Column::UnchangedToast) {
        let moved = Step {
            op: Op::Update,
            before: Some(before),
            after: Some(after),
        };
        return (moved, Some(gone));
    }
    (
        gone,
        Some(Step {
            op: Op::Create,
            before: None,
            after: Some(after),
        }),
    )
}

/// With REPLICA IDENTITY FULL the old row has what the new one leaves out.
fn fill_unchanged<'a>(after: &mut [Column<'a>], before: &[Column<'a>]) {
    for (new, old) in after.iter_mut().zip(before) {
        if *new == Column::UnchangedToast {
            *new = *old;
        }
    }
}

/// A TOASTed key column that did not change is in the old key.
fn fill_unchanged_key<'a>(plan: &TablePlan, after: &mut [Column<'a>], before: &[Column<'a>]) {
    for (column, (new, old)) in plan.columns.iter().zip(after.iter_mut().zip(before)) {
        if column.in_key && *new == Column::UnchangedToast {
            *new = *old;
        }
    }
}
