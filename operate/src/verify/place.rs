//! A table as one side has it.

use anyhow::Context;
use applier::widens;
use change::{TableName, quoted};
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
    /// The rows that are compared, with the source's names of columns. Without the tables that inherit from
    /// it, which are compared on their own; a partitioned one with its partitions. On the source, without the
    /// rows that are not published.
    pub(super) from: String,
    pub(super) table: TableName,
    /// What the compared columns are called here.
    pub(super) columns: Vec<String>,
    /// As statements name it that change rows.
    pub(super) rows: String,
    /// Of a partitioned table 0: its rows are read in one piece.
    pub(super) blocks: i64,
}

/// A column that is compared, on one side.
struct Compared {
    name: String,
    /// Of the source's: the type that the target has it in, where that is wider.
    cast: Option<String>,
}

/// A table on the source and on the target.
///
/// # Errors
/// When a catalog cannot be read.
pub(super) async fn on_both(
    source: &Client,
    target: &Client,
    table: &PublishedTable,
    configured: &applier::Differences,
) -> anyhow::Result<(Found, Found)> {
    let name = configured.table(&table.name);
    let found = catalog::target_table(target, &name).await?;
    let there = found.as_ref().map_or(&[][..], |found| &found.columns);
    let (mut wanted, mut given) = (Vec::new(), Vec::new());
    for column in &table.columns {
        let name = configured.column(&table.name, &column.name).to_owned();
        let own = there.iter().find(|it| it.name == name);
        let cast = own.map(|own| own.type_name.clone());
        let cast = cast.filter(|cast| *cast != column.type_name && widens(&column.type_name, cast));
        wanted.push(Compared {
            name: column.name.clone(),
            cast,
        });
        given.push(Compared { name, cast: None });
    }
    let filter = table.filter.as_deref();
    tokio::try_join!(
        find(source, table, &table.name, wanted, filter),
        find(target, table, &name, given, None)
    )
}

async fn find(
    client: &Client,
    table: &PublishedTable,
    here: &TableName,
    columns: Vec<Compared>,
    filter: Option<&str>,
) -> anyhow::Result<Found> {
    let Some(found) = catalog::target_table(client, here).await? else {
        return Ok(Found::NoTable);
    };
    let lacks = |column: &&Compared| !found.columns.iter().any(|it| it.name == column.name);
    if let Some(column) = columns.iter().find(lacks) {
        return Ok(Found::NoColumn(column.name.clone()));
    }
    let name = here.quoted();
    let size = "
        select c.relkind = 'p' as partitioned,
               case c.relkind when 'p' then 0 else pg_relation_size(c.oid) end
                   / current_setting('block_size')::int8 as blocks
          from pg_class c where c.oid = to_regclass($1)";
    let row = client.query_opt(size, &[&name]).await;
    let row = row.with_context(|| format!("ask for the size of table {here}"))?;
    let Some(row) = row else {
        return Ok(Found::NoTable);
    };
    let rows = match row.get("partitioned") {
        true => name,
        false => format!("only {name}"),
    };
    Ok(Found::Here(Place {
        from: from(table, &rows, &columns, filter),
        table: here.clone(),
        columns: columns.into_iter().map(|it| it.name).collect(),
        rows,
        blocks: row.get("blocks"),
    }))
}

fn from(table: &PublishedTable, rows: &str, columns: &[Compared], filter: Option<&str>) -> String {
    let pairs = || table.columns.iter().zip(columns);
    let is_same = pairs().all(|(column, own)| column.name == own.name && own.cast.is_none());
    let shown = match is_same {
        true => "*".to_owned(),
        false => {
            let shown = pairs().map(|(column, own)| {
                let cast = own.cast.as_ref().map(|cast| format!("::{cast}"));
                let (name, cast) = (quoted(&own.name), cast.unwrap_or_default());
                format!("{name}{cast} as {}", quoted(&column.name))
            });
            shown.collect::<Vec<_>>().join(", ")
        }
    };
    let condition = filter.map(|filter| format!(" where {filter}"));
    match (is_same, condition) {
        (true, None) => rows.to_owned(),
        (_, condition) => format!(
            "(select tableoid, ctid, {shown} from {rows}{}) as published",
            condition.unwrap_or_default()
        ),
    }
}

/// The files of tables, which change when one is truncated or rewritten: readers of a snapshot then
/// find it empty, whatever the snapshot says.
pub(super) async fn files(client: &Client, tables: &[TableName]) -> anyhow::Result<Vec<String>> {
    let sql = "
        select (select coalesce(string_agg(pg_relation_filenode(r.oid)::text, ',' order by r.oid), '')
                  from (select to_regclass(t.name)::oid as oid
                        union select relid from pg_partition_tree(to_regclass(t.name))) as r)
          from unnest($1::text[]) with ordinality as t (name, n) order by t.n";
    let names: Vec<String> = tables.iter().map(TableName::quoted).collect();
    let rows = client.query(sql, &[&names]).await;
    let rows = rows.context("ask for the files of the tables")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
