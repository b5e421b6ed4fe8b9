//! The hash of a table that does not depend on the order in which its rows lie.
//!
//! A row becomes text by the output functions of its columns, under settings that make every output
//! exact and the same on both servers, and that text becomes an MD5. The table's hash is the sum of
//! its rows' hashes, in two halves: equal rows of a table without a key count as often as they
//! stand, and pieces of a table can be added up. All of it happens in the servers, in constant
//! memory; row values do not leave them.

use anyhow::Context;
use change::quoted;
use serde::Serialize;
use tokio_postgres::Client;

use crate::catalog::{Column, PublishedTable};

/// Shortest exact floats (any value above 0), and no local taste in dates, intervals, bytes, money.
pub(crate) const FIXED_OUTPUT: &str = "
set extra_float_digits = 3; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres';
set timezone = 'UTC'; set bytea_output = 'hex'; set lc_monetary = 'C'; set xmloption = 'content';
set search_path = pg_catalog; set statement_timeout = 0";

/// Rows and the sum of their hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Digest {
    pub(crate) rows: i64,
    /// The sums of the first and of the last eight bytes of each row's MD5, as decimal numbers.
    pub(crate) hash: String,
}

/// Reads the whole table.
///
/// # Errors
/// As Postgres.
pub(crate) async fn of(client: &Client, table: &PublishedTable) -> anyhow::Result<Digest> {
    let row = client.query_one(&sql(table), &[]).await;
    let row = row.context("hash the rows")?;
    Ok(Digest {
        rows: row.get("rows"),
        hash: row.get("hash"),
    })
}

/// The columns stand in the source's order: on the target they may lie in another. Its own columns
/// do not count.
fn sql(table: &PublishedTable) -> String {
    let columns: Vec<String> = table.columns.iter().map(value).collect();
    format!(
        "select count(*) as rows,
                coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint), 0)::text || '/' ||
                coalesce(sum(('x' || right(hash, 16))::bit(64)::bigint), 0)::text as hash
           from (select md5(row({})::text) as hash from {}) as hashes",
        columns.join(", "),
        table.name.quoted()
    )
}

/// Names such as `regclass` prints are looked up in the database that prints them; the number is
/// what travels.
fn value(column: &Column) -> String {
    const OBJECT_IDENTIFIERS: [&str; 11] = [
        "regclass",
        "regcollation",
        "regconfig",
        "regdatabase",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
        "regrole",
    ];
    let name = quoted(&column.name);
    let element = column.type_name.trim_end_matches("[]");
    if element != "regtype" && !OBJECT_IDENTIFIERS.contains(&element) {
        return name;
    }
    match element == column.type_name {
        true => format!("{name}::oid"),
        false => format!("{name}::oid[]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_hashed_as_numbers() {
        let column = |type_name: &str| {
            value(&Column {
                name: "a\"b".into(),
                type_name: type_name.into(),
            })
        };
        assert_eq!(column("text"), r#""a""b""#);
        assert_eq!(column("regclass"), r#""a""b"::oid"#);
        assert_eq!(column("regtype[]"), r#""a""b"::oid[]"#);
    }
}
