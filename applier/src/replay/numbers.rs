//! What a replay does to a table, in numbers.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use change::TableName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a replay does, or did, to one table's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Numbers {
    /// Changes in the topics from the beginning to the end.
    pub read: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows that are as they should be, or gone as they should be.
    pub unchanged: u64,
    /// Rows whose present state comes from a later change: to apply the changes naively would have
    /// put them back.
    pub going_backwards: u64,
}

pub type TableNumbers = BTreeMap<TableName, Numbers>;

impl AddAssign for Numbers {
    fn add_assign(&mut self, more: Self) {
        self.read += more.read;
        self.inserted += more.inserted;
        self.updated += more.updated;
        self.deleted += more.deleted;
        self.unchanged += more.unchanged;
        self.going_backwards += more.going_backwards;
    }
}

impl Numbers {
    /// Rows that it looks at.
    pub fn rows(&self) -> u64 {
        self.inserted + self.updated + self.deleted + self.unchanged
    }
}

/// A table with its numbers. In lists of these it is named by two texts, since a name in one could
/// not be taken apart again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TableRows {
    pub schema: String,
    pub table: String,
    #[serde(flatten)]
    pub numbers: Numbers,
}

pub fn table_rows(tables: &TableNumbers) -> Vec<TableRows> {
    let rows = tables.iter().map(|(table, numbers)| TableRows {
        schema: table.schema.clone(),
        table: table.name.clone(),
        numbers: *numbers,
    });
    rows.collect()
}

pub(super) fn to_json(tables: &TableNumbers) -> Value {
    json!(table_rows(tables))
}

/// What [`to_json`] wrote.
pub(super) fn of_json(value: &Value) -> TableNumbers {
    let rows = Vec::<TableRows>::deserialize(value).unwrap_or_default();
    let entry = |it: TableRows| (TableName::new(it.schema, it.table), it.numbers);
    rows.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = Numbers {
            read: 6,
            inserted: 1,
            updated: 2,
            deleted: 3,
            unchanged: 4,
            going_backwards: 5,
        };
        let tables = TableNumbers::from([
            (TableName::new("a.b", "c"), numbers),
            (TableName::new("a", "b.c"), Numbers::default()),
        ]);
        assert_eq!(of_json(&to_json(&tables)), tables);
        assert_eq!(numbers.rows(), 10);
    }
}
