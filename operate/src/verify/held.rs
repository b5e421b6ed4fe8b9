//! Tables that apply does not keep up with the source on purpose.

use std::collections::HashMap;

use anyhow::Context;
use change::TableName;
use tokio_postgres::Client;

/// Why, by table: held by an operator or an error, or with changes set aside.
///
/// # Errors
/// When the target cannot be asked.
pub(super) async fn tables(
    target: &Client,
    pipeline: &str,
) -> anyhow::Result<HashMap<TableName, String>> {
    let sql = "
        select table_schema, table_name,
               'held since ' || commit_lsn || ' by ' || held_by || ': ' || reason
          from lockstep.held_tables where pipeline = $1
        union all
        select table_schema, table_name,
               count(*) || ' changes are set aside (lockstep dead-letters list)'
          from lockstep.dead_letters where pipeline = $1 and state = 'open'
         group by table_schema, table_name";
    let rows = target.query(sql, &[&pipeline]).await;
    let rows = rows.context("ask for held tables and dead letters")?;
    let mut tables: HashMap<TableName, String> = HashMap::new();
    for row in rows {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let why: String = row.get(2);
        tables
            .entry(table)
            .and_modify(|known| *known = format!("{known}; {why}"))
            .or_insert(why);
    }
    Ok(tables)
}
