//! Writes that the source itself refuses once a table is published.

use anyhow::Context;
use change::quoted;
use operate::catalog::PublishedTable;
use tokio_postgres::Client;

use super::finding::Finding;

/// Since version 18 Postgres refuses updates and deletes of rows that the whole row identifies where it
/// has a generated column that is not published, and virtual ones never are (manual, "Generated Column
/// Replication"). Before, it left the column out.
pub(super) async fn examine(
    client: &Client,
    publication: &str,
    tables: &[PublishedTable],
) -> anyhow::Result<Vec<Finding>> {
    let rows = client.query(GENERATED, &[]).await;
    let rows = rows.context("look for generated columns in replica identities")?;
    let mut findings = Vec::new();
    for table in tables.iter().filter(|table| table.changes_rows) {
        let of_table = rows.iter().filter(|row| {
            (row.get("schema"), row.get("name"))
                == (table.name.schema.as_str(), table.name.name.as_str())
        });
        let is_missing = |name: &str| table.columns.iter().all(|column| column.name != name);
        let mut missing = of_table.filter(|row| is_missing(row.get("column")));
        let Some(column) = missing.next() else {
            continue;
        };
        let found = format!(
            "{}: its updates and deletes are refused, since the whole row identifies it and {} is \
             generated and not published",
            table.name,
            column.get::<_, &str>("column")
        );
        let by_key = format!(
            "give it a primary key, and: alter table {} replica identity default",
            table.name.quoted()
        );
        let mend = match column.get("virtual") {
            true => by_key,
            false => format!(
                "create publication {} for all tables with (publish_generated_columns = stored), or \
                 alter it so; or {by_key}",
                quoted(publication)
            ),
        };
        findings.push(Finding::fail("source", "replica identity", found, mend));
    }
    Ok(findings)
}

/// Virtual ones first: publishing does not help them.
const GENERATED: &str = "
select n.nspname::text as schema, c.relname::text as name, a.attname::text as column,
       a.attgenerated = 'v' as virtual
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped
 where c.relreplident = 'f' and current_setting('server_version_num')::int >= 180000
 order by a.attgenerated = 'v' desc, a.attnum";
