//! Postgres' own logical replication.

use super::{Run, Watch, until};
use crate::backlog::{Backlog, End, PUBLICATION};
use crate::servers::Servers;

pub(crate) async fn run(
    servers: &Servers,
    backlog: &Backlog,
    end: &End,
    pair: u32,
) -> anyhow::Result<Run> {
    let name = format!("{}_native_{pair}", backlog.database);
    backlog.slot(&name).await?;
    let target = backlog.target(servers, &name).await?;
    let source = servers.source.dsn(&backlog.database);
    let subscribe = format!(
        "create subscription {name} connection '{source}' publication {PUBLICATION} \
             with (slot_name = '{name}', create_slot = false, enabled = false, copy_data = false, \
                   binary = true, streaming = on)"
    );
    target.batch_execute(&subscribe).await?;
    servers.settle().await?;
    let watch = Watch::start(servers);
    target
        .batch_execute(&format!("alter subscription {name} enable"))
        .await?;
    let progress = "select pg_replication_origin_progress('pg_' || oid, false) > $1::text::pg_lsn \
                        from pg_subscription where subname = $2";
    until(&target, progress, &[&end.last, &name]).await?;
    let run = watch.stop(Vec::new());
    for sql in [
        format!("alter subscription {name} disable"),
        format!("alter subscription {name} set (slot_name = none)"),
        format!("drop subscription {name}"),
    ] {
        target.batch_execute(&sql).await?;
    }
    Ok(run)
}
