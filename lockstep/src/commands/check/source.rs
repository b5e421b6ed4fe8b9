//! Whether the source can be captured.

use anyhow::Context;
use change::{TableName, quoted};
use tokio_postgres::{Client, Row};

use super::finding::Finding;
use super::left_out;
use super::locks::{self, PerTable};
use super::refused;
use operate::catalog::{self, Identity, PublishedTable};
use operate::endpoints::Names;

/// The oldest version whose pgoutput streams transactions in progress.
const OLDEST: i32 = 140_000;

pub(super) async fn examine(
    client: &Client,
    names: &Names,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<()> {
    let server = client
        .query_one(SERVER, &[])
        .await
        .context("ask the server for its settings")?;
    findings.push(version("source", &server));
    findings.push(encoding("source", &server));
    findings.push(wal_level(&server));
    findings.push(replication_right(&server));
    let slot = client
        .query_opt(SLOT, &[&names.slot])
        .await
        .context("look the slot up")?;
    findings.push(free_slots(&server, slot.is_some()));
    findings.push(free_senders(&server));
    findings.push(slot_state(&names.slot, slot.as_ref(), &server));
    findings.push(publication(client, &names.publication, &server).await?);
    findings.push(schema_changes(client).await?);
    let tables = catalog::published(client, &names.publication).await?;
    findings.push(locks::examine("source", client, tables.len(), PerTable::Read).await?);
    findings.extend(tables.iter().map(table));
    findings.extend(refused::examine(client, &names.publication, &tables).await?);
    findings.extend(left_out::examine(client, &names.publication, &tables).await?);
    findings.push(sequences(client, &names.publication, &server).await?);
    if tables.is_empty() {
        let mend = format!(
            "alter publication {} add table …",
            quoted(&names.publication)
        );
        findings.push(Finding::fail("source", "tables", "none is published", mend));
    }
    Ok(())
}

/// Those that are not read fall behind on the target, and everything else goes on.
async fn sequences(client: &Client, publication: &str, server: &Row) -> anyhow::Result<Finding> {
    let unreadable = cdc::unreadable_sequences(client, publication).await;
    let unreadable = unreadable.context("look for sequences")?.join(", ");
    let role = quoted(server.get("role"));
    Ok(match unreadable.as_str() {
        "" => Finding::ok("source", "sequences", "can be read"),
        names => Finding::note(
            "source",
            "sequences",
            format!("on the target these fall behind: grant select on sequence {names} to {role}"),
        ),
    })
}

/// Who runs without them has to change tables on both sides.
async fn schema_changes(client: &Client) -> anyhow::Result<Finding> {
    let sql = "select evtenabled::text from pg_event_trigger where evtname = 'lockstep_ddl'";
    let row = client.query_opt(sql, &[]).await;
    let row = row.context("look for the event triggers")?;
    Ok(match row.as_ref().map(|row| row.get::<_, &str>(0)) {
        Some("D") => Finding::note(
            "source",
            "schema changes",
            "the event triggers are disabled",
        ),
        Some(_) => Finding::ok("source", "schema changes", "told by event triggers"),
        None => Finding::note(
            "source",
            "schema changes",
            "no event triggers: only columns that come and go are noticed; a superuser's \
             `lockstep setup` makes them",
        ),
    })
}

const SERVER: &str = "
select current_setting('server_version') as version,
       current_setting('server_version_num')::int as version_num,
       current_setting('server_encoding') as encoding,
       current_setting('wal_level') as wal_level,
       current_user::text as role, rolreplication or rolsuper as may_replicate, rolsuper,
       current_database()::text as database,
       current_setting('max_replication_slots')::int8
           - (select count(*) from pg_replication_slots) as free_slots,
       current_setting('max_wal_senders')::int8
           - (select count(*) from pg_stat_replication) as free_senders
  from pg_roles where rolname = current_user";

const SLOT: &str = "
select plugin::text, database::text, active_pid, wal_status, confirmed_flush_lsn::text as confirmed
  from pg_replication_slots where slot_name = $1";

pub(super) fn version(part: &'static str, server: &Row) -> Finding {
    let version: &str = server.get("version");
    match server.get::<_, i32>("version_num") >= OLDEST {
        true => Finding::ok(part, "version", version),
        false => {
            let found = format!("Postgres {version}");
            Finding::fail(part, "version", found, "use Postgres 14 or newer")
        }
    }
}

/// Texts travel as they are stored; one that the other side cannot hold would stop the pipeline.
pub(super) fn encoding(part: &'static str, server: &Row) -> Finding {
    match server.get("encoding") {
        "UTF8" => Finding::ok(part, "encoding", "UTF8"),
        other => Finding::fail(
            part,
            "encoding",
            other,
            "move the data to a database made with `create database … encoding 'UTF8' template template0`",
        ),
    }
}

fn wal_level(server: &Row) -> Finding {
    match server.get("wal_level") {
        "logical" => Finding::ok("source", "wal_level", "logical"),
        other => Finding::fail(
            "source",
            "wal_level",
            other,
            "alter system set wal_level = logical; then restart Postgres",
        ),
    }
}

fn replication_right(server: &Row) -> Finding {
    let role: &str = server.get("role");
    match server.get("may_replicate") {
        true => Finding::ok("source", "REPLICATION right", role),
        false => Finding::fail(
            "source",
            "REPLICATION right",
            format!("{role} does not have it"),
            format!("alter role {} replication", quoted(role)),
        ),
    }
}

fn free_slots(server: &Row, ours_exists: bool) -> Finding {
    match server.get::<_, i64>("free_slots") {
        free if free > 0 || ours_exists => {
            Finding::ok("source", "free slots", format!("{free} more"))
        }
        _ => Finding::fail(
            "source",
            "free slots",
            "none",
            "drop a slot that nobody reads, or raise max_replication_slots and restart Postgres",
        ),
    }
}

fn free_senders(server: &Row) -> Finding {
    match server.get::<_, i64>("free_senders") {
        free if free > 0 => Finding::ok("source", "free walsenders", format!("{free} more")),
        _ => Finding::fail(
            "source",
            "free walsenders",
            "none",
            "raise max_wal_senders and restart Postgres",
        ),
    }
}

fn slot_state(name: &str, slot: Option<&Row>, server: &Row) -> Finding {
    let Some(slot) = slot else {
        let found = format!("{name} does not exist: capture makes it, with the snapshot it needs");
        return Finding::note("source", "slot", found);
    };
    let drop = format!("select pg_drop_replication_slot('{name}'), and take a new snapshot");
    let other = "choose another name with --slot";
    let database: Option<&str> = slot.get("database");
    if slot.get::<_, &str>("plugin") != "pgoutput" {
        return Finding::fail(
            "source",
            "slot",
            format!("{name} is not of pgoutput"),
            other,
        );
    }
    if database != Some(server.get("database")) {
        let found = format!("{name} belongs to another database");
        return Finding::fail("source", "slot", found, other);
    }
    if slot.get::<_, Option<&str>>("wal_status") == Some("lost") {
        let found = format!("{name} has lost WAL that it needs");
        return Finding::fail("source", "slot", found, drop);
    }
    let confirmed: Option<&str> = slot.get("confirmed");
    let confirmed = confirmed.unwrap_or("nothing");
    match slot.get::<_, Option<i32>>("active_pid") {
        Some(pid) => Finding::note(
            "source",
            "slot",
            format!("{name} is read by server process {pid}: a capture runs already"),
        ),
        None => Finding::ok("source", "slot", format!("{name}, confirmed {confirmed}")),
    }
}

async fn publication(client: &Client, name: &str, server: &Row) -> anyhow::Result<Finding> {
    const CHECK: &str = "publication";
    if catalog::has_publication(client, name).await? {
        return Ok(Finding::ok("source", CHECK, name));
    }
    let create = format!("create publication {} for all tables", quoted(name));
    Ok(match server.get("rolsuper") {
        true => Finding::note(
            "source",
            CHECK,
            format!("{name} does not exist: setup and capture make it, for all tables"),
        ),
        false => Finding::fail(
            "source",
            CHECK,
            format!("{name} does not exist, and only a superuser can make one for all tables"),
            format!("as a superuser: {create}"),
        ),
    })
}

fn table(table: &PublishedTable) -> Finding {
    const CHECK: &str = "replica identity";
    let PublishedTable {
        name,
        identity,
        changes_rows,
        ..
    } = table;
    match identity {
        Identity::Key(key) => Finding::ok("source", CHECK, format!("{name} by {}", key.join(", "))),
        Identity::Full => Finding::ok("source", CHECK, format!("{name} by the whole row")),
        Identity::None if !changes_rows => {
            Finding::ok("source", CHECK, format!("{name} needs none: inserts only"))
        }
        Identity::None => Finding::fail("source", CHECK, format!("{name} has none"), mend(name)),
    }
}

fn mend(table: &TableName) -> String {
    format!(
        "give it a primary key, or: alter table {} replica identity full",
        table.quoted()
    )
}
