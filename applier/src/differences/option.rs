//! The options, one value each, as people write them and as the target keeps them.
//!
//! Names stand between points, and in double quotes where they hold a point, an equals sign or a quote.

use std::fmt;
use std::str::FromStr;

use change::{TableName, identifier};

/// A schema whose tables are in another one on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedSchema {
    pub(super) from: String,
    pub(super) to: String,
}

/// A table that has another name on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedTable {
    pub(super) from: TableName,
    pub(super) to: TableName,
}

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnName {
    pub(super) table: TableName,
    pub(super) column: String,
}

/// A column that has another name on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedColumn {
    pub(super) from: ColumnName,
    pub(super) to: String,
}

/// A column whose values the target does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedColumn {
    pub(super) column: ColumnName,
    pub(super) mask: Mask,
}

/// What the target gets instead of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mask {
    Null,
    /// The same in every row, as its type's input function reads it.
    Constant(String),
    /// The value's HMAC-SHA-256 in hexadecimal digits; of null it is null.
    Hash,
}

/// What an option has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give {0}")]
pub struct NoDifference(&'static str);

const SCHEMAS: NoDifference = NoDifference("schema=schema");
const TABLES: NoDifference = NoDifference("schema.table=schema.table");
const COLUMN: NoDifference = NoDifference("schema.table.column");
const COLUMNS: NoDifference = NoDifference("schema.table.column=column");
const MASK: NoDifference = NoDifference("schema.table.column=null, =constant:TEXT or =hash");

/// Names between points at the start of `text`, and what follows them.
fn names<const N: usize>(text: &str) -> Option<([String; N], &str)> {
    let mut names = [const { String::new() }; N];
    let mut rest = text;
    for (at, name) in names.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('.')?;
        }
        (*name, rest) = identifier(rest)?;
    }
    Some((names, rest))
}

/// Names that are all of `text`.
fn only<const N: usize>(text: &str) -> Option<[String; N]> {
    names(text).and_then(|(names, rest)| rest.is_empty().then_some(names))
}

fn column_at_start(text: &str) -> Option<(ColumnName, &str)> {
    let ([schema, table, column], rest) = names(text)?;
    let table = TableName::new(schema, table);
    Some((ColumnName { table, column }, rest))
}

impl FromStr for RenamedSchema {
    type Err = NoDifference;

    fn from_str(text: &str) -> Result<Self, NoDifference> {
        let ([from], rest) = names(text).ok_or(SCHEMAS)?;
        let [to] = rest.strip_prefix('=').and_then(only).ok_or(SCHEMAS)?;
        Ok(Self { from, to })
    }
}

impl FromStr for RenamedTable {
    type Err = NoDifference;

    fn from_str(text: &str) -> Result<Self, NoDifference> {
        let ([schema, name], rest) = names(text).ok_or(TABLES)?;
        let from = TableName::new(schema, name);
        let [schema, name] = rest.strip_prefix('=').and_then(only).ok_or(TABLES)?;
        let to = TableName::new(schema, name);
        Ok(Self { from, to })
    }
}

impl FromStr for ColumnName {
    type Err = NoDifference;

    fn from_str(text: &str) -> Result<Self, NoDifference> {
        match column_at_start(text) {
            Some((column, "")) => Ok(column),
            Some(_) | None => Err(COLUMN),
        }
    }
}

impl FromStr for RenamedColumn {
    type Err = NoDifference;

    fn from_str(text: &str) -> Result<Self, NoDifference> {
        let (from, rest) = column_at_start(text).ok_or(COLUMNS)?;
        let [to] = rest.strip_prefix('=').and_then(only).ok_or(COLUMNS)?;
        Ok(Self { from, to })
    }
}

impl FromStr for MaskedColumn {
    type Err = NoDifference;

    fn from_str(text: &str) -> Result<Self, NoDifference> {
        let (column, rest) = column_at_start(text).ok_or(MASK)?;
        let mask = match rest.strip_prefix('=').ok_or(MASK)? {
            "null" => Mask::Null,
            "hash" => Mask::Hash,
            other => {
                let constant = other.strip_prefix("constant:").ok_or(MASK)?;
                Mask::Constant(constant.to_owned())
            }
        };
        Ok(Self { column, mask })
    }
}

/// A name as [`identifier`] reads it.
struct Written<'a>(&'a str);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(['.', '=', '"']) {
            true => f.write_str(&change::quoted(self.0)),
            false => f.write_str(self.0),
        }
    }
}

pub(super) fn written(table: &TableName) -> String {
    format!("{}.{}", Written(&table.schema), Written(&table.name))
}

impl fmt::Display for RenamedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", Written(&self.from), Written(&self.to))
    }
}

impl fmt::Display for RenamedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", written(&self.from), written(&self.to))
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", written(&self.table), Written(&self.column))
    }
}

impl fmt::Display for RenamedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from, Written(&self.to))
    }
}

impl fmt::Display for MaskedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mask {
            Mask::Null => write!(f, "{}=null", self.column),
            Mask::Constant(text) => write!(f, "{}=constant:{text}", self.column),
            Mask::Hash => write!(f, "{}=hash", self.column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: FromStr<Err = NoDifference> + fmt::Display>(text: &str) {
        let option: T = text.parse().unwrap();
        assert_eq!(option.to_string(), text);
    }

    #[test]
    fn options_are_written_as_they_are_read() {
        check::<RenamedSchema>("public=crm");
        check::<RenamedTable>(r#"public.people=crm."the.persons""#);
        check::<ColumnName>(r#"public."a""b".n n"#);
        check::<RenamedColumn>(r#"public.people.name="full=name""#);
        check::<MaskedColumn>("public.people.email=null");
        check::<MaskedColumn>("public.people.email=hash");
        check::<MaskedColumn>("public.people.email=constant:a=b. c");
        check::<MaskedColumn>("public.people.email=constant:");
    }

    #[track_caller]
    fn refuse<T: FromStr<Err = NoDifference> + fmt::Debug>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_difference_is_refused() {
        refuse::<RenamedSchema>(&["public", "public=", "=crm", "a.b=c", "a=b.c", ""]);
        refuse::<RenamedTable>(&[
            "people=persons",
            "public.people",
            "public.people=crm.",
            "a.b=c.d.e",
        ]);
        refuse::<ColumnName>(&["people.ssn", "public.people.ssn=x", "public..ssn", ""]);
        refuse::<RenamedColumn>(&[
            "public.people.name",
            "public.people.name=a.b",
            "people.name=n",
        ]);
        refuse::<MaskedColumn>(&[
            "public.people.email",
            "public.people.email=md5",
            "people.email=hash",
        ]);
    }
}
