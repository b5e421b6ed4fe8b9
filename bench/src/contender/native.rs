//! Postgres' own logical replication.

use testkit::postgres::Connection;

use super::{Run, Watch, until};
use crate::backlog::{Backlog, End, PUBLICATION};
use crate::servers::Servers;

/// A subscription in a database of the target.
pub(crate) struct Native {
    pub(crate) target: Connection,
    name: String,
}

/// How a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// At a slot that is there, with tables that have what was before it.
    AtSlot,
    /// With a copy of the tables.
    Copy,
}

pub(crate) async fn catch_up(
    servers: &Servers,
    backlog: &Backlog,
    end: &End,
    pair: u32,
) -> anyhow::Result<Run> {
    let native = Native::at_slot(servers, backlog, pair).await?;
    servers.settle().await?;
    let watch = Watch::start(servers, None);
    native.enable().await?;
    let progress = "select pg_replication_origin_progress('pg_' || oid, false) > $1::text::pg_lsn \
                    from pg_subscription where subname = $2";
    until(&native.target, progress, &[&end.last, &native.name]).await?;
    let run = watch.stop(Vec::new());
    native.drop().await?;
    Ok(run)
}

/// The first copy of the tables.
pub(crate) async fn copy(servers: &Servers, backlog: &Backlog, pair: u32) -> anyhow::Result<Run> {
    let name = format!("{}_native_{pair}", backlog.database);
    let target = backlog.target_with_schema(servers, &name).await?;
    let native = Native { target, name };
    servers.settle().await?;
    let watch = Watch::start(servers, None);
    native.subscribe(servers, backlog, Start::Copy).await?;
    let ready = "select bool_and(srsubstate = 'r') from pg_subscription_rel";
    until(&native.target, ready, &[]).await?;
    let run = watch.stop(Vec::new());
    native.drop().await?;
    backlog.drop_target(servers, &native.name).await?;
    Ok(run)
}

impl Native {
    /// Subscribed at a slot from before the backlog, and not enabled.
    pub(crate) async fn at_slot(
        servers: &Servers,
        backlog: &Backlog,
        pair: u32,
    ) -> anyhow::Result<Self> {
        let name = format!("{}_native_{pair}", backlog.database);
        backlog.slot(&name).await?;
        let target = backlog.target(servers, &name).await?;
        let native = Self { target, name };
        native.subscribe(servers, backlog, Start::AtSlot).await?;
        Ok(native)
    }

    async fn subscribe(
        &self,
        servers: &Servers,
        backlog: &Backlog,
        start: Start,
    ) -> anyhow::Result<()> {
        let (name, source) = (&self.name, servers.source.dsn(&backlog.database));
        let how = match start {
            Start::AtSlot => "create_slot = false, enabled = false, copy_data = false",
            Start::Copy => "copy_data = true",
        };
        let subscribe = format!(
            "create subscription {name} connection '{source}' publication {PUBLICATION} \
             with (slot_name = '{name}', {how}, binary = true, streaming = on)"
        );
        self.target.batch_execute(&subscribe).await?;
        Ok(())
    }

    pub(crate) async fn enable(&self) -> anyhow::Result<()> {
        let enable = format!("alter subscription {} enable", self.name);
        self.target.batch_execute(&enable).await?;
        Ok(())
    }

    pub(crate) async fn disable(&self) -> anyhow::Result<()> {
        let disable = format!("alter subscription {} disable", self.name);
        self.target.batch_execute(&disable).await?;
        Ok(())
    }

    /// Leaves its slot.
    pub(crate) async fn drop(&self) -> anyhow::Result<()> {
        self.disable().await?;
        let name = &self.name;
        for sql in [
            format!("alter subscription {name} set (slot_name = none)"),
            format!("drop subscription {name}"),
        ] {
            self.target.batch_execute(&sql).await?;
        }
        Ok(())
    }
}
