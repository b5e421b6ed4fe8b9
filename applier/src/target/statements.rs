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
use crate::error::{Error, StatementError};
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
    Truncate {
        first: &'a Change,
        tables: Vec<String>,
    },
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
                        tables.push(shape.rows());
                    }
                    Work::Truncate {
                        first: changes[0],
                        tables,
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
