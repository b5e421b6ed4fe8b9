//! What is left of changes when only their result counts: for each row its last state.
//!
//! Does no I/O. Rows of different keys do not depend on each other (foreign keys and triggers do
//! not fire while we write), so their order is free between barriers: a TRUNCATE, an update that
//! moves a row to another key but does not bring all its columns, and a changed schema of a table.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use change::TableName;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::Change;
use crate::decode::{Action, Plan, Row, Value};

/// How much of the order is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Only each row's last state, new rows by COPY.
    Compacted,
    /// Only each row's last state; new rows may turn out to be there.
    Upserted,
    /// One change after the other, as the source made them: what holds when rows hand a unique
    /// value to each other.
    Stepwise,
}

/// Work that is done before the next stage.
#[derive(Debug)]
pub(crate) enum Stage<'a> {
    Rows(Vec<TableStage<'a>>),
    /// One statement, for tables that refer to each other.
    Truncate(Vec<&'a Change>),
    Move {
        change: &'a Change,
        row: &'a Row,
        old_key: &'a Row,
    },
}

/// What is done to one table's rows. Each key is in one list only.
#[derive(Debug)]
pub(crate) struct TableStage<'a> {
    pub(crate) plan: &'a Arc<Plan>,
    /// Keys, or whole rows of a table without a key.
    pub(crate) deletes: Vec<Done<'a>>,
    /// Rows that are there, of which some values stay as they are.
    pub(crate) patches: Vec<Done<'a>>,
    /// Complete rows that may be there.
    pub(crate) upserts: Vec<Done<'a>>,
    /// Complete rows that are not there unless they were applied before.
    pub(crate) inserts: Vec<Done<'a>>,
}

/// The result of a row's changes, the last of which is `change`.
#[derive(Clone, Debug)]
pub(crate) struct Done<'a> {
    pub(crate) row: Cow<'a, Row>,
    /// How many equal rows; 1 in a table with a key.
    pub(crate) times: u64,
    pub(crate) change: &'a Change,
}

/// Sorts `changes`, which are in commit order, into stages.
pub(crate) fn stages<'a>(
    changes: impl IntoIterator<Item = &'a Change>,
    form: Form,
) -> Vec<Stage<'a>> {
    let mut staging = Staging {
        form,
        stages: Vec::new(),
        open: Vec::new(),
        by_table: HashMap::new(),
        recent: None,
    };
    for change in changes {
        staging.add(change);
    }
    staging.close();
    staging.stages
}

struct Staging<'a> {
    form: Form,
    stages: Vec<Stage<'a>>,
    /// The tables of the stage that is being filled.
    open: Vec<Table<'a>>,
    by_table: HashMap<&'a TableName, usize>,
    /// The one of the last change.
    recent: Option<usize>,
}

/// A table of the stage that is being filled.
struct Table<'a> {
    plan: &'a Arc<Plan>,
    rows: Vec<State<'a>>,
    /// Places in `rows`, with the hashes of their keys. Keys themselves stand in the rows.
    by_key: HashTable<(u64, usize)>,
    hashing: DefaultHashBuilder,
}

/// A row's state after the changes so far, by what must be known of the target to reach it.
struct State<'a> {
    kind: Kind,
    /// The row, or the key of a deleted one.
    done: Done<'a>,
    /// How often, in a table without a key; negative when rows go.
    count: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Insert,
    Upsert,
    Patch,
    Delete,
}

impl<'a> Staging<'a> {
    fn add(&mut self, change: &'a Change) {
        match &change.action {
            Action::Truncate => return self.truncate(change),
            Action::Update {
                row,
                moved_from: Some(old_key),
            } => {
                self.close();
                self.stages.push(Stage::Move {
                    change,
                    row,
                    old_key,
                });
                return;
            }
            Action::Insert(_)
            | Action::Delete(_)
            | Action::Update {
                moved_from: None, ..
            } => {}
            Action::Unreadable(_) => return,
        }
        let table = self.table(&change.plan);
        match change.plan.has_key() {
            true => table.add_keyed(change),
            false => table.add_counted(change),
        }
        if self.form == Form::Stepwise {
            self.close();
        }
    }

    fn truncate(&mut self, change: &'a Change) {
        self.close();
        if let Some(Stage::Truncate(run)) = self.stages.last_mut()
            && run[0].position.commit_lsn == change.position.commit_lsn
        {
            run.push(change);
            return;
        }
        self.stages.push(Stage::Truncate(vec![change]));
    }

    fn table(&mut self, plan: &'a Arc<Plan>) -> &mut Table<'a> {
        // Changes of one table follow each other.
        if self
            .recent
            .is_none_or(|at| !Arc::ptr_eq(self.open[at].plan, plan))
        {
            self.recent = Some(self.place(plan));
        }
        &mut self.open[self.recent.expect("set above")]
    }

    fn place(&mut self, plan: &'a Arc<Plan>) -> usize {
        let known = self.by_table.get(&plan.relation.table).copied();
        if known.is_some_and(|at| self.open[at].plan.schema != plan.schema) {
            self.close();
        }
        let fresh = self.open.len();
        let at = *self.by_table.entry(&plan.relation.table).or_insert(fresh);
        if at == fresh {
            self.open.push(Table {
                plan,
                rows: Vec::new(),
                by_key: HashTable::new(),
                hashing: DefaultHashBuilder::default(),
            });
        }
        at
    }

    fn close(&mut self) {
        self.by_table.clear();
        self.recent = None;
        let (form, open) = (self.form, self.open.drain(..));
        let tables: Vec<TableStage<'a>> = open.map(|table| table.finish(form)).collect();
        if !tables.is_empty() {
            self.stages.push(Stage::Rows(tables));
        }
    }
}

impl<'a> Table<'a> {
    fn add_keyed(&mut self, change: &'a Change) {
        let (row, kind) = match &change.action {
            Action::Insert(row) => (row, Kind::Insert),
            Action::Update { row, .. } if row.has_unchanged() => (row, Kind::Patch),
            Action::Update { row, .. } => (row, Kind::Upsert),
            Action::Delete(key) => (key, Kind::Delete),
            Action::Truncate | Action::Unreadable(_) => return,
        };
        let done = Done {
            row: Cow::Borrowed(row),
            times: 1,
            change,
        };
        let at = self.place(kind, row);
        match self.rows.get_mut(at) {
            Some(state) => state.follow(kind, done),
            None => self.rows.push(State {
                kind,
                done,
                count: 1,
            }),
        }
    }

    /// The place of the row that has the key of `row`; if there is none, that of the next one.
    fn place(&mut self, kind: Kind, row: &Row) -> usize {
        let (plan, rows) = (self.plan, &self.rows);
        let mut hasher = self.hashing.build_hasher();
        key(plan, kind, row).for_each(|value| value.hash(&mut hasher));
        let hash = hasher.finish();
        let is_same = |(_, at): &(u64, usize)| {
            let State { kind: of, done, .. } = &rows[*at];
            key(plan, *of, &done.row).eq(key(plan, kind, row))
        };
        match self.by_key.find(hash, is_same) {
            Some((_, at)) => *at,
            None => {
                let fresh = (hash, rows.len());
                self.by_key.insert_unique(hash, fresh, |(hash, _)| *hash);
                rows.len()
            }
        }
    }

    /// Equal rows cannot be told apart, so only how many of them come or go counts.
    fn add_counted(&mut self, change: &'a Change) {
        let (row, count) = match &change.action {
            Action::Insert(row) | Action::Update { row, .. } => (row, 1),
            Action::Delete(row) => (row, -1),
            Action::Truncate | Action::Unreadable(_) => return,
        };
        let done = Done {
            row: Cow::Borrowed(row),
            times: 1,
            change,
        };
        let at = self.place(Kind::Insert, row);
        match self.rows.get_mut(at) {
            Some(state) => {
                state.count += count;
                state.done.change = change;
            }
            None => self.rows.push(State {
                kind: Kind::Insert,
                done,
                count,
            }),
        }
    }

    fn finish(self, form: Form) -> TableStage<'a> {
        let mut stage = TableStage {
            plan: self.plan,
            deletes: Vec::new(),
            patches: Vec::new(),
            upserts: Vec::new(),
            inserts: Vec::new(),
        };
        for state in self.rows {
            let list = match state.kind {
                Kind::Insert if state.count < 0 => &mut stage.deletes,
                Kind::Insert if form != Form::Compacted && self.plan.has_key() => {
                    &mut stage.upserts
                }
                Kind::Insert => &mut stage.inserts,
                Kind::Upsert => &mut stage.upserts,
                Kind::Patch => &mut stage.patches,
                Kind::Delete => &mut stage.deletes,
            };
            if state.count != 0 {
                list.push(Done {
                    times: state.count.unsigned_abs(),
                    ..state.done
                });
            }
        }
        stage
    }
}

/// The values of a row's key. Of a deleted row the key is all there is.
fn key<'r>(plan: &'r Plan, kind: Kind, row: &'r Row) -> impl Iterator<Item = Value<'r>> {
    let columns = plan.relation.columns.iter().zip(row.values());
    let is_key = kind == Kind::Delete && plan.has_key();
    columns
        .filter(move |(column, _)| is_key || column.in_key)
        .map(|(_, value)| value)
}

impl<'a> State<'a> {
    /// The state after one more change of the row.
    fn follow(&mut self, kind: Kind, done: Done<'a>) {
        self.kind = match (self.kind, kind) {
            // Not there before these changes, so still to be inserted.
            (Kind::Insert, Kind::Insert | Kind::Upsert | Kind::Patch) => Kind::Insert,
            // There is nothing to update: the row was deleted before.
            (Kind::Delete, Kind::Patch) => {
                self.done.change = done.change;
                return;
            }
            (Kind::Patch, Kind::Patch) => Kind::Patch,
            (Kind::Upsert, Kind::Patch) => Kind::Upsert,
            (_, Kind::Delete) => Kind::Delete,
            (Kind::Upsert | Kind::Patch | Kind::Delete, Kind::Insert | Kind::Upsert) => {
                Kind::Upsert
            }
        };
        let row = match kind {
            Kind::Patch => Cow::Owned(done.row.over(&self.done.row)),
            Kind::Insert | Kind::Upsert | Kind::Delete => done.row.clone(),
        };
        self.done = Done { row, ..done };
    }
}

#[cfg(test)]
mod tests;
