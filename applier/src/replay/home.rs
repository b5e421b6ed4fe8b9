//! The schema that holds a replay's rows: a copy that people asked for, or the stage of a replay
//! into the live tables.
//!
//! A stage has for each live table one of whole rows, `rows_1`, and one of keys, `keys_1`:
//!
//! ```text
//! selected  a wanted change wrote it          late  a change after what is wanted wrote it
//! merged    its row is in place
//! ```

use std::collections::{BTreeMap, HashSet};

use change::framing::SchemaId;
use change::relation::Relation;
use change::{TableName, quoted};
use tokio_postgres::Client;

use super::error::{ReplayError, step};
use crate::decode::Plan;
use crate::differences::Differences;
use crate::statement::{Noting, Touched};
use crate::target::{Writer, create, find, target_type};

pub(super) struct Home {
    schema: String,
    kind: Kind,
    tables: BTreeMap<TableName, HomeTable>,
    known: HashSet<SchemaId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Copy,
    Stage,
}

/// Where the rows of one table are.
#[derive(Clone, Debug)]
pub(super) struct HomeTable {
    /// By its name on the source.
    pub(super) table: TableName,
    pub(super) live: TableName,
    pub(super) rows: TableName,
    pub(super) keys: TableName,
    pub(super) key: Vec<String>,
    /// Columns that every version of the table had within the replay, but for the key: only those
    /// can be compared with the live row's.
    pub(super) shared: Vec<String>,
    /// Columns that any version had.
    pub(super) known: Vec<String>,
    /// A wanted change truncated the table: every row is wanted.
    pub(super) all: bool,
}

/// Postgres truncates a longer name without an error.
const NAME_BYTES_MAX: usize = 63;

impl Home {
    /// Makes the schema, or takes up one that is there.
    pub(super) async fn open(
        client: &Client,
        schema: &str,
        kind: Kind,
        differences: &Differences,
    ) -> Result<Self, ReplayError> {
        let mut sql = format!("create schema if not exists {};", quoted(schema));
        if kind == Kind::Stage {
            sql.push_str(&format!(
                "create table if not exists {}.tables (number int primary key, \
                 table_schema text, table_name text, key text[], shared text[], known text[], \
                 every_row boolean, unique (table_schema, table_name))",
                quoted(schema)
            ));
        }
        let made = client.batch_execute(&sql).await;
        made.map_err(step("create the replay's schema"))?;
        let mut home = Self {
            schema: schema.to_owned(),
            kind,
            tables: BTreeMap::new(),
            known: HashSet::new(),
        };
        if kind == Kind::Stage {
            home.take_up(client, differences).await?;
        }
        Ok(home)
    }

    async fn take_up(
        &mut self,
        client: &Client,
        differences: &Differences,
    ) -> Result<(), ReplayError> {
        let query = format!(
            "select number, table_schema, table_name, key, shared, known, every_row \
             from {}.tables",
            quoted(&self.schema)
        );
        let rows = client.query(&query, &[]).await;
        for row in rows.map_err(step("read the replay's tables"))? {
            let number: i32 = row.get(0);
            let name = TableName::new(row.get::<_, String>(1), row.get::<_, String>(2));
            let table = HomeTable {
                live: differences.table(&name),
                table: name.clone(),
                rows: self.name(format!("rows_{number}")),
                keys: self.name(format!("keys_{number}")),
                key: row.get(3),
                shared: row.get(4),
                known: row.get(5),
                all: row.get(6),
            };
            self.tables.insert(name, table);
        }
        Ok(())
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &HomeTable> {
        self.tables.values()
    }

    /// Makes ready for changes of a table's version. In the writer's transaction, if one is open.
    pub(super) async fn admit(
        &mut self,
        writer: &mut Writer,
        plan: &Plan,
    ) -> Result<(), ReplayError> {
        if !self.known.insert(plan.schema) {
            return Ok(());
        }
        let relation = &plan.relation;
        let table = match self.kind {
            Kind::Copy => self.copy(writer.client(), plan).await?,
            Kind::Stage => self.stage(writer.client(), plan).await?,
        };
        self.add_columns(writer.client(), relation, &table.rows)
            .await?;
        let touched = match self.kind {
            Kind::Copy => None,
            Kind::Stage => {
                let client = writer.client();
                Some(Touched {
                    columns: common_columns(client, &table.live, &table.rows).await?,
                    live: table.live.clone(),
                    keys: table.keys.clone(),
                })
            }
        };
        writer.redirect(&relation.table, table.rows.clone(), touched);
        self.tables.insert(relation.table.clone(), table);
        Ok(())
    }

    async fn copy(&self, client: &Client, plan: &Plan) -> Result<HomeTable, ReplayError> {
        let live = &plan.target;
        // Of another schema than public, so that two of the same name can stand side by side.
        let name = match live.schema.as_str() {
            "public" => live.name.clone(),
            schema => format!("{schema}.{}", live.name),
        };
        if name.len() > NAME_BYTES_MAX {
            return Err(ReplayError::NameTooLong {
                table: live.clone(),
            });
        }
        let rows = self.name(name);
        let taken = |table: &HomeTable| table.live != *live && table.rows == rows;
        if self.tables.values().any(taken) {
            return Err(ReplayError::NameTaken {
                schema: rows.schema,
                name: rows.name,
            });
        }
        if find(client, &rows).await?.is_none() {
            match find(client, live).await? {
                Some(_) => {
                    let including = "including storage including compression including generated";
                    like(client, live, &rows, plan, including).await?;
                }
                None => create(client, &rows, &plan.relation).await?,
            }
        }
        Ok(HomeTable {
            table: plan.relation.table.clone(),
            live: live.clone(),
            keys: rows.clone(),
            rows,
            key: Vec::new(),
            shared: Vec::new(),
            known: Vec::new(),
            all: false,
        })
    }

    async fn stage(&self, client: &Client, plan: &Plan) -> Result<HomeTable, ReplayError> {
        let relation = &plan.relation;
        let live = &plan.target;
        if !plan.has_key() {
            return Err(ReplayError::Keyless {
                table: relation.table.clone(),
            });
        }
        if find(client, live).await?.is_none() {
            return Err(ReplayError::NoTable {
                table: live.clone(),
            });
        }
        let own = relation.columns.iter();
        let writable = writable_columns(client, live).await?;
        let columns: Vec<&String> = own
            .clone()
            .filter(|column| !column.in_key)
            .map(|column| &column.name)
            .filter(|name| writable.contains(name))
            .collect();
        let table = match self.tables.get(&relation.table) {
            Some(known) => {
                let mut table = known.clone();
                table.shared.retain(|name| columns.contains(&name));
                for name in columns {
                    if !table.known.contains(name) {
                        table.known.push(name.clone());
                    }
                }
                table
            }
            None => {
                let number = self.tables.len() + 1;
                let columns: Vec<String> = columns.into_iter().cloned().collect();
                let table = HomeTable {
                    table: relation.table.clone(),
                    live: live.clone(),
                    rows: self.name(format!("rows_{number}")),
                    keys: self.name(format!("keys_{number}")),
                    key: relation.key_columns().map(|it| it.name.clone()).collect(),
                    shared: columns.clone(),
                    known: columns,
                    all: false,
                };
                like(client, live, &table.rows, plan, "including storage").await?;
                make_keys(client, &table).await?;
                table
            }
        };
        self.write_down(client, &table).await?;
        Ok(table)
    }

    async fn write_down(&self, client: &Client, table: &HomeTable) -> Result<(), ReplayError> {
        let upsert = format!(
            "insert into {}.tables values ($1, $2, $3, $4, $5, $6, $7) on conflict (number) \
             do update set shared = excluded.shared, known = excluded.known, \
             every_row = excluded.every_row",
            quoted(&self.schema)
        );
        let number = table.rows.name.trim_start_matches("rows_");
        let number: i32 = number.parse().unwrap_or_default();
        let (schema, name) = (&table.table.schema, &table.table.name);
        let written = client
            .execute(
                &upsert,
                &[
                    &number,
                    schema,
                    name,
                    &table.key,
                    &table.shared,
                    &table.known,
                    &table.all,
                ],
            )
            .await;
        written.map_err(step("write the replay's tables"))?;
        Ok(())
    }

    /// Notes that a change truncated the table.
    pub(super) async fn truncated(
        &mut self,
        client: &Client,
        table: &TableName,
        noting: Noting,
    ) -> Result<(), ReplayError> {
        let Some(mut found) = self.tables.get(table).cloned() else {
            return Ok(());
        };
        if noting == Noting::Selected {
            found.all = true;
            self.write_down(client, &found).await?;
            self.tables.insert(table.clone(), found);
            return Ok(());
        }
        let sql = format!(
            "update {} set late = true where selected and not late",
            found.keys.quoted()
        );
        let noted = client.batch_execute(&sql).await;
        noted.map_err(step("note a truncation"))
    }

    /// Columns that the table once had, and the live one has no more.
    async fn add_columns(
        &self,
        client: &Client,
        relation: &Relation,
        rows: &TableName,
    ) -> Result<(), ReplayError> {
        let present = columns(client, rows).await?;
        for column in &relation.columns {
            if present.contains(&column.name) {
                continue;
            }
            // Where the type is missing too, the writer says so.
            let Some(found) = target_type(client, column).await? else {
                continue;
            };
            let sql = format!(
                "alter table {} add column {} {}",
                rows.quoted(),
                quoted(&column.name),
                found.full_name
            );
            let added = client.batch_execute(&sql).await;
            added.map_err(step("add a column to a table of the replay"))?;
        }
        Ok(())
    }

    fn name(&self, name: String) -> TableName {
        TableName::new(self.schema.clone(), name)
    }
}

/// Makes `rows` like the live table, but that only its key must be given: rows as they stood may lack
/// what was added later.
async fn like(
    client: &Client,
    live: &TableName,
    rows: &TableName,
    plan: &Plan,
    including: &str,
) -> Result<(), ReplayError> {
    let key: Vec<&str> = plan
        .relation
        .key_columns()
        .map(|it| it.name.as_str())
        .collect();
    let query = "select a.attname::text from pg_catalog.pg_attribute a \
                 where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped \
                 and a.attnotnull and a.attname <> all ($2::text[])";
    let live_name = live.quoted();
    let required = client.query(query, &[&live_name, &key]).await;
    let required = required.map_err(step("read a table's columns"))?;
    let mut sql = format!(
        "create table {} (like {live_name} {including});",
        rows.quoted()
    );
    for row in required {
        let name = quoted(row.get(0));
        let table = rows.quoted();
        sql.push_str(&format!(
            "alter table {table} alter column {name} drop not null;"
        ));
    }
    if plan.has_key() {
        let key: Vec<String> = key.iter().map(|name| quoted(name)).collect();
        let (table, key) = (rows.quoted(), key.join(", "));
        sql.push_str(&format!("alter table {table} add primary key ({key})"));
    }
    let made = client.batch_execute(&sql).await;
    made.map_err(step("create a table of the replay"))
}

async fn make_keys(client: &Client, table: &HomeTable) -> Result<(), ReplayError> {
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    let key = key.join(", ");
    let (keys, rows) = (table.keys.quoted(), table.rows.quoted());
    let sql = format!(
        "create table {keys} as select {key} from {rows} with no data; \
         alter table {keys} add primary key ({key}), \
         add column selected boolean not null default false, \
         add column late boolean not null default false, \
         add column merged boolean not null default false; \
         create index on {keys} ({key}) where selected and not merged"
    );
    let made = client.batch_execute(&sql).await;
    made.map_err(step("create a table of the replay"))
}

async fn columns(client: &Client, table: &TableName) -> Result<Vec<String>, ReplayError> {
    read_columns(client, table, "").await
}

/// Those that can be given a value.
async fn writable_columns(client: &Client, table: &TableName) -> Result<Vec<String>, ReplayError> {
    read_columns(client, table, "and a.attgenerated = ''").await
}

async fn common_columns(
    client: &Client,
    live: &TableName,
    rows: &TableName,
) -> Result<Vec<String>, ReplayError> {
    let own = columns(client, rows).await?;
    let mut common = columns(client, live).await?;
    common.retain(|name| own.contains(name));
    Ok(common)
}

async fn read_columns(
    client: &Client,
    table: &TableName,
    filter: &str,
) -> Result<Vec<String>, ReplayError> {
    let query = format!(
        "select a.attname::text from pg_catalog.pg_attribute a \
         where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped {filter} \
         order by a.attnum"
    );
    let rows = client.query(&query, &[&table.quoted()]).await;
    let rows = rows.map_err(step("read a table's columns"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
