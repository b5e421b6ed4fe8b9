//! Names of tables, and how an identifier is written in SQL.

use std::fmt;
use std::str::FromStr;

/// A table by schema and name, as the catalog holds them: unquoted, case kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

/// The schema of what Lockstep and its applications keep for themselves, on either side: progress,
/// keys of requests that were answered. It is never captured, whatever a publication says.
pub const OWN_SCHEMA: &str = "lockstep";

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Whether it is bookkeeping, which is of no use on the other side.
    pub fn is_bookkeeping(&self) -> bool {
        self.schema == OWN_SCHEMA
    }

    /// The name as SQL text, safe whatever it holds: `"public"."articles"`.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// The text was not `schema.table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a table is named schema.table")]
pub struct ParseTableError;

/// As people write it, without quotes: `schema.table`; a name without a point is one of schema
/// public.
impl FromStr for TableName {
    type Err = ParseTableError;

    fn from_str(text: &str) -> Result<Self, ParseTableError> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        match schema.is_empty() || name.is_empty() {
            true => Err(ParseTableError),
            false => Ok(Self::new(schema, name)),
        }
    }
}

/// For messages: `public.articles`. Never for SQL.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// `identifier` as SQL text (manual, "Identifiers and Key Words"). The one place where a name
/// becomes SQL: names come from catalogs and from topics, and whoever can write to a topic must
/// not be able to write SQL.
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The identifier that `text` starts with, as Postgres and people write it, and what follows: in quotes it
/// holds anything, without them it ends before a point or an equals sign.
pub fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', '=']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_with_and_without_quotes() {
        let read = |text| identifier(text).map(|(name, rest)| (name, rest.to_owned()));
        let expected = |name: &str, rest: &str| Some((name.to_owned(), rest.to_owned()));
        assert_eq!(read("a b.c=d"), expected("a b", ".c=d"));
        assert_eq!(read(r#""a.b""c"=d"#), expected("a.b\"c", "=d"));
        for text in ["", ".a", "=a", r#""open"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn quotes_in_names_are_doubled() {
        let table = TableName::new("a\"; drop table x--", "Ü b.c");
        assert_eq!(table.quoted(), r#""a""; drop table x--"."Ü b.c""#);
    }

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(schema, name)| TableName::new(schema, name));
        assert_eq!(text.parse::<TableName>().ok(), expected, "{text}");
    }

    #[test]
    fn a_table_may_be_named_with_or_without_its_schema() {
        check("public.articles", Some(("public", "articles")));
        check("articles", Some(("public", "articles")));
        check("a.b.c", Some(("a", "b.c")));
        check(".b", None);
        check("a.", None);
        check("", None);
    }
}
