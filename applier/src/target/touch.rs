//! What is done before a stage's rows are written, where it is noted which keys are.
//!
//! Does no I/O.

use std::sync::Arc;

use super::job::{Job, JobRow, Way};
use crate::batch::{Change, Done, Stage, TableStage};
use crate::decode::{Fields, Plan, Row, Value};
use crate::statement::{Columns, Noting, TableStatement, Touched};

/// The keys that a stage writes in one table.
pub(super) struct Keys<'a> {
    plan: &'a Plan,
    touched: Arc<Touched>,
    noting: Noting,
    first: &'a Change,
    /// Of rows of which only some values are written.
    patched: Vec<Row>,
    others: Vec<Row>,
    moved: Option<Moved<'a>>,
}

/// An update that moved a row and did not bring all its values.
struct Moved<'a> {
    row: &'a Row,
    /// The old key, then the new one.
    keys: Row,
}

impl<'a> Keys<'a> {
    /// Of every table of the stage; `None` where it writes no rows.
    pub(super) fn of(
        stage: &'a Stage<'a>,
        noting: Noting,
        touched: impl Fn(&Plan) -> Option<Arc<Touched>>,
    ) -> Vec<Self> {
        match stage {
            Stage::Truncate(_) => Vec::new(),
            Stage::Rows(tables) => tables
                .iter()
                .filter_map(|table| Self::of_table(table, noting, touched(table.plan)?))
                .collect(),
            Stage::Move {
                change,
                row,
                old_key,
            } => {
                let keys = touched(&change.plan)
                    .and_then(|touched| Self::of_move(change, row, old_key, noting, touched));
                keys.into_iter().collect()
            }
        }
    }

    fn of_table(table: &'a TableStage<'a>, noting: Noting, touched: Arc<Touched>) -> Option<Self> {
        let key_of = |done: &Done<'_>| table.plan.key_of(&done.row);
        let whole = table.upserts.iter().chain(&table.inserts);
        let deleted = table
            .deletes
            .iter()
            .map(|done| done.row.clone().into_owned());
        let first = whole
            .clone()
            .chain(&table.patches)
            .chain(&table.deletes)
            .next()?;
        Some(Self {
            plan: table.plan,
            touched,
            noting,
            first: first.change,
            patched: table.patches.iter().filter_map(key_of).collect(),
            others: whole.filter_map(key_of).chain(deleted).collect(),
            moved: None,
        })
    }

    fn of_move(
        change: &'a Change,
        row: &'a Row,
        old_key: &Row,
        noting: Noting,
        touched: Arc<Touched>,
    ) -> Option<Self> {
        let new_key = change.plan.key_of(row)?;
        let mut both = Fields::default();
        for value in old_key.values().chain(new_key.values()) {
            both.push(value);
        }
        Some(Self {
            plan: &change.plan,
            touched,
            noting,
            first: change,
            patched: Vec::new(),
            others: vec![old_key.clone(), new_key],
            moved: Some(Moved {
                row,
                keys: both.row(),
            }),
        })
    }

    /// What comes before the rows are written.
    pub(super) fn before(&self) -> Vec<Job<'_>> {
        let mut jobs = Vec::new();
        if let Some(moved) = &self.moved {
            let statement = TableStatement::SeedMoved(Arc::clone(&self.touched));
            jobs.push(self.job(Way::Each(statement), [&moved.keys]));
        }
        if !self.patched.is_empty() {
            let seed = TableStatement::Seed(Arc::clone(&self.touched));
            jobs.push(self.job(self.staged(seed), &self.patched));
        }
        let note = TableStatement::Note(Arc::clone(&self.touched), self.noting);
        jobs.push(self.job(self.staged(note), self.patched.iter().chain(&self.others)));
        jobs
    }

    /// What comes after it: a row that was brought has its new key already.
    pub(super) fn after(&self) -> Option<Job<'_>> {
        let moved = self.moved.as_ref()?;
        let columns = self.plan.relation.columns.iter().zip(moved.row.values());
        let marked: Columns = columns
            .map(|(column, value)| !column.in_key && value != Value::Unchanged)
            .collect();
        let statement = TableStatement::Patch(marked.clone());
        let any = marked.contains(&true);
        any.then(|| self.job(Way::Each(statement), [moved.row]))
    }

    fn staged(&self, then: TableStatement) -> Way {
        let columns = self.plan.relation.columns.iter();
        Way::Stage {
            columns: Some(columns.map(|column| column.in_key).collect()),
            then,
        }
    }

    fn job<'b>(&'b self, way: Way, rows: impl IntoIterator<Item = &'b Row>) -> Job<'b> {
        let row = |row| JobRow {
            row,
            key: None,
            times: 1,
            change: self.first,
        };
        Job {
            plan: self.plan,
            way,
            rows: rows.into_iter().map(row).collect(),
            of_rows_there: false,
        }
    }
}
