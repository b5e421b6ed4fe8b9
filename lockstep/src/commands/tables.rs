//! Tables as the command line names them.

use std::str::FromStr;

use change::TableName;

/// A table as `schema.table`, without quotes; a name without a point is one of schema public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableArgument(pub(crate) TableName);

#[derive(Debug, thiserror::Error)]
#[error("a table is named schema.table")]
pub(crate) struct NoTable;

impl FromStr for TableArgument {
    type Err = NoTable;

    fn from_str(text: &str) -> Result<Self, NoTable> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        match schema.is_empty() || name.is_empty() {
            true => Err(NoTable),
            false => Ok(Self(TableName::new(schema, name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let found = text.parse::<TableArgument>().ok();
        let expected = expected.map(|(schema, name)| TableArgument(TableName::new(schema, name)));
        assert_eq!(found, expected, "{text}");
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
