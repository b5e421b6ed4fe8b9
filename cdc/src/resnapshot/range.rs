//! The statements that read a table by ranges of its key.

use change::relation::Relation;
use change::{TableName, quoted};

use crate::snapshot::{column, written_since};
use crate::wire::Xid;

/// A table that is read by its key.
pub(super) struct Keyed<'a> {
    pub relation: &'a Relation,
    /// In the order of the index: others would have the whole table sorted for each chunk.
    pub key: &'a [String],
    pub storage: Storage,
    /// The publication's condition for rows.
    pub filter: Option<&'a str>,
    /// Rows that were written by this transaction, or later ones; none are all of them.
    pub since: Option<Xid>,
}

/// Where a table's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    Own,
    /// In its partitions, which are published as one table.
    Partitions,
}

/// Keys, as texts in the order of the index: behind `after`, up to and with `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// None: from the first.
    pub after: Option<Vec<String>>,
    /// None: to the last.
    pub to: Option<Vec<String>>,
}

impl Keyed<'_> {
    /// Answers the key of the row that is the `rows`th behind `after`; no row where there are fewer.
    pub(super) fn bound(&self, after: Option<&[String]>, rows: u32) -> String {
        let texts: Vec<String> = self.names().map(|name| format!("{name}::text")).collect();
        let order: Vec<String> = self.names().collect();
        format!(
            "select {} from {}{} order by {} offset {} limit 1",
            texts.join(", "),
            self.from(),
            self.conditions(&Range {
                after: after.map(<[String]>::to_vec),
                to: None
            }),
            order.join(", "),
            rows.saturating_sub(1)
        )
    }

    pub(super) fn copy(&self, range: &Range) -> String {
        let columns: Vec<String> = self.relation.columns.iter().map(column).collect();
        format!(
            "copy (select {} from {}{}) to stdout (format binary)",
            columns.join(", "),
            self.from(),
            self.conditions(range)
        )
    }

    fn from(&self) -> String {
        only(&self.relation.table, self.storage)
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.key.iter().map(|name| quoted(name))
    }

    fn conditions(&self, range: &Range) -> String {
        let names: Vec<String> = self.names().collect();
        let compare = |operator: &str, key: &Vec<String>| {
            let names = names.join(", ");
            format!("({names}) {operator} ({})", self.literals(key))
        };
        let after = range.after.as_ref().map(|key| compare(">", key));
        let to = range.to.as_ref().map(|key| compare("<=", key));
        let filter = self.filter.map(|filter| format!("({filter})"));
        let since = self.since.map(written_since);
        let terms = after.into_iter().chain(to).chain(filter).chain(since);
        let terms: Vec<String> = terms.collect();
        match terms.is_empty() {
            true => String::new(),
            false => format!(" where {}", terms.join(" and ")),
        }
    }

    /// COPY takes no parameters. With `standard_conforming_strings` on, a doubled quote is the one
    /// thing that must be written otherwise.
    fn literals(&self, key: &[String]) -> String {
        let literals = self.key.iter().zip(key).map(|(name, text)| {
            let column = self.relation.columns.iter().find(|it| it.name == *name);
            let pg_type = column.map_or("text", |column| column.pg_type.name.as_str());
            format!("'{}'::{pg_type}", text.replace('\'', "''"))
        });
        literals.collect::<Vec<_>>().join(", ")
    }
}

/// The table in a FROM or in a LOCK, without those that inherit from it: they are published on
/// their own.
pub(super) fn only(table: &TableName, storage: Storage) -> String {
    match storage {
        Storage::Own => format!("only {}", table.quoted()),
        Storage::Partitions => table.quoted(),
    }
}

#[cfg(test)]
mod tests {
    use change::relation::{Column, Key, PgType};
    use change::value::{Mapping, Scalar};

    use super::*;

    fn relation() -> Relation {
        let column = |name: &str, pg_type: &str, mapping| Column {
            name: name.into(),
            in_key: true,
            mapping: Mapping::Scalar(mapping),
            pg_type: PgType {
                name: pg_type.into(),
                ..PgType::default()
            },
            not_null: true,
            default: None,
            generated: false,
        };
        Relation {
            table: TableName::new("s", "t"),
            key: Key::Columns,
            columns: vec![
                column("a\"b", "integer", Scalar::Int4),
                column("n", "character varying(9)", Scalar::TextForm),
            ],
        }
    }

    fn key(texts: [&str; 2]) -> Option<Vec<String>> {
        Some(texts.map(str::to_owned).to_vec())
    }

    #[test]
    fn ranges_are_those_of_the_index() {
        let relation = relation();
        let keyed = Keyed {
            relation: &relation,
            key: &["n".to_owned(), "a\"b".to_owned()],
            storage: Storage::Own,
            filter: None,
            since: None,
        };
        assert_eq!(
            keyed.bound(None, 10),
            r#"select "n"::text, "a""b"::text from only "s"."t" order by "n", "a""b" offset 9 limit 1"#
        );
        let range = Range {
            after: key(["o'clock", "1"]),
            to: key(["x", "2"]),
        };
        assert_eq!(
            keyed.copy(&range),
            r#"copy (select "a""b", "n"::text from only "s"."t" where ("n", "a""b") > ('o''clock'::character varying(9), '1'::integer) and ("n", "a""b") <= ('x'::character varying(9), '2'::integer)) to stdout (format binary)"#
        );
    }

    #[test]
    fn a_partitioned_table_is_read_with_its_partitions() {
        let relation = relation();
        let keyed = Keyed {
            relation: &relation,
            key: &["n".to_owned()],
            storage: Storage::Partitions,
            filter: None,
            since: None,
        };
        let all = keyed.copy(&Range::default());
        assert!(all.contains("from \"s\".\"t\")"), "{all}");
    }

    #[test]
    fn rows_that_the_publication_leaves_out_are_neither_counted_nor_read() {
        let relation = relation();
        let keyed = Keyed {
            relation: &relation,
            key: &["n".to_owned()],
            storage: Storage::Own,
            filter: Some("(n > 1) OR (n < 0)"),
            since: None,
        };
        let bound = keyed.bound(None, 1);
        assert!(
            bound.contains(r#" where ((n > 1) OR (n < 0)) order by "n""#),
            "{bound}"
        );
        let range = Range {
            after: None,
            to: Some(vec!["x".to_owned()]),
        };
        let copy = keyed.copy(&range);
        assert!(
            copy.contains(r#" <= ('x'::character varying(9)) and ((n > 1) OR (n < 0)))"#),
            "{copy}"
        );
    }

    #[test]
    fn another_pass_reads_what_was_written_since() {
        let relation = relation();
        let keyed = Keyed {
            relation: &relation,
            key: &["n".to_owned()],
            storage: Storage::Own,
            filter: None,
            since: Some(Xid(700)),
        };
        let newer = " where age(xmin) <= age('700'::xid)";
        assert!(keyed.copy(&Range::default()).contains(newer));
        assert!(keyed.bound(None, 1).contains(newer));
    }
}
