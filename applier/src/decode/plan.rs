//! How the records of one schema are read, worked out once per schema id.

use std::collections::HashMap;

use change::TableName;
use change::envelope::{SchemaError, relation_of};
use change::framing::SchemaId;
use change::relation::{Key, Relation};
use change::value::Mapping;

use super::row::{Fields, Row, Value};

/// A table's shape at one schema id, and how to read its records.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) schema: SchemaId,
    /// The only topic whose records may have the schema.
    pub(crate) topic: String,
    pub(crate) relation: Relation,
    pub(super) fields: Vec<Field>,
    by_name: HashMap<String, usize>,
}

/// How one column's value stands in a row's datum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) mapping: Mapping,
    /// Whether the datum starts with a union's branch.
    pub(super) nullable: bool,
}

impl Plan {
    /// # Errors
    /// When the schema is not one of change records.
    pub(crate) fn compile(schema: SchemaId, topic: &str, text: &str) -> Result<Self, SchemaError> {
        let relation = relation_of(text)?;
        let field = |column| Field {
            nullable: relation.is_nullable(column),
            mapping: column.mapping,
        };
        let fields = relation.columns.iter().map(field).collect();
        let names = relation.columns.iter().enumerate();
        let by_name = names
            .map(|(at, column)| (column.name.clone(), at))
            .collect();
        Ok(Self {
            schema,
            topic: topic.to_owned(),
            relation,
            fields,
            by_name,
        })
    }

    /// Of a table whose records of this schema cannot be read.
    pub(crate) fn opaque(schema: SchemaId, topic: &str, table: TableName) -> Self {
        Self {
            schema,
            topic: topic.to_owned(),
            relation: Relation {
                table,
                key: Key::WholeRow,
                columns: Vec::new(),
            },
            fields: Vec::new(),
            by_name: HashMap::new(),
        }
    }

    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn has_key(&self) -> bool {
        self.relation.key == Key::Columns
    }

    /// The key of `row` in the layout of a row; `None` when a value of it is missing.
    pub(crate) fn key_of(&self, row: &Row) -> Option<Row> {
        let mut fields = Fields::default();
        for (column, value) in self.relation.columns.iter().zip(row.values()) {
            match value {
                _ if !column.in_key => {}
                Value::Image(_) => fields.push(value),
                Value::Null | Value::Unchanged => return None,
            }
        }
        Some(fields.row())
    }
}
