//! Applying after all what was set aside.

use std::collections::HashMap;
use std::sync::Arc;

use change::framing::{self, SchemaId};
use change::{Lsn, Position, TableName};
use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::{PgLsn, ToSql};

use super::image::Image;
use super::letters::Refusal;
use super::session::{BEGIN, Session, run};
use super::table;
use crate::batch::{Change, HeldKeys};
use crate::control;
use crate::dead_letters::{Redriven, Side};
use crate::decode::{self, Action, Fields, Plan, Row, Unreadable, Value};
use crate::error::{Error, RecordPlace, step};
use crate::registry::Registry;
use crate::schemas::known_text;

const COLUMNS: &str = "id, table_schema, table_name, topic, kafka_partition, kafka_offset, \
    schema_id, commit_lsn, ordinal, op, images, moved_from, record";

/// The letters that are asked for, and all open ones that share a key with them, or with one of
/// those: a key's changes are applied in their order or not at all. One of which nobody knows the key
/// may be of any.
const CONNECTED: &str = "with recursive connected as (\
    select id, table_schema, table_name, key, moved_from from lockstep.dead_letters \
     where pipeline = $1 and state = 'open' and id = any ($2) \
    union \
    select d.id, d.table_schema, d.table_name, d.key, d.moved_from \
      from lockstep.dead_letters d join connected c \
      on d.table_schema = c.table_schema and d.table_name = c.table_name \
     and (d.key is null or c.key is null \
          or d.key in (c.key, c.moved_from) or d.moved_from in (c.key, c.moved_from)) \
     where d.pipeline = $1 and d.state = 'open') \
    select d.id from lockstep.dead_letters d join connected c on d.id = c.id \
    order by d.commit_lsn, d.ordinal";

/// So many are in memory at once.
const LETTERS: usize = 500;

/// What became of a letter.
enum Fate {
    Applied,
    Refused,
    /// One before it was refused.
    Waiting,
}

impl Session {
    /// Applies open letters and what follows them, in one transaction in which apply stands still.
    ///
    /// # Errors
    /// When the target does not answer, or a letter cannot be read. A letter that is refused again
    /// stays open, and so do those that follow it.
    pub(crate) async fn redrive(
        &mut self,
        ids: &[i64],
        who: &str,
        registry: &Registry,
    ) -> Result<Redriven, Error> {
        run(&self.connection, BEGIN).await.map_err(step("begin"))?;
        let taken = control::take(&*self.connection, &self.pipeline).await;
        taken.map_err(step("take lockstep.progress"))?;
        let connected: [&(dyn ToSql + Sync); 2] = [&self.pipeline, &ids];
        let connected = self.connection.query(CONNECTED, &connected).await;
        let connected = connected.map_err(step("read lockstep.dead_letters"))?;
        let connected: Vec<i64> = connected.iter().map(|row| row.get(0)).collect();
        let query = format!(
            "select {COLUMNS} from lockstep.dead_letters where id = any ($1) \
             order by commit_lsn, ordinal"
        );
        let mut plans = HashMap::new();
        let mut held = HeldKeys::default();
        let mut redriven = Redriven::default();
        for some in connected.chunks(LETTERS) {
            let letters = self.connection.query(&query, &[&some]).await;
            for letter in &letters.map_err(step("read lockstep.dead_letters"))? {
                let change = match letter.get::<_, Option<&[u8]>>("record") {
                    Some(record) => self.read_again(letter, record, registry).await?,
                    None => self.change_of(letter, &mut plans).await?,
                };
                match self
                    .redrive_one(letter.get("id"), &change, &mut held, who)
                    .await?
                {
                    Fate::Applied => redriven.applied += 1,
                    Fate::Refused => redriven.refused += 1,
                    Fate::Waiting => redriven.waiting += 1,
                }
            }
        }
        run(&self.connection, "commit")
            .await
            .map_err(step("commit"))?;
        Ok(redriven)
    }

    async fn redrive_one(
        &mut self,
        id: i64,
        change: &Change,
        held: &mut HeldKeys,
        who: &str,
    ) -> Result<Fate, Error> {
        if held.takes(change) {
            return Ok(Fate::Waiting);
        }
        let refusal = match &change.action {
            Action::Unreadable(record) => Refusal::undecodable(record),
            _ => match self.attempt_one(change).await {
                Ok(()) => {
                    self.note_applied(id, who).await?;
                    return Ok(Fate::Applied);
                }
                Err(Error::Apply { source, .. }) if source.is_refusal() => {
                    Refusal::conflict(&source)
                }
                Err(error) => return Err(error),
            },
        };
        self.note_refused(id, &refusal).await?;
        held.hold(change);
        Ok(Fate::Refused)
    }

    /// What a letter wants its row to be beside what the row is, column by column, as Postgres writes
    /// the values; nothing where the record could not be decoded, `None` when there is no such letter.
    ///
    /// # Errors
    /// When the target does not answer, or lacks the table.
    pub(crate) async fn sides(&mut self, id: i64) -> Result<Option<Vec<Side>>, Error> {
        let query =
            format!("select {COLUMNS} from lockstep.dead_letters where pipeline = $1 and id = $2");
        let letter = self
            .connection
            .query_opt(&query, &[&self.pipeline, &id])
            .await;
        let Some(letter) = letter.map_err(step("read lockstep.dead_letters"))? else {
            return Ok(None);
        };
        if letter.get::<_, Option<&[u8]>>("record").is_some() {
            return Ok(Some(Vec::new()));
        }
        let change = self.change_of(&letter, &mut HashMap::new()).await?;
        let shape = table::resolve(&self.connection, &change.plan, None).await?;
        let wanted = match &change.action {
            Action::Insert(row) | Action::Update { row, .. } => Some(row),
            Action::Delete(_) | Action::Truncate | Action::Unreadable(_) => None,
        };
        let (key, moved_from) = change.keys();
        let present = match moved_from.or(key.as_ref()) {
            Some(key) if shape.has_key => {
                let images: Vec<Image<'_>> = key.values().map(Image::from).collect();
                self.texts(&shape.find(), images).await?
            }
            _ => None,
        };
        let wanted_texts = match wanted {
            Some(row) => {
                let images: Vec<Image<'_>> = row.values().map(Image::from).collect();
                self.texts(&shape.render(), images).await?
            }
            None => None,
        };
        let columns = shape.columns.iter().enumerate();
        let side = |(at, column): (usize, &crate::statement::ShapeColumn)| Side {
            column: column.name.clone(),
            is_key: column.equality.is_some(),
            unchanged: wanted.is_some_and(|row| row.values().nth(at) == Some(Value::Unchanged)),
            wanted: wanted_texts.as_ref().and_then(|texts| texts[at].clone()),
            present: present.as_ref().and_then(|texts| texts[at].clone()),
        };
        Ok(Some(columns.map(side).collect()))
    }

    /// The only row that a query of texts gives.
    async fn texts(
        &self,
        sql: &str,
        images: Vec<Image<'_>>,
    ) -> Result<Option<Vec<Option<String>>>, Error> {
        let statement = self.connection.prepare(sql).await;
        let statement = statement.map_err(step("show a row"))?;
        let rows = self.connection.query_raw(&statement, images).await;
        let rows = rows.map_err(step("show a row"))?;
        let rows: Result<Vec<SqlRow>, _> = futures_util::TryStreamExt::try_collect(rows).await;
        let rows = rows.map_err(step("show a row"))?;
        let texts = |row: &SqlRow| (0..row.len()).map(|at| row.get(at)).collect();
        Ok(rows.first().map(texts))
    }

    async fn change_of(
        &self,
        letter: &SqlRow,
        plans: &mut HashMap<i64, Arc<Plan>>,
    ) -> Result<Change, Error> {
        let (schema, topic): (i64, String) = (letter.get("schema_id"), letter.get("topic"));
        let plan = match plans.get(&schema) {
            Some(plan) => Arc::clone(plan),
            None => {
                let plan = Arc::new(self.plan(schema, &topic).await?);
                plans.insert(schema, Arc::clone(&plan));
                plan
            }
        };
        let damaged = || Error::Letter {
            id: letter.get("id"),
        };
        let columns = plan.relation.columns.len();
        let keys = match plan.has_key() {
            true => plan.relation.columns.iter().filter(|it| it.in_key).count(),
            false => columns,
        };
        let row = |column, width| {
            let layout: Option<&[u8]> = letter.get(column);
            let row = layout.map(|layout| Row::from_layout(layout, width).ok_or_else(damaged));
            row.transpose()
        };
        let action = match letter.get("op") {
            "insert" => Action::Insert(row("images", columns)?.ok_or_else(damaged)?),
            "update" => Action::Update {
                row: row("images", columns)?.ok_or_else(damaged)?,
                moved_from: row("moved_from", keys)?,
            },
            _ => Action::Delete(row("images", keys)?.ok_or_else(damaged)?),
        };
        Ok(change(letter, plan, action))
    }

    async fn plan(&self, schema: i64, topic: &str) -> Result<Plan, Error> {
        let query = "select schema from lockstep.schemas where id = $1";
        let row = self.connection.query_one(query, &[&schema]).await;
        let text: String = row.map_err(step("read lockstep.schemas"))?.get(0);
        let schema = SchemaId(u32::try_from(schema).unwrap_or_default());
        Ok(compile(schema, topic, &text)?.under(&self.policies.differences)?)
    }

    /// Tries to decode a record that could not be decoded: the registry may know its schema now.
    async fn read_again(
        &self,
        letter: &SqlRow,
        record: &[u8],
        registry: &Registry,
    ) -> Result<Change, Error> {
        let table = TableName::new(
            letter.get::<_, String>("table_schema"),
            letter.get::<_, String>("table_name"),
        );
        let topic: &str = letter.get("topic");
        let (schema, datum) = framing::split(record).map_err(|source| Error::Framing {
            place: place(letter),
            source,
        })?;
        let read = async {
            let registered = registry.schema(schema).await;
            let text = known_text(&self.connection, registered, schema, topic).await?;
            let plan = compile(schema, topic, &text)?;
            if plan.relation.table != table {
                return Err(Error::ForeignTable {
                    topic: topic.to_owned(),
                    table: plan.relation.table,
                });
            }
            let plan = plan.under(&self.policies.differences)?;
            let action = decode::action(&plan, datum, &mut Fields::default());
            let action = action.map_err(|source| Error::Decode {
                place: place(letter),
                source,
            })?;
            Ok((plan, action))
        };
        let (plan, action) = match read.await {
            Ok(read) => read,
            Err(error) if error.is_undecodable() => {
                let record = Box::new(Unreadable {
                    value: record.into(),
                    why: service::chain(&error),
                });
                let plan = Plan::opaque(schema, topic, table.clone());
                (plan, Action::Unreadable(record))
            }
            Err(error) => return Err(error),
        };
        Ok(change(letter, Arc::new(plan), action))
    }

    async fn note_applied(&self, id: i64, who: &str) -> Result<(), Error> {
        let sql = "update lockstep.dead_letters set state = 'applied', attempts = attempts + 1, \
                   closed_at = clock_timestamp(), closed_by = $2, closed_why = 'redriven' \
                   where id = $1";
        let noted = self.connection.execute(sql, &[&id, &who]).await;
        noted.map_err(step("write lockstep.dead_letters")).map(drop)
    }

    async fn note_refused(&self, id: i64, refusal: &Refusal) -> Result<(), Error> {
        let sql = "update lockstep.dead_letters set attempts = attempts + 1, \
                   error_class = $2, sqlstate = $3, constraint_name = $4, error = $5 \
                   where id = $1";
        let Refusal {
            class,
            sqlstate,
            constraint,
            text,
        } = refusal;
        let values: [&(dyn ToSql + Sync); 5] = [&id, class, sqlstate, constraint, text];
        let noted = self.connection.execute(sql, &values).await;
        noted.map_err(step("write lockstep.dead_letters")).map(drop)
    }
}

fn compile(schema: SchemaId, topic: &str, text: &str) -> Result<Plan, Error> {
    Plan::compile(schema, topic, text).map_err(|source| Error::Schema {
        schema,
        topic: topic.to_owned(),
        source,
    })
}

fn change(letter: &SqlRow, plan: Arc<Plan>, action: Action) -> Change {
    let RecordPlace {
        partition, offset, ..
    } = place(letter);
    Change {
        position: Position {
            commit_lsn: Lsn::new(u64::from(letter.get::<_, PgLsn>("commit_lsn"))),
            ordinal: u64::try_from(letter.get::<_, i64>("ordinal")).unwrap_or_default(),
        },
        plan,
        partition,
        offset,
        action,
    }
}

fn place(letter: &SqlRow) -> RecordPlace {
    RecordPlace {
        topic: letter.get("topic"),
        partition: letter.get("kafka_partition"),
        offset: letter.get("kafka_offset"),
    }
}
