//! What a replay does to a table, in numbers.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use change::TableName;
use serde_json::{Map, Value, json};

/// What a replay does, or did, to one table's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    pub fn to_json(self) -> Value {
        json!({
            "read": self.read,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "unchanged": self.unchanged,
            "going_backwards": self.going_backwards,
        })
    }

    fn of_json(value: &Value) -> Self {
        let number = |name| value.get(name).and_then(Value::as_u64).unwrap_or_default();
        Self {
            read: number("read"),
            inserted: number("inserted"),
            updated: number("updated"),
            deleted: number("deleted"),
            unchanged: number("unchanged"),
            going_backwards: number("going_backwards"),
        }
    }
}

/// A list, since a table's name in one text could not be taken apart again.
pub fn to_json(tables: &TableNumbers) -> Value {
    let entry = |(table, numbers): (&TableName, &Numbers)| {
        let mut entry = Map::new();
        entry.insert("schema".to_owned(), table.schema.clone().into());
        entry.insert("table".to_owned(), table.name.clone().into());
        if let Value::Object(numbers) = numbers.to_json() {
            entry.extend(numbers);
        }
        Value::Object(entry)
    };
    Value::Array(tables.iter().map(entry).collect())
}

/// What [`to_json`] wrote.
pub(super) fn of_json(value: &Value) -> TableNumbers {
    let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let entry = |entry: &Value| {
        let text = |name| entry.get(name).and_then(Value::as_str);
        let table = TableName::new(text("schema")?, text("table")?);
        Some((table, Numbers::of_json(entry)))
    };
    entries.iter().filter_map(entry).collect()
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
