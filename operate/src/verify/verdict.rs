//! What a comparison says.

use std::fmt;

use change::TableName;
use serde::Serialize;

use super::digest::Digest;

/// One table on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    table: String,
    equal: bool,
    source: Side,
    target: Side,
}

/// What a side holds of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    NoTable,
    NoColumn(String),
    Rows(Digest),
}

impl Comparison {
    pub fn new(table: &TableName, source: Side, target: Side) -> Self {
        Self {
            table: table.to_string(),
            equal: matches!((&source, &target), (Side::Rows(a), Side::Rows(b)) if a == b),
            source,
            target,
        }
    }

    pub fn is_equal(&self) -> bool {
        self.equal
    }

    /// Rows on the source.
    pub fn rows(&self) -> i64 {
        match &self.source {
            Side::Rows(digest) => digest.rows,
            Side::NoTable | Side::NoColumn(_) => 0,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            source,
            target,
            ..
        } = self;
        match (source, target) {
            _ if self.equal => write!(f, "{table}: equal, {} rows", self.rows()),
            (Side::Rows(a), Side::Rows(b)) if a.rows == b.rows => {
                write!(
                    f,
                    "{table}: DIFFERENT, {} rows on both sides, but not the same ones",
                    a.rows
                )
            }
            (source, target) => write!(f, "{table}: DIFFERENT, source {source}, target {target}"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("has no such table"),
            Self::NoColumn(column) => write!(f, "has no column {column}"),
            Self::Rows(digest) => write!(f, "{} rows", digest.rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: Side, expected: &str) {
        let source = rows(3, 2);
        let table = TableName::new("public", "a");
        let comparison = Comparison::new(&table, source, target);
        assert_eq!(comparison.to_string(), expected);
        assert_eq!(comparison.is_equal(), expected.contains("equal"));
    }

    fn rows(rows: i64, hash: i128) -> Side {
        Side::Rows(Digest::new(rows, (1, hash)))
    }

    #[test]
    fn what_differs_is_named() {
        check(rows(3, 2), "public.a: equal, 3 rows");
        check(
            rows(3, 3),
            "public.a: DIFFERENT, 3 rows on both sides, but not the same ones",
        );
        check(
            rows(2, 2),
            "public.a: DIFFERENT, source 3 rows, target 2 rows",
        );
        check(
            Side::NoTable,
            "public.a: DIFFERENT, source 3 rows, target has no such table",
        );
    }
}
