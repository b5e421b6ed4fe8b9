//! Setting changes aside in `lockstep.dead_letters`, in the transaction that goes on without them.

use change::Position;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Statement};

use crate::batch::{Aside, Change};
use crate::decode::{Action, Row, Unreadable};
use crate::error::StatementError;

/// The statements that set aside.
pub(super) struct LetterStatements {
    insert: Statement,
    close: Statement,
}

/// Why a change is not applied.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) class: &'static str,
    pub(super) sqlstate: Option<String>,
    pub(super) constraint: Option<String>,
    /// Names what is at fault, no value.
    pub(super) text: String,
}

const INSERT: &str = "insert into lockstep.dead_letters (pipeline, table_schema, table_name, \
    commit_lsn, ordinal, topic, kafka_partition, kafka_offset, schema_id, op, images, key, \
    moved_from, error_class, sqlstate, constraint_name, error, record) \
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
    on conflict do nothing";

const CLOSE: &str = "update lockstep.dead_letters set state = 'discarded', \
    closed_at = clock_timestamp(), closed_by = 'apply', closed_why = 'the table was truncated' \
    where pipeline = $1 and table_schema = $2 and table_name = $3 and state = 'open'";

impl Refusal {
    /// An earlier change of the key was set aside, or one that may be of any key.
    fn follows() -> Self {
        let text = "an earlier change of the same key was set aside";
        Self::here("follows", text.to_owned())
    }

    /// The record cannot be decoded.
    pub(super) fn undecodable(record: &Unreadable) -> Self {
        Self::here("undecodable", record.why.clone())
    }

    /// Not the target's.
    fn here(class: &'static str, text: String) -> Self {
        Self {
            class,
            sqlstate: None,
            constraint: None,
            text,
        }
    }

    /// The target refused it.
    pub(super) fn conflict(error: &StatementError) -> Self {
        Self {
            class: "conflict",
            sqlstate: error.code().map(|code| code.code().to_owned()),
            constraint: error.constraint().map(str::to_owned),
            text: error.to_string(),
        }
    }
}

impl LetterStatements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            insert: client.prepare(INSERT).await?,
            close: client.prepare(CLOSE).await?,
        })
    }

    /// Writes down what is not applied.
    pub(super) async fn write(
        &self,
        client: &Client,
        pipeline: &str,
        aside: Aside<'_>,
    ) -> Result<u64, tokio_postgres::Error> {
        match aside {
            Aside::Unreadable(change) => {
                let refusal = match &change.action {
                    Action::Unreadable(record) => Refusal::undecodable(record),
                    _ => unreachable!("sifted by its action"),
                };
                self.insert(client, pipeline, change, &refusal).await
            }
            Aside::Follows(change) => {
                let refusal = Refusal::follows();
                self.insert(client, pipeline, change, &refusal).await
            }
            Aside::Closes(change) => {
                let table = &change.plan.relation.table;
                let values: [&(dyn ToSql + Sync); 3] = [&pipeline, &table.schema, &table.name];
                client.execute(&self.close, &values).await
            }
        }
    }

    pub(super) async fn insert(
        &self,
        client: &Client,
        pipeline: &str,
        change: &Change,
        refusal: &Refusal,
    ) -> Result<u64, tokio_postgres::Error> {
        let Position {
            commit_lsn,
            ordinal,
        } = change.position;
        let table = &change.plan.relation.table;
        let (op, images, record) = match &change.action {
            Action::Insert(row) => ("insert", row.layout(), None),
            Action::Update { row, .. } => ("update", row.layout(), None),
            Action::Delete(key) => ("delete", key.layout(), None),
            Action::Unreadable(record) => ("unknown", &[][..], Some(&*record.value)),
            Action::Truncate => unreachable!("a truncation touches no key and is never set aside"),
        };
        let (key, moved_from) = change.keys();
        let values: [&(dyn ToSql + Sync); 18] = [
            &pipeline,
            &table.schema,
            &table.name,
            &PgLsn::from(commit_lsn.as_u64()),
            &i64::try_from(ordinal).unwrap_or(i64::MAX),
            &change.plan.topic,
            &change.partition,
            &change.offset,
            &i64::from(change.plan.schema.0),
            &op,
            &images,
            &key.as_ref().map(Row::layout),
            &moved_from.map(Row::layout),
            &refusal.class,
            &refusal.sqlstate,
            &refusal.constraint,
            &refusal.text,
            &record,
        ];
        client.execute(&self.insert, &values).await
    }
}
