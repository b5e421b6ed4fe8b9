//! Rows one by one, by prepared statements whose parameters are the images themselves.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;

use bytes::BytesMut;
use change::framing::SchemaId;
use service::postgres::Connection;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use super::flight::{Flight, Purpose};
use super::table;
use crate::batch::{Stage, TableStage};
use crate::decode::{Plan, Row, Value};
use crate::error::{Error, StatementError};
use crate::statement::{RowStatement, Shape};

/// What this session knows of tables, and the statements that it has prepared for them.
#[derive(Default)]
pub(super) struct RowStatements {
    shapes: HashMap<SchemaId, Shape>,
    prepared: HashMap<(SchemaId, RowStatement), Statement>,
}

impl RowStatements {
    /// Makes ready what `stages` need.
    pub(super) async fn prepare(
        &mut self,
        client: &Client,
        stages: &[Stage<'_>],
    ) -> Result<(), Error> {
        for stage in stages {
            match stage {
                Stage::Rows(tables) => {
                    for table in tables {
                        self.prepare_table(client, table).await?;
                    }
                }
                Stage::Truncate(changes) => {
                    for change in changes {
                        self.resolve(client, &change.plan).await?;
                    }
                }
                Stage::Move { change, row, .. } => {
                    self.resolve(client, &change.plan).await?;
                    self.prepare_one(client, &change.plan, moved(row)).await?;
                }
            }
        }
        Ok(())
    }

    async fn prepare_table(
        &mut self,
        client: &Client,
        stage: &TableStage<'_>,
    ) -> Result<(), Error> {
        let plan = stage.plan;
        self.resolve(client, plan).await?;
        if !stage.deletes.is_empty() {
            self.prepare_one(client, plan, RowStatement::Delete).await?;
        }
        if !stage.inserts.is_empty() || !stage.upserts.is_empty() {
            self.prepare_one(client, plan, insert(plan)).await?;
        }
        for done in &stage.patches {
            let statement = patch(plan, &done.row);
            self.prepare_one(client, plan, statement).await?;
        }
        Ok(())
    }

    async fn resolve(&mut self, client: &Client, plan: &Plan) -> Result<(), Error> {
        if !self.shapes.contains_key(&plan.schema) {
            let shape = table::resolve(client, &plan.relation).await?;
            self.shapes.insert(plan.schema, shape);
        }
        Ok(())
    }

    async fn prepare_one(
        &mut self,
        client: &Client,
        plan: &Plan,
        statement: RowStatement,
    ) -> Result<(), Error> {
        let id = (plan.schema, statement);
        if self.prepared.contains_key(&id) || sets_nothing(&id.1) {
            return Ok(());
        }
        let sql = self.shapes[&plan.schema].sql(&id.1);
        let prepared = client.prepare(&sql).await;
        let prepared = prepared.map_err(|error| Error::Prepare {
            table: plan.relation.table.clone(),
            source: StatementError(error),
        })?;
        self.prepared.insert(id, prepared);
        Ok(())
    }

    fn statement(&self, plan: &Plan, statement: RowStatement) -> Option<&Statement> {
        self.prepared.get(&(plan.schema, statement))
    }
}

/// Sends one stage's statements: first rows that go, so that their unique values are free.
pub(super) async fn send<'a>(
    flight: &mut Flight<'a>,
    connection: &'a Connection,
    statements: &'a RowStatements,
    stage: &'a Stage<'a>,
) {
    match stage {
        Stage::Rows(tables) => {
            for table in tables {
                send_table(flight, connection, statements, table).await;
            }
        }
        Stage::Truncate(changes) => {
            let names: Vec<String> = changes
                .iter()
                .map(|change| change.plan.relation.table.quoted())
                .collect();
            let sql = format!("truncate {}", names.join(", "));
            let truncate = async move { connection.batch_execute(&sql).await.map(|()| 1) };
            flight.send(Purpose::Change(changes[0]), truncate).await;
        }
        Stage::Move {
            change,
            row,
            old_key,
        } => {
            let statement = statements.statement(&change.plan, moved(row));
            let images = changed(row, |_| true).chain(images(old_key)).collect();
            send_one(
                flight,
                connection,
                statement,
                Purpose::ChangeOfRow(change),
                images,
            )
            .await;
        }
    }
}

async fn send_table<'a>(
    flight: &mut Flight<'a>,
    connection: &'a Connection,
    statements: &'a RowStatements,
    stage: &'a TableStage<'a>,
) {
    let plan: &Plan = stage.plan;
    for done in &stage.deletes {
        let purpose = match plan.has_key() {
            // A key that a move took away is deleted once more.
            true => Purpose::Change(done.change),
            false => Purpose::ChangeOfRow(done.change),
        };
        let statement = statements.statement(plan, RowStatement::Delete);
        send_one(
            flight,
            connection,
            statement,
            purpose,
            images(&done.row).collect(),
        )
        .await;
    }
    for done in &stage.patches {
        let statement = statements.statement(plan, patch(plan, &done.row));
        let key = plan.relation.columns.iter().zip(done.row.values());
        let key = key.filter(|(column, _)| column.in_key);
        let images = changed(&done.row, |at| !plan.relation.columns[at].in_key)
            .chain(key.map(|(_, value)| Image::of(value)))
            .collect();
        send_one(
            flight,
            connection,
            statement,
            Purpose::ChangeOfRow(done.change),
            images,
        )
        .await;
    }
    for done in stage.upserts.iter().chain(&stage.inserts) {
        let statement = statements.statement(plan, insert(plan));
        let images = images(&done.row).collect();
        send_one(
            flight,
            connection,
            statement,
            Purpose::Change(done.change),
            images,
        )
        .await;
    }
}

async fn send_one<'a>(
    flight: &mut Flight<'a>,
    connection: &'a Connection,
    statement: Option<&'a Statement>,
    purpose: Purpose<'a>,
    images: Vec<Image<'a>>,
) {
    // Only a patch of nothing has no statement.
    if let Some(statement) = statement {
        let execute = connection.execute_raw(statement, images);
        flight.send(purpose, execute).await;
    }
}

fn insert(plan: &Plan) -> RowStatement {
    match plan.has_key() {
        true => RowStatement::Upsert,
        false => RowStatement::Insert,
    }
}

fn patch(plan: &Plan, row: &Row) -> RowStatement {
    let columns = plan.relation.columns.iter().zip(row.values());
    let touched = columns.map(|(column, value)| !column.in_key && value != Value::Unchanged);
    RowStatement::Patch(touched.collect())
}

fn moved(row: &Row) -> RowStatement {
    let touched = row.values().map(|value| value != Value::Unchanged);
    RowStatement::Patch(touched.collect())
}

fn sets_nothing(statement: &RowStatement) -> bool {
    match statement {
        RowStatement::Patch(touched) => !touched.contains(&true),
        RowStatement::Insert | RowStatement::Upsert | RowStatement::Delete => false,
    }
}

fn images(row: &Row) -> impl Iterator<Item = Image<'_>> {
    row.values().map(Image::of)
}

/// The values of `row` that an update sets, of the columns that `wanted` names.
fn changed(row: &Row, wanted: impl Fn(usize) -> bool) -> impl Iterator<Item = Image<'_>> {
    let values = row.values().enumerate();
    values
        .filter(move |(at, value)| wanted(*at) && *value != Value::Unchanged)
        .map(|(_, value)| Image::of(value))
}

/// A parameter that is its type's binary image already.
struct Image<'a>(Option<&'a [u8]>);

impl<'a> Image<'a> {
    fn of(value: Value<'a>) -> Self {
        match value {
            Value::Image(image) => Self(Some(image)),
            Value::Null | Value::Unchanged => Self(None),
        }
    }
}

/// Says nothing of the value: the client logs parameters.
impl fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Image")
    }
}

impl ToSql for Image<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Some(image) => {
                out.extend_from_slice(image);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
