//! Indexes of large tables: built on the target while rows flow, whatever happens meanwhile.

use testkit::postgres::{Connection, Server};
use testkit::process::Process;
use testkit::wait;

use crate::pipeline::Pipeline;
use crate::schema_changes::{same, started};

/// Rows of a thousand bytes, of which so many are too much for an index within apply's transaction.
const MANY: &str = "select i, repeat('x', 1000) || i from generate_series(1, 8000) i";

/// Many notes on both sides.
async fn with_notes(notes: &str) -> (Server, Pipeline, [Process; 2]) {
    let (server, pipeline, services) = started(&[]).await;
    change(&pipeline, &format!("insert into notes {notes}")).await;
    caught_up(&pipeline).await;
    (server, pipeline, services)
}

async fn change(pipeline: &Pipeline, sql: &str) {
    let source = pipeline.source.client().await;
    let changed = source.batch_execute(sql).await;
    changed.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn caught_up(pipeline: &Pipeline) {
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
}

/// A transaction that looks at the target as it is now: builds that begin wait for its end.
async fn onlooker(pipeline: &Pipeline) -> Connection {
    let target = pipeline.target.client().await;
    let look = "begin isolation level repeatable read; select from pg_class";
    target.batch_execute(look).await.expect("look");
    target
}

/// Waits until a build waits for an onlooker, and answers who builds.
async fn building(pipeline: &Pipeline, index: &str) -> i32 {
    let target = pipeline.target.client().await;
    let sql = "select p.pid from pg_stat_progress_create_index p
                 join pg_class c on c.oid = p.index_relid
                where c.relname = $1 and p.phase = 'waiting for old snapshots'";
    wait::until("the build waits", async || {
        let row = target.query_opt(sql, &[&index]).await.expect("ask");
        row.map(|row| row.get(0)).ok_or("nobody builds")
    })
    .await
}

/// Waits until everything that was written down is built.
async fn built(pipeline: &Pipeline) {
    let target = pipeline.target.client().await;
    let sql = "select index_name, error from lockstep.indexes";
    wait::until("all indexes are built", async || {
        match target.query(sql, &[]).await.expect("ask").as_slice() {
            [] => Ok(()),
            waiting => Err(format!("{waiting:?}")),
        }
    })
    .await;
    let invalid = "select count(*) from pg_index where not indisvalid";
    let invalid: i64 = target.query_one(invalid, &[]).await.expect("ask").get(0);
    assert_eq!(invalid, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_flow_while_an_index_is_built() {
    let notes = "select i, repeat('x', 100) || i from generate_series(1, 100000) i";
    let (_server, pipeline, _services) = with_notes(notes).await;
    let onlooker = onlooker(&pipeline).await;
    change(&pipeline, "create index notes_by_text on notes (text)").await;
    building(&pipeline, "notes_by_text").await;
    change(
        &pipeline,
        "insert into notes values (0, 'new'); update notes set text = 'y' where id < 1000;
         delete from notes where id > 99000; create table other (id int primary key)",
    )
    .await;
    caught_up(&pipeline).await;
    building(&pipeline, "notes_by_text").await;
    let status = pipeline.run(&["status"]).await;
    let said = "notes_by_text of public.notes is not built yet";
    assert!(status.stdout.contains(said), "{status:?}");

    // Apply waits for the build here, which therefore begins again behind it.
    change(
        &pipeline,
        "truncate notes; insert into notes values (1, 'z')",
    )
    .await;
    caught_up(&pipeline).await;
    onlooker.batch_execute("rollback").await.expect("look away");
    built(&pipeline).await;
    same(&pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_killed_begins_again() {
    let (_server, pipeline, mut services) = with_notes(MANY).await;
    let onlooker = onlooker(&pipeline).await;
    // One of the source's own that is built beside its writers is told when it is there.
    change(
        &pipeline,
        "create index concurrently notes_by_text on notes (text)",
    )
    .await;
    let killed = building(&pipeline, "notes_by_text").await;
    services[1].kill_9();
    services[1].restart();
    change(&pipeline, "insert into notes values (0, 'new')").await;
    caught_up(&pipeline).await;
    wait::until("another one builds", async || {
        match building(&pipeline, "notes_by_text").await {
            pid if pid == killed => Err(pid),
            _ => Ok(()),
        }
    })
    .await;
    onlooker.batch_execute("rollback").await.expect("look away");
    built(&pipeline).await;
    change(&pipeline, "reindex index concurrently notes_by_text").await;
    same(&pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_table_becomes_of_what_is_built_for_it() {
    let (_server, pipeline, _services) = with_notes(MANY).await;
    let onlooker = onlooker(&pipeline).await;
    let made = format!(
        "create table more (id int primary key, text text);
         insert into more {MANY};
         create table part (id int primary key, text text);
         insert into part select * from more;
         create table whole (id int primary key, text text) partition by range (id)"
    );
    change(&pipeline, &made).await;
    for index in [
        "create index by_text on notes (text)",
        "create index by_length on notes (length(text)) where id > 5",
        "create index by_both on notes (id, text)",
        "create index more_by_text on more (text)",
        "create index part_by_text on part (text)",
    ] {
        change(&pipeline, index).await;
    }
    building(&pipeline, "by_text").await;
    for step in [
        "alter table notes rename column text to words",
        "drop index by_both",
        "create schema place",
        "alter table notes set schema place",
        "alter schema place rename to here",
        "alter table here.notes rename to papers",
        "alter index here.by_length rename to by_size",
        "drop table more",
        "create index on whole (text)",
        "alter table whole attach partition part for values from (0) to (1000000)",
        "alter table here.papers add column x int",
        "insert into here.papers values (0, 'new', 7)",
        "begin; drop index here.by_text; create index by_text on here.papers (x, words); commit",
    ] {
        change(&pipeline, step).await;
        caught_up(&pipeline).await;
    }
    onlooker.batch_execute("rollback").await.expect("look away");
    built(&pipeline).await;
    same(&pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_built_is_named_and_tried_again() {
    let (_server, pipeline, _services) = with_notes(MANY).await;
    // Functions do not travel.
    let function = "create function initial(text) returns text language sql immutable
                    as 'select left($1, 1)'";
    change(&pipeline, function).await;
    change(
        &pipeline,
        "create index by_initial on notes (public.initial(text))",
    )
    .await;
    change(&pipeline, "insert into notes values (0, 'new')").await;
    caught_up(&pipeline).await;
    wait::until("status names it", async || {
        let status = pipeline.run(&["status"]).await;
        let said = "index by_initial of table public.notes could not be built: SQLSTATE 42883";
        match status.stdout.contains(said) {
            true => Ok(()),
            false => Err(status),
        }
    })
    .await;
    let target = pipeline.target.client().await;
    target.batch_execute(function).await.expect("mend it");
    built(&pipeline).await;
    same(&pipeline).await;
}
