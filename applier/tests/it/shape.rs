//! Tables of the source as capture sees them: their relation, and rows as binary images.

use bytes::{Buf, Bytes};
use change::TableName;
use change::relation::{Column, Key, PgType, Relation};
use change::value::{BaseType, Mapping};
use futures_util::TryStreamExt;
use tokio_postgres::Client;

/// A value's binary image; `None` is NULL.
pub(crate) type Image = Option<Vec<u8>>;

/// The relation of a table by the rules of capture.
pub(crate) async fn relation(client: &Client, schema: &str, name: &str) -> Relation {
    let query = "select a.attname::text, t.oid, a.atttypmod, format_type(t.oid, a.atttypmod), \
             t.typtype = 'e', t.typsend <> 0, coalesce(e.oid, 0::oid), \
             coalesce(e.typtype = 'e', false), coalesce(e.typsend <> 0, false), a.attnotnull, \
             coalesce((select a.attnum = any (i.indkey::int2[]) from pg_index i \
                        where i.indrelid = a.attrelid and i.indisprimary), false), \
             (select coalesce(array_agg(enumlabel::text order by enumsortorder), '{}') \
                from pg_enum where enumtypid in (t.oid, e.oid)) \
         from pg_attribute a join pg_type t on t.oid = a.atttypid \
         left join pg_type e on e.oid = t.typelem and t.typcategory = 'A' \
         where a.attrelid = format('%I.%I', $1::text, $2::text)::regclass \
         and a.attnum > 0 and not a.attisdropped order by a.attnum";
    client.batch_execute("set search_path = ''").await.unwrap();
    let rows = client.query(query, &[&schema, &name]).await.unwrap();
    client.batch_execute("reset search_path").await.unwrap();
    let columns: Vec<Column> = rows
        .iter()
        .map(|row| {
            let modifier: i32 = row.get(2);
            let base = BaseType {
                oid: row.get(1),
                modifier,
                is_enum: row.get(4),
                has_send: row.get(5),
            };
            let element: u32 = row.get(6);
            let mapping = match element {
                0 => Mapping::of(base),
                oid => Mapping::of_array(BaseType {
                    oid,
                    modifier,
                    is_enum: row.get(7),
                    has_send: row.get(8),
                }),
            };
            Column {
                name: row.get(0),
                in_key: row.get(10),
                mapping,
                pg_type: PgType {
                    name: row.get(3),
                    modifier,
                    enum_labels: row.get(11),
                },
                not_null: row.get(9),
                default: None,
                generated: false,
            }
        })
        .collect();
    let keyed = columns.iter().any(|column| column.in_key);
    let mut relation = Relation {
        table: TableName::new(schema, name),
        key: Key::Columns,
        columns,
    };
    if !keyed {
        relation.key = Key::WholeRow;
        relation.columns.iter_mut().for_each(|c| c.in_key = true);
    }
    relation
}

/// The rows of `query`, as COPY BINARY sends them; types that it cannot send must be cast to text.
pub(crate) async fn images(client: &Client, query: &str) -> Vec<Vec<Image>> {
    let copy = format!("copy ({query}) to stdout (format binary)");
    let stream = client.copy_out(&copy).await.unwrap();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    let all = chunks.concat();
    let mut rest = &all[19..];
    let mut rows = Vec::new();
    loop {
        let count = rest.get_i16();
        if count < 0 {
            return rows;
        }
        let row = (0..count).map(|_| match rest.get_i32() {
            -1 => None,
            length => {
                let (image, after) = rest.split_at(usize::try_from(length).unwrap());
                rest = after;
                Some(image.to_vec())
            }
        });
        rows.push(row.collect());
    }
}
