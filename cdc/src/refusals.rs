//! Tables whose schema was refused: their changes are left out, and apply has them wait, until they are
//! read once more.
//!
//! ```text
//! refused: kept on the source ─▶ told in the topic of schema changes ─▶ apply holds the table
//! read once more: the schema is accepted ─▶ a truncation, and all rows ─▶ apply resumes the table
//! ```

use std::collections::HashMap;

use change::TableName;
use change::schema_change::{Definition, Notice, Table};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::capture::Capture;
use crate::catalog::Shape;
use crate::encode;
use crate::error::Error;
use crate::publish::Shapes;
use crate::resnapshot::{Chunk, Outcome, answer};
use crate::source::SlotName;
use crate::tables::{Acceptance, Learned, TableError};
use crate::wire::Oid;

/// What a refusal is called in the topic of schema changes.
const TAG: &str = "REFUSED SCHEMA";
/// A registry quotes whole schemas.
const REASON_CHARS_MAX: usize = 1_000;

/// The tables that are left out, with the reasons.
///
/// # Errors
/// When the source does not answer.
pub(crate) async fn all(
    client: &Client,
    slot: &SlotName,
) -> Result<HashMap<TableName, String>, Error> {
    let there = "select coalesce(has_table_privilege(to_regclass('lockstep.refused_tables'), \
                                                     'select, insert'), false)";
    let there = client.query_one(there, &[]).await.map_err(failed)?;
    if !there.get::<_, bool>(0) {
        return Ok(HashMap::new());
    }
    let sql =
        "select table_schema, table_name, reason from lockstep.refused_tables where slot = $1";
    let rows = client.query(sql, &[&slot.as_str()]).await.map_err(failed)?;
    let refused = rows.iter().map(|row| {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (table, row.get(2))
    });
    Ok(refused.collect())
}

/// Takes note that everything of a table is in the topics, or on its way, again.
///
/// # Errors
/// When the source does not answer.
pub(crate) async fn forget(
    client: &Client,
    slot: &SlotName,
    table: &TableName,
) -> Result<(), tokio_postgres::Error> {
    let sql = "delete from lockstep.refused_tables \
               where slot = $1 and table_schema = $2 and table_name = $3";
    let parameters: [&(dyn ToSql + Sync); 3] = [&slot.as_str(), &table.schema, &table.name];
    client.execute(sql, &parameters).await.map(drop)
}

async fn keep(
    client: &Client,
    slot: &SlotName,
    table: &TableName,
    reason: &str,
) -> Result<(), Error> {
    let sql = "insert into lockstep.refused_tables (slot, table_schema, table_name, reason) \
               values ($1, $2, $3, $4) on conflict do nothing";
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&slot.as_str(), &table.schema, &table.name, &reason];
    client
        .execute(sql, &parameters)
        .await
        .map(drop)
        .map_err(failed)
}

fn failed(source: tokio_postgres::Error) -> Error {
    Error::Query {
        step: "keep which tables are left out",
        source,
    }
}

impl Capture {
    /// Takes note of how a table looks; the inner error says why its schema is refused.
    pub(crate) async fn learn(
        &mut self,
        shape: Shape,
        acceptance: Acceptance,
    ) -> Result<Result<Learned, String>, Error> {
        self.batch.shapes = Shapes::Described;
        match self.tables.learn(&self.client, shape, acceptance).await {
            Ok(learned) => Ok(Ok(learned)),
            Err(error) if error.is_refusal() => Ok(Err(reason_of(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Leaves a table out from here on.
    pub(crate) async fn refuse(
        &mut self,
        oid: Oid,
        table: TableName,
        reason: String,
    ) -> Result<(), Error> {
        tracing::error!(
            %table, reason,
            "the table's changes are left out: `lockstep schemas` shows what the registry has; when \
             it takes the schema, `lockstep snapshot --table` and `lockstep resume --table` bring \
             the table back"
        );
        keep(&self.client, &self.slot, &table, &reason).await?;
        self.tables.refuse(oid, table.clone(), reason.clone());
        self.tell_refusal(&table, reason).await
    }

    /// Tells apply to let the table wait from this transaction on.
    pub(crate) async fn tell_refusal(
        &mut self,
        table: &TableName,
        reason: String,
    ) -> Result<(), Error> {
        let notice = Notice {
            tag: TAG.to_owned(),
            oid: 0,
            statement: String::new(),
            rewritten: false,
            refused: Some(reason),
            before: None,
            after: Some(Definition::Table(Box::new(Table::named(table)))),
        };
        self.tell(notice).await
    }

    /// Takes a chunk of a table that was not followed for a while: none of its rows, since changes may
    /// not have been looked at while it was read, but that the table begins anew from here on.
    pub(crate) async fn accept(&mut self, chunk: Chunk) -> Result<(), Error> {
        let Some(transaction) = &self.transaction else {
            return Err(self.out_of_order("watermark"));
        };
        let commit_lsn = transaction.commit_lsn();
        let (oid, table) = (chunk.shape.oid, chunk.shape.table.clone());
        let plan = match self.learn(chunk.shape, Acceptance::Asked).await? {
            Ok(learned) => learned.plan,
            Err(reason) => {
                answer(chunk.outcome, Outcome::Refused(reason));
                return Ok(());
            }
        };
        tracing::info!(%table, "the table's changes are taken again");
        self.tables.accept(&table);
        self.publish(oid, &plan, &encode::truncation()).await?;
        self.resnapshot
            .sent(commit_lsn, Outcome::Restart, chunk.outcome);
        Ok(())
    }
}

fn reason_of(refusal: &TableError) -> String {
    service::chain(refusal)
        .chars()
        .take(REASON_CHARS_MAX)
        .collect()
}
