//! A table as both sides see it: columns in order, and which of them make the key.

use crate::TableName;
use crate::value::Mapping;

/// A table's shape at one moment of its source's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub table: TableName,
    pub key: Key,
    pub columns: Vec<Column>,
}

/// What tells one row from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The columns with `in_key`: the primary key or the replica identity index.
    Columns,
    /// All columns, under REPLICA IDENTITY FULL; equal rows may exist several times.
    WholeRow,
}

/// A column of a [`Relation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub in_key: bool,
    pub mapping: Mapping,
    pub pg_type: PgType,
    pub not_null: bool,
    /// The default as SQL text, for people to read: it is never executed.
    pub default: Option<String>,
    /// Whether it is `generated always as (default)`, and published all the same.
    pub generated: bool,
}

/// A column's type as Postgres names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PgType {
    /// As `format_type` writes it: `numeric(10,2)`, `text[]`, `public.mood`.
    pub name: String,
    /// `atttypmod`: -1 when there is none.
    pub modifier: i32,
    /// The labels in order when the type, or its element type, is an enum; else empty.
    pub enum_labels: Vec<String>,
}

impl Relation {
    /// The columns of the key in column order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.in_key)
    }

    /// Whether the Avro field of `column` is `["null", T]`. Key columns are plain where their Avro
    /// type holds every value; all others may be null whatever NOT NULL says, so that adding and
    /// dropping columns is compatible in every direction.
    pub fn is_nullable(&self, column: &Column) -> bool {
        let plain = self.key == Key::Columns && column.in_key && column.mapping.is_total();
        !plain
    }
}
