//! One row as an Avro record.

use change::TableName;
use change::avro::write_long;
use change::value::{Fit, Mapping, Scalar, ValueError};

use super::plan::{ColumnPlan, TablePlan};
use crate::wire::Column;

/// Why a row could not be encoded. Names no value, but for the key of a row that is refused.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("row of table {table} has {row} columns, its relation {relation}")]
    ColumnCount {
        table: TableName,
        row: usize,
        relation: usize,
    },
    #[error("encode column {column} of table {table}")]
    Value {
        table: TableName,
        column: String,
        source: ValueError,
    },
    #[error("column {column} of table {table} came as text although its type has a binary form")]
    Text { table: TableName, column: String },
    #[error("key column {column} of table {table} has no value that its key can hold")]
    Key { table: TableName, column: String },
    #[error(
        "the record of {row} would have {bytes} bytes, and --record-bytes-max is {bytes_max}: raise it, \
         let such records travel in parts (--large-records split), or leave the large column out of the \
         publication"
    )]
    TooLarge {
        row: String,
        bytes: usize,
        bytes_max: usize,
    },
    #[error("position or time does not fit the envelope")]
    Range,
}

/// What a row's record could not hold.
#[derive(Default)]
pub(super) struct Aside<'a, 'p> {
    /// Columns that the update did not touch.
    pub(super) unchanged: Vec<&'p str>,
    /// Columns with the images of their values.
    pub(super) exact: Vec<(&'p str, &'a [u8])>,
}

/// Which columns a record has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields {
    All,
    Key,
}

/// Appends the record of `row` and answers what it could not hold.
pub(super) fn encode<'a, 'p>(
    plan: &'p TablePlan,
    row: &[Column<'a>],
    fields: Fields,
    out: &mut Vec<u8>,
) -> Result<Aside<'a, 'p>, EncodeError> {
    let table = || plan.relation.table.clone();
    if row.len() != plan.columns.len() {
        let relation = plan.columns.len();
        return Err(EncodeError::ColumnCount {
            table: table(),
            row: row.len(),
            relation,
        });
    }
    let mut aside = Aside::default();
    for (column, value) in plan.columns.iter().zip(row) {
        if fields == Fields::Key && !column.in_key {
            continue;
        }
        let image = match value {
            Column::Binary(image) => Some(*image),
            Column::Text(text) if column.mapping == Mapping::Scalar(Scalar::TextForm) => {
                Some(*text)
            }
            Column::Text(_) => {
                return Err(EncodeError::Text {
                    table: table(),
                    column: column.name.to_string(),
                });
            }
            Column::Null => None,
            Column::UnchangedToast => {
                aside.unchanged.push(&column.name);
                None
            }
        };
        let fit = field(column, image, out).map_err(|source| EncodeError::Value {
            table: table(),
            column: column.name.to_string(),
            source,
        })?;
        match (fit, image) {
            (Fit::Typed, _) => {}
            (Fit::Exact, Some(image)) if column.nullable => aside.exact.push((&column.name, image)),
            (Fit::Exact, _) => {
                return Err(EncodeError::Key {
                    table: table(),
                    column: column.name.to_string(),
                });
            }
        }
    }
    Ok(aside)
}

/// Appends one field. Where it is nullable and cannot hold the value it is null.
fn field(column: &ColumnPlan, image: Option<&[u8]>, out: &mut Vec<u8>) -> Result<Fit, ValueError> {
    match (image, column.nullable) {
        (Some(image), false) => column.mapping.encode(image, out),
        (Some(image), true) => {
            let branch = out.len();
            write_long(out, 1);
            let fit = column.mapping.encode(image, out)?;
            if fit == Fit::Exact {
                out.truncate(branch);
                write_long(out, 0);
            }
            Ok(fit)
        }
        (None, true) => {
            write_long(out, 0);
            Ok(Fit::Typed)
        }
        // Postgres has no NULL in a replica identity.
        (None, false) => Ok(Fit::Exact),
    }
}
