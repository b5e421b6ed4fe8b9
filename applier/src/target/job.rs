//! Which statements bring about a stage: few rows one by one, many or large ones by COPY.
//!
//! Does no I/O.

use std::collections::BTreeMap;

use crate::batch::{Change, Done, TableStage};
use crate::decode::{Plan, Row, Value};
use crate::statement::{Columns, Shape, TableStatement};

/// One statement, or one kind of statement, and the rows that it is for.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) way: Way,
    pub(super) rows: Vec<JobRow<'a>>,
    /// Whether the target should have the rows.
    pub(super) of_rows_there: bool,
}

/// How the rows get to the target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As the parameters of a statement each.
    Each(TableStatement),
    /// Straight into the table.
    Copy,
    /// Into the stage (the marked columns, or counted whole rows), then by one statement.
    Stage {
        columns: Option<Columns>,
        then: TableStatement,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct JobRow<'a> {
    pub(super) row: &'a Row,
    /// The key that the row has on the target, where that is not the one in it.
    pub(super) key: Option<&'a Row>,
    pub(super) times: u64,
    pub(super) change: &'a Change,
}

/// From here on a COPY and its round trips cost less than the statements.
const MANY: usize = 100;
/// And from here on less memory: a statement is held as a whole, what is copied goes in pieces.
const LARGE_BYTES: usize = 4 << 20;
/// Without a key every delete reads the whole table.
const MANY_WITHOUT_KEY: usize = 2;

/// The jobs for one table in their order: first rows that go, so that their unique values are free.
pub(super) fn jobs<'a>(stage: &'a TableStage<'a>, shape: &Shape) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    let plan: &Plan = stage.plan;
    if !stage.deletes.is_empty() {
        jobs.push(deletes(plan, shape, &stage.deletes));
    }
    jobs.extend(patches(plan, &stage.patches));
    if !stage.upserts.is_empty() {
        let (each, then) = (TableStatement::Upsert, TableStatement::UpsertStaged);
        jobs.push(writes(plan, &stage.upserts, each, then));
    }
    if !stage.inserts.is_empty() {
        let (each, then) = match plan.has_key() {
            true => (TableStatement::Upsert, TableStatement::UpsertStaged),
            false => (TableStatement::Insert, TableStatement::InsertStaged),
        };
        let mut job = writes(plan, &stage.inserts, each, then);
        if are_many(stage.inserts.iter().map(|done| &*done.row)) && shape.takes_images() {
            job.way = Way::Copy;
        } else if !shape.has_stage() {
            job.way = Way::Each(TableStatement::Insert);
        }
        jobs.push(job);
    }
    jobs
}

fn are_many<'a>(rows: impl ExactSizeIterator<Item = &'a Row>) -> bool {
    rows.len() >= MANY || rows.map(Row::len).sum::<usize>() >= LARGE_BYTES
}

/// The job for a row that an update moved to another key.
pub(super) fn move_job<'a>(change: &'a Change, row: &'a Row, old_key: &'a Row) -> Job<'a> {
    let marked = row.values().map(|value| value != Value::Unchanged);
    Job {
        plan: &change.plan,
        way: Way::Each(TableStatement::Patch(marked.collect())),
        rows: vec![JobRow {
            row,
            key: Some(old_key),
            times: 1,
            change,
        }],
        of_rows_there: true,
    }
}

fn deletes<'a>(plan: &'a Plan, shape: &Shape, rows: &'a [Done<'a>]) -> Job<'a> {
    let many = match plan.has_key() {
        true => MANY,
        false => MANY_WITHOUT_KEY,
    };
    let columns = plan.relation.columns.iter().map(|column| column.in_key);
    Job {
        plan,
        way: match rows.len() >= many && shape.has_stage() {
            true => Way::Stage {
                columns: plan.has_key().then(|| columns.collect()),
                then: TableStatement::DeleteStaged,
            },
            false => Way::Each(TableStatement::Delete),
        },
        rows: rows.iter().map(JobRow::of).collect(),
        // A key that a move took away is deleted once more.
        of_rows_there: !plan.has_key(),
    }
}

/// One job for all rows whose patch sets the same columns. A patch that sets none is no job.
fn patches<'a>(plan: &'a Plan, rows: &'a [Done<'a>]) -> Vec<Job<'a>> {
    let mut groups: BTreeMap<Columns, Vec<JobRow<'a>>> = BTreeMap::new();
    for done in rows {
        let columns = plan.relation.columns.iter().zip(done.row.values());
        let marked: Columns = columns
            .map(|(column, value)| !column.in_key && value != Value::Unchanged)
            .collect();
        if marked.contains(&true) {
            groups.entry(marked).or_default().push(JobRow::of(done));
        }
    }
    let job = |(marked, rows): (Columns, Vec<JobRow<'a>>)| {
        let with_key = plan.relation.columns.iter().zip(&marked);
        let with_key = with_key.map(|(column, marked)| column.in_key || *marked);
        let way = match are_many(rows.iter().map(|row| row.row)) {
            true => Way::Stage {
                columns: Some(with_key.collect()),
                then: TableStatement::PatchStaged(marked),
            },
            false => Way::Each(TableStatement::Patch(marked)),
        };
        Job {
            plan,
            way,
            rows,
            of_rows_there: true,
        }
    };
    groups.into_iter().map(job).collect()
}

fn writes<'a>(
    plan: &'a Plan,
    rows: &'a [Done<'a>],
    each: TableStatement,
    then: TableStatement,
) -> Job<'a> {
    let all = plan.relation.columns.iter().map(|_| true);
    Job {
        plan,
        way: match are_many(rows.iter().map(|done| &*done.row)) {
            true => Way::Stage {
                columns: Some(all.collect()),
                then,
            },
            false => Way::Each(each),
        },
        rows: rows.iter().map(JobRow::of).collect(),
        of_rows_there: false,
    }
}

impl<'a> JobRow<'a> {
    fn of(done: &'a Done<'a>) -> Self {
        Self {
            row: &done.row,
            key: None,
            times: done.times,
            change: done.change,
        }
    }
}

impl Job<'_> {
    /// The statements that it needs.
    pub(super) fn statements(&self) -> Vec<TableStatement> {
        match &self.way {
            Way::Each(statement) => vec![statement.clone()],
            Way::Copy => vec![TableStatement::Copy],
            Way::Stage { columns, then } => vec![
                copy_to_stage(columns.as_ref()),
                then.clone(),
                TableStatement::ClearStage,
            ],
        }
    }
}

pub(super) fn copy_to_stage(columns: Option<&Columns>) -> TableStatement {
    match columns {
        Some(columns) => TableStatement::CopyToStage(columns.clone()),
        None => TableStatement::CopyCounted,
    }
}
