//! Resolving a conflict in the source's favour: rows that the source does not have give way.
//!
//! Which rows those are, the constraint that refused the change says: those that it does not allow
//! beside the wanted row.

use change::{Position, TableName};
use serde_json::json;
use tokio_postgres::error::DbError;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row as SqlRow};

use super::image::Image;
use super::session::Session;
use super::table;
use crate::batch::Change;
use crate::decode::{Action, Row, Value};
use crate::error::{Error, StatementError, step};
use crate::statement::{Element, Filling, Obstacle, ObstacleColumn};

impl Session {
    /// Applies a change that `error` refused, deleting the rows that are in its way. Whatever is
    /// deleted is counted, and stands in `lockstep.audit` without its values.
    ///
    /// # Errors
    /// When no row is in its way, or something else refuses it.
    pub(super) async fn overwrite(&mut self, change: &Change, error: Error) -> Result<(), Error> {
        let mut refused = error;
        // Ends: each round deletes a row at least.
        loop {
            let Error::Apply { source, .. } = &refused else {
                return Err(refused);
            };
            let Some(conflict) = source.in_the_way() else {
                return Err(refused);
            };
            if self.make_room(change, conflict).await? == 0 {
                return Err(refused);
            }
            match self.attempt_one(change).await {
                Ok(()) => return Ok(()),
                Err(error) => refused = error,
            }
        }
    }

    async fn make_room(&self, change: &Change, conflict: &DbError) -> Result<u64, Error> {
        let client: &Client = &self.connection;
        let (Action::Insert(row) | Action::Update { row, .. }) = &change.action else {
            return Ok(0);
        };
        let shape = table::resolve(client, &change.plan, None).await?;
        let Some(obstacle) = obstacle(client, &shape.table, conflict).await? else {
            return Ok(0);
        };
        let marked: Vec<bool> = row.values().map(|it| it != Value::Unchanged).collect();
        let (key, moved_from) = change.keys();
        let key = moved_from.or(key.as_ref()).filter(|_| shape.has_key);
        let values = row.values().filter(|it| *it != Value::Unchanged);
        let values = values.chain(key.into_iter().flat_map(Row::values));
        let images: Vec<Image<'_>> = values.map(Image::from).collect();
        let failed = |error| Error::Apply {
            change: change.place(),
            table: change.plan.relation.table.clone(),
            source: StatementError(error),
        };
        let statement = client.prepare(&shape.make_room(&obstacle, &marked)).await;
        let deleted = client
            .execute_raw(&statement.map_err(failed)?, images)
            .await;
        let deleted = deleted.map_err(failed)?;
        if deleted > 0 {
            let constraint = conflict.constraint().unwrap_or_default();
            self.note_overwritten(change, constraint, deleted).await?;
        }
        Ok(deleted)
    }

    async fn note_overwritten(
        &self,
        change: &Change,
        constraint: &str,
        rows: u64,
    ) -> Result<(), Error> {
        let table = change.plan.relation.table.to_string();
        let Position {
            commit_lsn,
            ordinal,
        } = change.position;
        self.metrics.overwritten_rows.inc_by(rows);
        tracing::warn!(
            change = %change.place(),
            table,
            constraint,
            rows,
            "overwrote rows that the source does not have"
        );
        let details = json!({
            "constraint": constraint,
            "rows": rows,
            "commit_lsn": commit_lsn.to_string(),
            "ordinal": ordinal,
        });
        let values: [&(dyn ToSql + Sync); 3] = [&self.pipeline, &table, &details];
        let noted = self.connection.execute(NOTE, &values).await;
        noted.map_err(step("write lockstep.audit")).map(drop)
    }
}

const NOTE: &str = "insert into lockstep.audit (pipeline, who, action, object, reason, details) \
    values ($1, 'apply', 'overwrite rows', $2, 'conflicts = overwrite', $3)";

/// The index behind what refused a row, when it is one of the table $4 or of a partition of it.
const OBSTACLE: &str = "\
select t.oid as table_oid, pg_catalog.pg_get_expr(i.indpred, i.indrelid) as predicate,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) as nulls_equal,
       pg_catalog.pg_get_indexdef(i.indexrelid, k, false) as expression,
       pg_catalog.format('operator(%I.%s)', opn.nspname, op.oprname) as operator,
       pg_catalog.quote_ident(con.nspname) || '.' || pg_catalog.quote_ident(co.collname)
           as collation
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_class t on t.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = t.relnamespace
 cross join pg_catalog.generate_series(1, i.indnkeyatts) k
  join pg_catalog.pg_opclass opc on opc.oid = i.indclass[k - 1]
  left join pg_catalog.pg_constraint c
    on c.conindid = i.indexrelid and c.conrelid = i.indrelid and c.conexclop is not null
  -- Of an index without operators of its own: equality, in B-trees the third strategy.
  left join pg_catalog.pg_amop am on c.oid is null and am.amopfamily = opc.opcfamily
   and am.amoplefttype = opc.opcintype and am.amoprighttype = opc.opcintype
   and am.amopstrategy = 3 and am.amoppurpose = 's'
  join pg_catalog.pg_operator op on op.oid = coalesce(c.conexclop[k], am.amopopr)
  join pg_catalog.pg_namespace opn on opn.oid = op.oprnamespace
  left join pg_catalog.pg_collation co on co.oid = i.indcollation[k - 1]
  left join pg_catalog.pg_namespace con on con.oid = co.collnamespace
 where n.nspname = $1 and t.relname = $2 and x.relname = $3
   and (t.oid = pg_catalog.to_regclass($4)
        or exists (select from pg_catalog.pg_partition_ancestors(t.oid) a
                    where a.relid = pg_catalog.to_regclass($4)))
 order by k";

const COLUMNS: &str = "\
select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
       pg_catalog.pg_get_expr(d.adbin, d.adrelid)
  from pg_catalog.pg_attribute a
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum";

/// What refused a row of `table`; `None` when it was something of another table, which a trigger
/// writes to.
async fn obstacle(
    client: &Client,
    table: &TableName,
    conflict: &DbError,
) -> Result<Option<Obstacle>, Error> {
    let (Some(schema), Some(name), Some(constraint)) =
        (conflict.schema(), conflict.table(), conflict.constraint())
    else {
        return Ok(None);
    };
    let values: [&(dyn ToSql + Sync); 4] = [&schema, &name, &constraint, &table.quoted()];
    let elements = client.query(OBSTACLE, &values).await;
    let elements = elements.map_err(step("look for a constraint"))?;
    let Some(first) = elements.first() else {
        return Ok(None);
    };
    let oid: u32 = first.get("table_oid");
    let columns = client.query(COLUMNS, &[&oid]).await;
    let columns = columns.map_err(step("read a table's columns"))?;
    Ok(Some(Obstacle {
        table: TableName::new(schema, name),
        columns: columns.iter().map(column).collect(),
        elements: elements.iter().map(element).collect(),
        predicate: first.get("predicate"),
        nulls_equal: first.get("nulls_equal"),
    }))
}

fn element(row: &SqlRow) -> Element {
    Element {
        expression: row.get("expression"),
        operator: row.get("operator"),
        collation: row.get("collation"),
    }
}

fn column(row: &SqlRow) -> ObstacleColumn {
    ObstacleColumn {
        name: row.get(0),
        type_name: row.get(1),
        filling: match (row.get(2), row.get(3)) {
            (_, None) => Filling::Null,
            (true, Some(expression)) => Filling::Generated(expression),
            (false, Some(expression)) => Filling::Default(expression),
        },
    }
}
