//! The hash of a table that does not depend on the order in which its rows lie.
//!
//! A row becomes text by the output functions of its columns, under settings that make every output
//! exact and the same on both servers, and that text becomes an MD5. The table's hash is the sum of
//! its rows' hashes, in two halves: equal rows of a table without a key count as often as they
//! stand, and pieces of a table can be added up. All of it happens in the servers, in constant
//! memory.

use std::ops::AddAssign;

use change::quoted;
use serde::Serialize;
use tokio_postgres::Row;

use crate::catalog::{Column, Identity, PublishedTable};

/// Shortest exact floats (any value above 0), and no local taste in dates, intervals, bytes, money.
pub(super) const FIXED_OUTPUT: &str = "
set extra_float_digits = 3; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres';
set timezone = 'UTC'; set bytea_output = 'hex'; set lc_monetary = 'C'; set xmloption = 'content';
set search_path = pg_catalog";

/// Rows and the sums of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Digest {
    pub rows: i64,
    /// The sums of the first and of the last eight bytes of each row's MD5.
    #[serde(serialize_with = "as_text")]
    hash: (i128, i128),
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.hash.0 += other.hash.0;
        self.hash.1 += other.hash.1;
    }
}

/// How the rows of a table are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// All in one.
    Whole,
    /// By what tells a row from others, which is in one bucket on both sides.
    Buckets,
}

impl Split {
    pub(super) const fn sums(self) -> usize {
        match self {
            Self::Whole => 1,
            // The first 12 bits of an MD5: with one difference, one row in 4096 is looked at.
            Self::Buckets => 4096,
        }
    }
}

/// Sums a piece of a table: `$1` is its first row's place, `$2` that of the first row behind it.
/// [`read`] takes the answer. `from` is the table's name, perhaps with `only`.
pub(super) fn sums_sql(table: &PublishedTable, from: &str, split: Split) -> String {
    let bucket = match split {
        Split::Whole => "0",
        Split::Buckets => BUCKET,
    };
    let id = match split {
        Split::Whole => String::new(),
        Split::Buckets => format!(", {} as id", id(table)),
    };
    format!(
        "select {bucket} as bucket, count(*) as rows,
                sum(('x' || left(hash, 16))::bit(64)::bigint)::text as first,
                sum(('x' || right(hash, 16))::bit(64)::bigint)::text as last
           from (select md5({}) as hash{id} from {from}
                  where ctid >= $1::text::tid
                    and ctid < coalesce($2::text::tid, '(4294967295,0)')) as hashes
          group by 1",
        row_text(table)
    )
}

/// One row of the answer to [`sums_sql`].
pub(super) fn read(row: &Row) -> anyhow::Result<(usize, Digest)> {
    let bucket = usize::try_from(row.get::<_, i32>("bucket"))?;
    let (first, last): (&str, &str) = (row.get("first"), row.get("last"));
    let hash = (first.parse()?, last.parse()?);
    let rows = row.get("rows");
    Ok((bucket, Digest { rows, hash }))
}

/// The bucket of a row with this `id`.
pub(super) const BUCKET: &str = "get_byte(id, 0) * 16 + get_byte(id, 1) / 16";

/// What tells a row from others: the MD5 of its key, or without one of all of it.
pub(super) fn id(table: &PublishedTable) -> String {
    match &table.identity {
        Identity::Key(key) => {
            let key = table.columns.iter().filter(|it| key.contains(&it.name));
            let key: Vec<String> = key.map(value).collect();
            format!("decode(md5(row({})::text), 'hex')", key.join(", "))
        }
        Identity::Full | Identity::None => hash(table),
    }
}

pub(super) fn hash(table: &PublishedTable) -> String {
    format!("decode(md5({}), 'hex')", row_text(table))
}

/// The columns stand in the source's order: on the target they may lie in another. Its own columns
/// do not count.
fn row_text(table: &PublishedTable) -> String {
    let columns: Vec<String> = table.columns.iter().map(value).collect();
    format!("row({})::text", columns.join(", "))
}

/// A column as its output function writes it, or null. Casts to text do not all call that
/// function, and of a composite value, `is null` asks for its fields.
pub(super) fn text(column: &Column) -> String {
    let value = value(column);
    format!("case num_nulls({value}) when 0 then format('%s', {value}) end")
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

/// Numbers of JSON lose digits in many readers.
fn as_text<S: serde::Serializer>(hash: &(i128, i128), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}/{}", hash.0, hash.1))
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
                generated: false,
            })
        };
        assert_eq!(column("text"), r#""a""b""#);
        assert_eq!(column("regclass"), r#""a""b"::oid"#);
        assert_eq!(column("regtype[]"), r#""a""b"::oid[]"#);
    }
}
