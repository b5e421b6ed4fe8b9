//! What a session knows of the target's tables, and the statements that it has prepared for them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use change::TableName;
use change::framing::SchemaId;
use tokio_postgres::{Client, Statement};

use super::job::{Job, Way, jobs, move_job};
use super::table;
use crate::batch::{Change, Stage};
use crate::decode::Plan;
use crate::error::{Error, StatementError, step};
use crate::statement::{Shape, TableStatement};

#[derive(Default)]
pub(super) struct Statements {
    /// Tables whose changes go to another.
    redirects: HashMap<TableName, TableName>,
    shapes: HashMap<SchemaId, Shape>,
    prepared: HashMap<(SchemaId, TableStatement), Statement>,
    /// Tables whose stage exists.
    staged: HashSet<SchemaId>,
}

/// What is sent for one stage.
pub(super) enum Work<'a> {
    Jobs(Vec<Job<'a>>),
    Truncate { first: &'a Change, sql: String },
}

impl Statements {
    /// Works out what `stages` need and makes it ready.
    pub(super) async fn ready<'a>(
        &mut self,
        client: &Client,
        stages: &'a [Stage<'a>],
    ) -> Result<Vec<Work<'a>>, Error> {
        let mut all = Vec::with_capacity(stages.len());
        for stage in stages {
            let work = match stage {
                Stage::Truncate(changes) => {
                    let mut tables = Vec::with_capacity(changes.len());
                    for change in changes {
                        let shape = self.resolve(client, &change.plan).await?;
                        tables.push((shape.table.quoted(), shape.rows()));
                    }
                    Work::Truncate {
                        first: changes[0],
                        sql: emptying(client, &tables).await?,
                    }
                }
                Stage::Move {
                    change,
                    row,
                    old_key,
                } => {
                    self.resolve(client, &change.plan).await?;
                    Work::Jobs(vec![move_job(change, row, old_key)])
                }
                Stage::Rows(tables) => {
                    let mut work = Vec::new();
                    for stage in tables {
                        let shape = self.resolve(client, stage.plan).await?;
                        work.extend(jobs(stage, shape));
                    }
                    Work::Jobs(work)
                }
            };
            if let Work::Jobs(jobs) = &work {
                for job in jobs {
                    self.prepare(client, job).await?;
                }
            }
            all.push(work);
        }
        Ok(all)
    }

    pub(super) fn get(&self, plan: &Plan, statement: TableStatement) -> &Statement {
        let prepared = self.prepared.get(&(plan.schema, statement));
        prepared.expect("prepared for the job that asks for it")
    }

    /// Forgets what tables look like, because one has changed. Stages stay: a table that has got other
    /// columns comes with another schema, and so with another stage.
    pub(super) fn forget(&mut self) {
        self.shapes.clear();
        self.prepared.clear();
    }

    /// Sends changes of `table` elsewhere from now on.
    pub(super) fn redirect(&mut self, table: TableName, to: TableName) {
        self.redirects.insert(table, to);
    }

    async fn resolve(&mut self, client: &Client, plan: &Plan) -> Result<&Shape, Error> {
        let redirect = self.redirects.get(&plan.relation.table);
        match self.shapes.entry(plan.schema) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                Ok(unknown.insert(table::resolve(client, plan, redirect).await?))
            }
        }
    }

    pub(super) async fn prepare(&mut self, client: &Client, job: &Job<'_>) -> Result<(), Error> {
        let (schema, shape) = (job.plan.schema, &self.shapes[&job.plan.schema]);
        let failed = |error| Error::Prepare {
            table: shape.table.clone(),
            source: StatementError(error),
        };
        let is_staged = matches!(job.way, Way::Stage { .. });
        if is_staged && !self.staged.contains(&schema) {
            let created = client.batch_execute(&shape.create_stage()).await;
            created.map_err(failed)?;
            self.staged.insert(schema);
        }
        for statement in job.statements() {
            let sql = shape.sql(&statement);
            if let Entry::Vacant(unknown) = self.prepared.entry((schema, statement)) {
                unknown.insert(client.prepare(&sql).await.map_err(failed)?);
            }
        }
        Ok(())
    }
}

/// Takes all rows from tables, each by its name and by that of its rows. What Postgres does not truncate,
/// since a table that keeps its rows refers to it, loses its rows one by one.
async fn emptying(client: &Client, tables: &[(String, String)]) -> Result<String, Error> {
    let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
    let referred = client.query_one(REFERRED, &[&names]).await;
    let referred = referred.map_err(step("look which tables refer to one that is emptied"))?;
    let rows: Vec<&str> = tables.iter().map(|(_, rows)| rows.as_str()).collect();
    Ok(match referred.get(0) {
        true => format!("delete from {}", rows.join("; delete from ")),
        false => format!("truncate {}", rows.join(", ")),
    })
}

const REFERRED: &str = "
with emptied as (
    select t.relid from unnest($1::text[]) n (name), pg_partition_tree(n.name::regclass) t
    union
    select n.name::regclass from unnest($1::text[]) n (name)
)
select exists (select from pg_constraint k
                where k.contype = 'f' and k.confrelid in (select relid from emptied)
                  and k.conrelid not in (select relid from emptied))";
