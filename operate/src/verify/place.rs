//! A table as one side has it.

use anyhow::Context;
use tokio_postgres::Client;

use crate::catalog::{self, PublishedTable};

#[derive(Clone, Debug)]
pub(super) enum Found {
    NoTable,
    NoColumn(String),
    Here(Place),
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Without the tables that inherit from it, which are compared on their own; a partitioned one
    /// with its partitions.
    pub(super) from: String,
    /// Of a partitioned table 0: its rows are read in one piece.
    pub(super) blocks: i64,
}

/// # Errors
/// When the catalog cannot be read.
pub(super) async fn find(client: &Client, table: &PublishedTable) -> anyhow::Result<Found> {
    let Some(found) = catalog::target_table(client, &table.name).await? else {
        return Ok(Found::NoTable);
    };
    let mut columns = table.columns.iter();
    let lacking = columns.find(|column| !found.columns.iter().any(|it| it.name == column.name));
    if let Some(column) = lacking {
        return Ok(Found::NoColumn(column.name.clone()));
    }
    let name = table.name.quoted();
    let size = "
        select c.relkind = 'p' as partitioned,
               case c.relkind when 'p' then 0 else pg_relation_size(c.oid) end
                   / current_setting('block_size')::int8 as blocks
          from pg_class c where c.oid = to_regclass($1)";
    let row = client.query_opt(size, &[&name]).await;
    let row = row.with_context(|| format!("ask for the size of table {}", table.name))?;
    let Some(row) = row else {
        return Ok(Found::NoTable);
    };
    Ok(Found::Here(Place {
        from: match row.get("partitioned") {
            true => name,
            false => format!("only {name}"),
        },
        blocks: row.get("blocks"),
    }))
}

/// The files of tables, which change when one is truncated or rewritten: readers of a snapshot then
/// find it empty, whatever the snapshot says.
pub(super) async fn files(
    client: &Client,
    tables: &[&PublishedTable],
) -> anyhow::Result<Vec<String>> {
    let sql = "
        select (select coalesce(string_agg(pg_relation_filenode(r.oid)::text, ',' order by r.oid), '')
                  from (select to_regclass(t.name)::oid as oid
                        union select relid from pg_partition_tree(to_regclass(t.name))) as r)
          from unnest($1::text[]) with ordinality as t (name, n) order by t.n";
    let names: Vec<String> = tables.iter().map(|table| table.name.quoted()).collect();
    let rows = client.query(sql, &[&names]).await;
    let rows = rows.context("ask for the files of the tables")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
