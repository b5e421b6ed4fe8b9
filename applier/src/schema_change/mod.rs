//! Changes of tables, types and schemas: what is done with them, and the SQL that makes them here.
//!
//! Definitions come with the topics, so whoever may write there may write SQL here. It is run one
//! statement at a time, none of a client's statements is run at all, and `--schema-changes hold` runs
//! nothing.

mod constraints;
mod types;

mod plan;
pub(crate) use plan::{attachment, statements};

mod policy;
pub use policy::{NoSchemaPolicy, SchemaChanges, SchemaPolicy, TagPolicy};

use std::collections::HashSet;

use change::schema_change::{Notice, SchemaChange, Table};
use change::{Lsn, TableName};

use crate::error::RecordPlace;

/// A schema change where it stands among the changes of rows.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// So many of the portion's changes of rows come before it.
    pub(crate) changes: usize,
    pub(crate) change: SchemaChange,
    pub(crate) record: RecordPlace,
}

impl Placed {
    /// The tables that it is of, by the names they have before and after.
    pub(crate) fn tables(&self) -> Vec<TableName> {
        let (before, after) = self.change.notice.table().unwrap_or_default();
        let mut tables: Vec<TableName> = [before, after]
            .into_iter()
            .flatten()
            .map(Table::table_name)
            .collect();
        tables.dedup();
        tables
    }

    pub(crate) fn commit_lsn(&self) -> Lsn {
        self.change.position.commit_lsn
    }

    pub(crate) fn is_of(&self, held: &HashSet<TableName>) -> bool {
        self.tables().iter().any(|table| held.contains(table))
    }

    pub(crate) fn notice(&self) -> &Notice {
        &self.change.notice
    }
}
