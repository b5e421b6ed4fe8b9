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
pub const FIXED_OUTPUT: &str = "
set extra_float_digits = 3; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres';
set timezone = 'UTC'; set bytea_output = 'hex'; set lc_monetary = 'C'; set xmloption = 'content';
set search_path = pg_catalog; set statement_timeout = 0";

/// Rows and the sums of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Digest {
    pub rows: i64,
    /// The sums of the first and of the last eight bytes of each row's MD5.
    #[serde(serialize_with = "as_text")]
    hash: (i128, i128),
}

/// 128 MB at Postgres' usual block size: a second or so of hashing, between two signs of life.
const CHUNK_BLOCKS: i64 = 16_384;

/// Reads the whole table in one snapshot, by ranges of blocks. `report` is told after each range
/// how many blocks of how many are read.
///
/// # Errors
/// As Postgres.
pub async fn of(
    client: &Client,
    table: &PublishedTable,
    report: impl FnMut(i64, i64),
) -> anyhow::Result<Digest> {
    let begin = "begin isolation level repeatable read, read only";
    client.batch_execute(begin).await.context("begin")?;
    let digest = of_snapshot(client, table, report).await?;
    client.batch_execute("commit").await.context("commit")?;
    Ok(digest)
}

async fn of_snapshot(
    client: &Client,
    table: &PublishedTable,
    mut report: impl FnMut(i64, i64),
) -> anyhow::Result<Digest> {
    let size = "select pg_relation_size(to_regclass($1)) / current_setting('block_size')::int8";
    let row = client.query_one(size, &[&table.name.quoted()]).await;
    let blocks: i64 = row.context("ask for the table's size")?.get(0);
    let statement = client.prepare(&sql(table)).await.context("hash the rows")?;
    let mut digest = Digest::default();
    let mut from = 0;
    loop {
        // The last range has no end: rows may have come to new blocks between size and snapshot.
        let end = from + CHUNK_BLOCKS;
        let is_last = end >= blocks;
        let until = (!is_last).then(|| format!("({end},0)"));
        let from_tid = format!("({from},0)");
        let row = client.query_one(&statement, &[&from_tid, &until]).await;
        let row = row.context("hash the rows")?;
        digest.rows += row.get::<_, i64>("rows");
        digest.hash.0 += row.get::<_, &str>("first").parse::<i128>()?;
        digest.hash.1 += row.get::<_, &str>("last").parse::<i128>()?;
        if is_last {
            return Ok(digest);
        }
        report(end, blocks);
        from = end;
    }
}

/// The columns stand in the source's order: on the target they may lie in another. Its own columns
/// do not count.
fn sql(table: &PublishedTable) -> String {
    let columns: Vec<String> = table.columns.iter().map(value).collect();
    format!(
        "select count(*) as rows,
                coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint), 0)::text as first,
                coalesce(sum(('x' || right(hash, 16))::bit(64)::bigint), 0)::text as last
           from (select md5(row({})::text) as hash from {}
                  where ctid >= $1::text::tid
                    and ctid < coalesce($2::text::tid, '(4294967295,0)')) as hashes",
        columns.join(", "),
        table.name.quoted()
    )
}

/// Numbers of JSON lose digits in many readers.
fn as_text<S: serde::Serializer>(hash: &(i128, i128), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}/{}", hash.0, hash.1))
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
impl Digest {
    pub(super) fn new(rows: i64, hash: (i128, i128)) -> Self {
        Self { rows, hash }
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
