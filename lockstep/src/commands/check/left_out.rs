//! What of the source would not arrive.

use anyhow::Context;
use change::TableName;
use operate::catalog::PublishedTable;
use tokio_postgres::Client;

use super::finding::Finding;

pub(super) async fn examine(
    client: &Client,
    publication: &str,
    tables: &[PublishedTable],
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = unsendable_columns(client, tables).await?;
    findings.extend(tables.iter().filter_map(filtered_rows));
    findings.extend(operations(client, publication).await?);
    findings.extend(unlogged_tables(client).await?);
    findings.extend(large_objects(client).await?);
    Ok(findings)
}

async fn unsendable_columns(
    client: &Client,
    tables: &[PublishedTable],
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for table in tables {
        let names: Vec<&str> = table.columns.iter().map(|it| it.name.as_str()).collect();
        let columns = client
            .query(COLUMNS, &[&table.name.schema, &table.name.name, &names])
            .await
            .context("read the columns' types")?;
        for column in columns {
            let Some(part) = cdc::unsendable_part(client, column.get("oid")).await? else {
                continue;
            };
            let (name, type_name): (&str, &str) = (column.get("name"), column.get("type"));
            findings.push(Finding::fail(
                "source",
                "column types",
                format!(
                    "{}: column {name} of type {type_name} cannot be sent in binary, because {part} \
                     in it cannot",
                    table.name
                ),
                "publish the table without the column, or give the column another type",
            ));
        }
    }
    Ok(findings)
}

/// Built-in base types have no parts.
const COLUMNS: &str = "
select a.attname::text as name, t.oid, format_type(t.oid, a.atttypmod) as type
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attname = any ($3)
  join pg_type t on t.oid = a.atttypid
 where n.nspname = $1 and c.relname = $2 and (t.typtype <> 'b' or t.typelem <> 0)
 order by a.attnum";

fn filtered_rows(table: &PublishedTable) -> Option<Finding> {
    let filter = table.filter.as_ref()?;
    let found = format!("{}: only those where {filter}", table.name);
    Some(Finding::note("source", "rows", found))
}

/// The target keeps what such an operation would have changed.
async fn operations(client: &Client, publication: &str) -> anyhow::Result<Option<Finding>> {
    let row = client.query_opt(OPERATIONS, &[&publication]).await;
    let row = row.context("read what the publication publishes")?;
    let missing: Option<String> = row.and_then(|row| row.get(0));
    Ok(missing.map(|missing| {
        let found = format!(
            "{publication} does not publish {missing}: the target keeps such rows as they were, and \
             `verify` calls that a difference"
        );
        Finding::note("source", "publication", found)
    }))
}

const OPERATIONS: &str = "
select (select string_agg(name, ', ')
          from (values (pubinsert, 'insert'), (pubupdate, 'update'), (pubdelete, 'delete'),
                       (pubtruncate, 'truncate')) as o (published, name)
         where not published)
  from pg_publication where pubname = $1";

/// Their changes are not in the log, so that nobody can follow them.
async fn unlogged_tables(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let query = "select n.nspname::text, c.relname::text from pg_class c
                   join pg_namespace n on n.oid = c.relnamespace
                  where c.relpersistence = 'u' and c.relkind in ('r', 'p') order by 1, 2";
    let rows = client.query(query, &[]).await;
    let rows = rows.context("look for unlogged tables")?;
    let note = |name: TableName| {
        Finding::note(
            "source",
            "unlogged tables",
            format!(
                "{name} does not travel: its changes are not in the log (alter table {} set logged)",
                name.quoted()
            ),
        )
    };
    let names = rows
        .iter()
        .map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)));
    Ok(names.map(note).collect())
}

/// Logical decoding knows of tables only.
async fn large_objects(client: &Client) -> anyhow::Result<Option<Finding>> {
    let query = "select count(*) from pg_largeobject_metadata";
    let count: i64 = client
        .query_one(query, &[])
        .await
        .context("count the large objects")?
        .get(0);
    Ok((count > 0).then(|| {
        Finding::fail(
            "source",
            "large objects",
            format!("{count}, which do not travel: columns that name them would name nothing"),
            "keep their contents in bytea columns, and delete them with lo_unlink",
        )
    }))
}
