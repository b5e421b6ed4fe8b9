//! A source with tables, and then with a backlog that every contender brings to a target.

use anyhow::Context;
use testkit::postgres::Connection;

use crate::servers::Servers;
use crate::workload::{Scale, Workload};

/// The database, the publication and the slots whose copies start before the backlog.
pub(crate) struct Backlog {
    pub(crate) database: String,
    pub(crate) source: Connection,
    workload: Workload,
    scale: Scale,
}

/// Where the backlog ends: a contender is done when it is past `last`, and has the log to `end`.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) last: String,
    pub(crate) end: String,
}

pub(crate) const PUBLICATION: &str = "bench";
/// Never advanced: it keeps the log from before the backlog on.
const SLOT: &str = "bench_base";

impl Backlog {
    /// Makes the tables, with what is in them before the backlog.
    pub(crate) async fn tables(
        servers: &Servers,
        workload: Workload,
        scale: Scale,
    ) -> anyhow::Result<Self> {
        // Topics stay when it ends: no two have the same name.
        let Scale { percent, tables } = scale;
        let database = format!("bench_{}_{percent}_{tables}", workload.name());
        let admin = servers.at_source("postgres").await?;
        create_database(&admin, &database).await?;
        let backlog = Self {
            source: servers.at_source(&database).await?,
            database,
            workload,
            scale,
        };
        backlog.make_tables(&backlog.source).await?;
        backlog.fill_tables(&backlog.source).await?;
        for sql in [
            format!("create publication {PUBLICATION} for tables in schema public"),
            format!("select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')"),
        ] {
            let source = &backlog.source;
            source.batch_execute(&sql).await.context("prepare")?;
        }
        Ok(backlog)
    }

    async fn make_tables(&self, client: &Connection) -> anyhow::Result<()> {
        let schema = self.workload.schema(self.scale);
        let marker = "create table marker (id int primary key)";
        for statement in statements(&schema).chain([marker]) {
            let made = client.batch_execute(statement).await;
            made.context("make the tables")?;
        }
        Ok(())
    }

    /// With what is in them before the backlog.
    async fn fill_tables(&self, client: &Connection) -> anyhow::Result<()> {
        let content = self.workload.content(self.scale);
        for statement in statements(&content).chain(["vacuum analyze"]) {
            let filled = client.batch_execute(statement).await;
            filled.context("fill the tables")?;
        }
        Ok(())
    }

    /// Writes the backlog.
    pub(crate) async fn write(&self) -> anyhow::Result<End> {
        for statement in statements(&self.workload.backlog(self.scale)) {
            self.source
                .batch_execute(statement)
                .await
                .context("write the backlog")?;
        }
        let lsn = "select pg_current_wal_insert_lsn()::text";
        let last = self.source.query_one(lsn, &[]).await?.get(0);
        let marker = "set synchronous_commit = on; insert into marker values (1)";
        self.source.batch_execute(marker).await?;
        let end = self.source.query_one(lsn, &[]).await?.get(0);
        Ok(End { last, end })
    }

    /// A slot of a contender's own, which starts before the backlog.
    pub(crate) async fn slot(&self, name: &str) -> anyhow::Result<()> {
        let copy = "select pg_copy_logical_replication_slot($1::text::name, $2::text::name)";
        self.source.execute(copy, &[&SLOT, &name]).await?;
        Ok(())
    }

    /// A new database of the target, with what the source had before the backlog.
    pub(crate) async fn target(&self, servers: &Servers, name: &str) -> anyhow::Result<Connection> {
        let target = self.target_with_schema(servers, name).await?;
        self.fill_tables(&target).await?;
        Ok(target)
    }

    /// With empty tables.
    pub(crate) async fn target_with_schema(
        &self,
        servers: &Servers,
        name: &str,
    ) -> anyhow::Result<Connection> {
        let target = self.empty_target(servers, name).await?;
        self.make_tables(&target).await?;
        Ok(target)
    }

    pub(crate) async fn empty_target(
        &self,
        servers: &Servers,
        name: &str,
    ) -> anyhow::Result<Connection> {
        let admin = servers.at_target("postgres").await?;
        create_database(&admin, name).await?;
        servers.at_target(name).await
    }

    /// Drops a database of the target that is not needed any more.
    pub(crate) async fn drop_target(&self, servers: &Servers, name: &str) -> anyhow::Result<()> {
        let admin = servers.at_target("postgres").await?;
        let drop = format!("drop database {name} with (force)");
        admin.batch_execute(&drop).await?;
        Ok(())
    }

    /// Drops everything, on the target too.
    pub(crate) async fn end(self, servers: &Servers) -> anyhow::Result<()> {
        let admin = servers.at_target("postgres").await?;
        let names = "select datname::text from pg_database where starts_with(datname, $1)";
        for row in admin
            .query(names, &[&format!("{}_", self.database)])
            .await?
        {
            let drop = format!("drop database {} with (force)", row.get::<_, &str>(0));
            admin.batch_execute(&drop).await?;
        }
        let admin = servers.at_source("postgres").await?;
        let slots = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
                     where database = $1";
        admin.execute(slots, &[&self.database]).await?;
        drop(self.source);
        let drop = format!("drop database {} with (force)", self.database);
        admin.batch_execute(&drop).await?;
        servers.settle().await
    }
}

async fn create_database(admin: &Connection, name: &str) -> anyhow::Result<()> {
    let created = admin
        .batch_execute(&format!("create database {name}"))
        .await;
    created.with_context(|| format!("create database {name}"))
}

/// Statements that may not share a transaction; bodies are quoted with `$$` and hold their own `;`.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    let (before, body) = sql.split_at(sql.find("do $$").unwrap_or(sql.len()));
    before
        .split(';')
        .chain([body])
        .map(str::trim)
        .filter(|it| !it.is_empty())
}
