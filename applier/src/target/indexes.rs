//! Indexes that are written down, to be built beside apply, and what becomes of them when their table
//! changes before they are.

use change::TableName;
use change::quoted;
use change::schema_change::{Index, Notice, Table};
use tokio_postgres::Client;

use super::session::Session;
use super::table;
use crate::error::{Error, step};
use crate::indexes::LOCK;
use crate::schema_change::Placed;
use crate::statement::Storage;

/// Tables up to this size get their indexes in apply's transaction, which takes some 50 ms then.
const SMALL_BYTES: i64 = 4 << 20;

const WRITE_DOWN: &str = "insert into lockstep.indexes \
    (pipeline, table_schema, table_name, index_name, definition) values ($1, $2, $3, $4, $5) \
    on conflict (pipeline, table_schema, index_name) do update \
    set table_name = excluded.table_name, definition = excluded.definition, \
        asked_at = excluded.asked_at, started_at = null, attempts = 0, error = null";

const ARE_WAITING: &str = "select exists (select from lockstep.indexes \
    where pipeline = $1 and table_schema = $2 and table_name = $3)";

/// Those that the table has no more are gone, the others are as they are now.
const FOLLOW: &str = "with gone as (delete from lockstep.indexes \
        where pipeline = $1 and table_schema = $2 and table_name = $3 and index_name <> all ($6)) \
    update lockstep.indexes i \
       set table_schema = $4, table_name = $5, definition = n.definition, attempts = 0, error = null \
      from unnest($6::text[], $7::text[]) as n (name, definition) \
     where i.pipeline = $1 and i.table_schema = $2 and i.table_name = $3 and i.index_name = n.name \
       and (i.table_schema, i.table_name, i.definition) \
           is distinct from ($4, $5, n.definition)";

const TAKE: &str = "delete from lockstep.indexes \
    where pipeline = $1 and table_schema = $2 and table_name = $3 returning index_name, definition";

impl Session {
    /// Writes an index down where it is one to be built beside apply: of a large table that is no part
    /// of another and has none, and that nothing depends on. Whether it was.
    pub(super) async fn write_down(&self, notice: &Notice, sql: &str) -> Result<bool, Error> {
        let Some((table, index)) = built_beside(notice, sql) else {
            return Ok(false);
        };
        let name = table.table_name();
        let client: &Client = &self.connection;
        let Some((oid, Storage::Own)) = table::find(client, &name).await? else {
            return Ok(false);
        };
        let size = "select pg_catalog.pg_relation_size($1::oid)";
        let size = client.query_one(size, &[&oid]).await;
        if size
            .map_err(step("ask for a table's size"))?
            .get::<_, i64>(0)
            <= SMALL_BYTES
        {
            return Ok(false);
        }
        let TableName { schema, name } = &name;
        let written = client
            .execute(
                WRITE_DOWN,
                &[&self.pipeline, schema, name, &index.name, &index.definition],
            )
            .await;
        written.map_err(step("write lockstep.indexes"))?;
        Ok(true)
    }

    /// Has what is written down for a table follow what the table becomes. Keeps it from being built
    /// until the transaction ends. The notice is that of `placed`, with the target's names.
    pub(super) async fn follow_indexes(
        &self,
        placed: &Placed,
        notice: &Notice,
    ) -> Result<(), Error> {
        let Some((before, after)) = notice.table().filter(|_| !notice.is_observed()) else {
            return Ok(());
        };
        let (Some(was), Some(is)) = (before.or(after), after.or(before)) else {
            return Ok(());
        };
        let client: &Client = &self.connection;
        let pipeline = &self.pipeline;
        let waiting = client
            .query_one(ARE_WAITING, &[pipeline, &was.schema, &was.name])
            .await;
        if !waiting
            .map_err(step("read lockstep.indexes"))?
            .get::<_, bool>(0)
        {
            return Ok(());
        }
        let lock = format!("select pg_advisory_xact_lock({LOCK})");
        let locked = client.execute(&lock, &[pipeline]).await;
        locked.map_err(step("lock lockstep.indexes"))?;
        if was.partition_of != is.partition_of {
            return self.build_waiting(placed, was).await;
        }
        let indexes = after.map(|it| it.indexes.as_slice()).unwrap_or_default();
        let (names, definitions): (Vec<&str>, Vec<&str>) = indexes
            .iter()
            .map(|it| (it.name.as_str(), it.definition.as_str()))
            .unzip();
        let followed = client
            .execute(
                FOLLOW,
                &[
                    pipeline,
                    &was.schema,
                    &was.name,
                    &is.schema,
                    &is.name,
                    &names,
                    &definitions,
                ],
            )
            .await;
        followed.map_err(step("write lockstep.indexes")).map(drop)
    }

    /// Builds what is written down in the transaction that is open: a table that becomes a partition
    /// brings its indexes.
    async fn build_waiting(&self, placed: &Placed, table: &Table) -> Result<(), Error> {
        let taken = self
            .connection
            .query(TAKE, &[&self.pipeline, &table.schema, &table.name])
            .await
            .map_err(step("write lockstep.indexes"))?;
        for row in taken {
            let (name, definition): (&str, &str) = (row.get(0), row.get(1));
            // What an attempt has left behind.
            let (schema, name) = (quoted(&table.schema), quoted(name));
            self.run_change(placed, &format!("drop index if exists {schema}.{name}"))
                .await?;
            self.run_change(placed, definition).await?;
        }
        Ok(())
    }
}

/// The index that a statement makes, where it is one that can be built beside apply.
fn built_beside<'a>(notice: &'a Notice, sql: &str) -> Option<(&'a Table, &'a Index)> {
    let (_, after) = notice.table()?;
    let table = after?;
    let is_partitioned = table.partition_of.is_some() || table.partition_key.is_some();
    // Unique ones are what keeps rows apart, and are called CREATE UNIQUE INDEX.
    if is_partitioned || !sql.starts_with("CREATE INDEX ") {
        return None;
    }
    let index = table.indexes.iter().find(|it| it.definition == sql)?;
    Some((table, index))
}
