//! The SQL that changes one table, as text.
//!
//! Does no I/O. Every name goes through [`change::quoted`]; type names are what the target's
//! `format_type` wrote.

mod obstacle;
mod row;
mod staged;
mod touched;

pub(crate) use obstacle::{Element, Filling, Obstacle, ObstacleColumn};
pub(crate) use touched::{Noting, Touched};

use std::sync::Arc;

use change::TableName;

/// A table of the target with the columns that changes name, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) table: TableName,
    pub(crate) storage: Storage,
    pub(crate) columns: Vec<ShapeColumn>,
    pub(crate) has_key: bool,
    /// Name of the session's temporary table that holds rows for this one.
    pub(crate) stage: String,
}

/// Where a table's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In itself. Tables that inherit from it are tables of their own.
    Own,
    Partitions,
}

#[derive(Clone, Debug)]
pub(crate) struct ShapeColumn {
    pub(crate) name: String,
    /// The type as the target writes it; without modifier, unless values have to be given one.
    pub(crate) type_name: String,
    /// Of the columns of the key.
    pub(crate) equality: Option<Equality>,
    /// Its values come as another type: as text where its own takes no binary image, or as the source's
    /// where that is narrower.
    pub(crate) carried_as: Option<String>,
}

/// How values are compared with those of the key's index: a bare `=` is looked up in the session's
/// search path, and there is none for a domain over an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Equality {
    /// `operator(pg_catalog.=)`
    pub(crate) operator: String,
    /// The column's type with its domains taken off.
    pub(crate) base_type: String,
}

/// `MaxHeapAttributeNumber` (`htup_details.h`).
const COLUMNS_MAX: usize = 1_600;

/// What is done to a table by one statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TableStatement {
    /// One row, which is the parameters.
    Insert,
    Upsert,
    /// Sets the columns that are marked; the rest stay as they are. The parameters are those
    /// columns' values, then the key that the row has before.
    Patch(Columns),
    /// By the key; without one, one row that is equal in all columns.
    Delete,
    /// Rows straight into the table.
    Copy,
    /// Rows into the stage: values of the marked columns.
    CopyToStage(Columns),
    /// Counted rows into the stage, for a table without a key.
    CopyCounted,
    ClearStage,
    InsertStaged,
    UpsertStaged,
    PatchStaged(Columns),
    DeleteStaged,
    /// Notes that the staged keys are written.
    Note(Arc<Touched>, Noting),
    /// Brings the live rows of staged keys that were not written yet.
    Seed(Arc<Touched>),
    /// Brings the live row that has the second key, if the first was not written yet. The parameters
    /// are both keys.
    SeedMoved(Arc<Touched>),
}

/// Marks of columns.
pub(crate) type Columns = Box<[bool]>;

impl Shape {
    pub(crate) fn sql(&self, statement: &TableStatement) -> String {
        match statement {
            TableStatement::Insert => self.insert(),
            TableStatement::Upsert => format!("{}{}", self.insert(), self.on_conflict()),
            TableStatement::Patch(columns) => self.patch(columns),
            TableStatement::Delete if self.has_key => self.delete(),
            TableStatement::Delete => self.delete_equal(),
            TableStatement::Copy => self.copy(),
            TableStatement::CopyToStage(columns) => self.copy_to_stage(columns),
            TableStatement::CopyCounted => self.copy_counted(),
            TableStatement::ClearStage => format!("truncate {}", self.stage_name()),
            TableStatement::InsertStaged => self.insert_staged(),
            TableStatement::UpsertStaged => {
                format!("{}{}", self.insert_staged(), self.on_conflict())
            }
            TableStatement::PatchStaged(columns) => self.patch_staged(columns),
            TableStatement::DeleteStaged if self.has_key => self.delete_staged(),
            TableStatement::DeleteStaged => self.delete_equal_staged(),
            TableStatement::Note(touched, noting) => self.note(touched, *noting),
            TableStatement::Seed(touched) => self.seed(touched),
            TableStatement::SeedMoved(touched) => self.seed_moved(touched),
        }
    }

    /// Whether rows can go into the table as they are. COPY wants a column: a table may have none that
    /// is published (all are generated, or were dropped).
    pub(crate) fn takes_images(&self) -> bool {
        let is_carried = |column: &ShapeColumn| column.carried_as.is_none();
        !self.columns.is_empty() && self.columns.iter().all(is_carried)
    }

    /// Whether rows can go into a stage, which has room for the table's columns and its own.
    pub(crate) fn has_stage(&self) -> bool {
        let has_room = self.has_key || self.columns.len() + 2 <= COLUMNS_MAX;
        has_room && !self.columns.is_empty()
    }

    fn key(&self) -> impl Iterator<Item = &ShapeColumn> {
        self.columns
            .iter()
            .filter(|column| column.equality.is_some())
    }

    fn names(&self) -> String {
        list(self.columns.iter().map(ShapeColumn::quoted))
    }

    /// The table as statements name it that find, change or take away rows.
    pub(crate) fn rows(&self) -> String {
        match self.storage {
            Storage::Own => format!("only {}", self.table.quoted()),
            Storage::Partitions => self.table.quoted(),
        }
    }
}

impl ShapeColumn {
    fn quoted(&self) -> String {
        change::quoted(&self.name)
    }

    /// Whether two values of a key's column are equal to its index.
    fn equal(&self, left: &str, right: &str) -> String {
        match &self.equality {
            Some(Equality {
                operator,
                base_type,
            }) if *base_type == self.type_name => format!("{left} {operator} {right}"),
            Some(Equality {
                operator,
                base_type,
            }) => format!("{left}::{base_type} {operator} {right}::{base_type}"),
            None => format!("{left} = {right}"),
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
