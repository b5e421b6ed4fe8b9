//! A first snapshot that is interrupted: what counts by then is not read again.

use std::collections::BTreeSet;

use change::Lsn;
use change::commit::{CommitKind, CommitRecord};
use serde_json::Value;
use testkit::ledger::{self, LedgerHold};
use testkit::postgres::Connection;
use testkit::wait;

use crate::captured::{Pipeline, Running};
use crate::outcome::{compare, records, rows};

/// Two rows to a block, ten chunks; of every twentieth row there is a large value beside.
const TABLE: &str = "
    create table t (id bigint primary key, n int not null default 0, body text, pad text);
    alter table t alter body set storage external, alter pad set storage plain;
    insert into t select n, 0, case when n % 20 = 0 then repeat('x', 3000) end, repeat('p', 3900)
      from generate_series(1, 20000) n";

/// Starts capture, and holds it once so many chunks of the first snapshot are noted.
async fn held(pipeline: &Pipeline, client: &Connection, notes: u32) -> (Running, LedgerHold) {
    client.batch_execute(cdc::SQL).await.unwrap();
    let hold = LedgerHold::at(pipeline.database.client().await, notes).await;
    let running = pipeline.start();
    ledger::held(client).await;
    (running, hold)
}

/// Starts capture, and kills it there.
async fn interrupted(pipeline: &Pipeline, client: &Connection, notes: u32) {
    let (running, _hold) = held(pipeline, client, notes).await;
    running.kill().await;
    ledger::end_waiting(client).await;
}

/// The rows of chunks that are noted.
async fn kept(client: &Connection) -> BTreeSet<i64> {
    let sql = "select id from t where exists (
                   select from lockstep.first_snapshot_chunks c
                    where c.relation = 't'::regclass
                      and t.ctid >= format('(%s,0)', c.block)::tid
                      and t.ctid < format('(%s,0)', c.block + 1024)::tid)";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until the snapshot is complete, and answers where.
async fn complete(pipeline: &Pipeline) -> Lsn {
    wait::until("the snapshot is complete", async || {
        let commits = pipeline.commits().await;
        let is_last = |commit: &CommitRecord| commit.kind == CommitKind::SnapshotComplete;
        match commits.iter().find(|commit| is_last(commit)) {
            Some(last) => Ok(last.commit_lsn),
            None => Err(commits.len()),
        }
    })
    .await
}

async fn changes(pipeline: &Pipeline, table: &str) -> Vec<Value> {
    pipeline
        .changes(table, records(pipeline, table).await)
        .await
}

/// How often a table's snapshot began, and how many rows were read until it was complete at `end`. A
/// table whose rows an ALTER TABLE filled is read beside the stream after that, whenever there is time.
async fn readings(pipeline: &Pipeline, table: &str, end: Lsn) -> (usize, usize) {
    let changes = changes(pipeline, table).await;
    let is_of_it = |change: &&Value| {
        let lsn = change["lockstep"]["commit_lsn"].as_u64();
        lsn.is_some_and(|lsn| lsn <= end.as_u64())
    };
    let count = |op: &str| {
        let of_it = changes.iter().filter(is_of_it);
        of_it.filter(|change| change["op"] == op).count()
    };
    (count("t"), count("r"))
}

async fn ledger_is_closed(client: &Connection) {
    wait::until("the ledger is closed", async || {
        let open = "select count(*) from lockstep.first_snapshots";
        let row = client.query_one(open, &[]).await.unwrap();
        match row.get::<_, i64>(0) {
            0 => Ok(()),
            open => Err(open),
        }
    })
    .await;
}

/// Rows that move from where nobody has read yet to where nobody reads again are the hard ones: their
/// changes do not bring the large value.
#[tokio::test]
async fn an_interrupted_snapshot_goes_on_with_what_is_missing() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLE).await;
    let client = pipeline.database.client().await;
    interrupted(&pipeline, &client, 2).await;
    // Notes come after what they note: as if the kill had come before the last of them.
    let late = "delete from lockstep.first_snapshot_chunks where block >= 4 * 1024";
    client.batch_execute(late).await.unwrap();
    let kept = kept(&client).await;
    assert!(kept.contains(&2_001) && !kept.contains(&18_000), "{kept:?}");
    pipeline
        .execute_each(
            "delete from t where id <= 2000; vacuum t; update t set n = n + 1 where id > 18000 and id % 20 = 0;
             update t set id = id + 100000 where id between 17015 and 17045;
             update t set n = 7 where id between 2001 and 2010;
             insert into t select n, 1, repeat('y', 2500), '' from generate_series(30001, 30050) n",
        )
        .await;
    let moved =
        "select count(*) from t where id > 18000 and body is not null and ctid < '(1024,0)'";
    let moved: i64 = client.query_one(moved, &[]).await.unwrap().get(0);
    assert!(moved > 10, "{moved} rows moved to chunks that were read");

    let running = pipeline.start();
    complete(&pipeline).await;
    ledger_is_closed(&client).await;
    let copied = records(&pipeline, "t").await;
    pipeline
        .execute("update t set n = n + 1 where id between 19001 and 19010")
        .await;
    let changes = pipeline.changes("t", copied + 10).await;
    running.stop().await;
    let expected = rows(&client).await;
    compare(&changes, &expected);
    let first_epoch = changes[0]["lockstep"]["epoch"].as_i64();
    let again: Vec<i64> = changes
        .iter()
        .filter(|change| change["op"] == "r" && change["lockstep"]["epoch"].as_i64() > first_epoch)
        .map(|change| change["after"]["id"].as_i64().unwrap())
        .collect();
    let read: BTreeSet<i64> = again.iter().copied().collect();
    assert_eq!(read.len(), again.len(), "a row was read twice");
    let both: Vec<i64> = read.intersection(&kept).copied().collect();
    assert_eq!(both, (2_001..=2_010).collect::<Vec<_>>());
    assert!(
        expected
            .keys()
            .all(|id| read.contains(id) || kept.contains(id))
    );
    assert_eq!(
        changes.iter().filter(|change| change["op"] == "t").count(),
        1
    );
}

/// What may be read once only, or is not what it was, begins with nothing again; the rest stays.
#[tokio::test]
async fn tables_without_a_key_or_of_another_form_begin_anew() {
    let pipeline = Pipeline::new().await;
    let small = |table: &str| {
        format!(
            "create table {table} (id int primary key, n int); insert into {table} select n, n from generate_series(1, 100) n;"
        )
    };
    for table in ["altered", "emptied", "same", "rewritten"] {
        pipeline.execute(&small(table)).await;
    }
    pipeline
        .execute(
            "create table keyless (a int); alter table keyless replica identity full;
             insert into keyless select generate_series(1, 100)",
        )
        .await;
    pipeline.execute(TABLE).await;
    let client = pipeline.database.client().await;
    interrupted(&pipeline, &client, 6).await;
    pipeline
        .execute_each(
            "alter table altered add column more text default 'm'; update altered set n = 0 where id = 1;
             truncate emptied; insert into emptied values (1, 1);
             vacuum full rewritten;
             delete from keyless where a <= 10; insert into keyless values (1000), (1000);
             update same set n = 0 where id <= 3; delete from same where id = 100;
             create table late (id int primary key); insert into late values (1)",
        )
        .await;
    let running = pipeline.start();
    let end = complete(&pipeline).await;
    ledger_is_closed(&client).await;
    running.stop().await;
    for (table, begun, read) in [
        ("altered", 2, 100 + 100),
        ("emptied", 3, 100 + 1),
        ("rewritten", 2, 100 + 100),
        ("keyless", 2, 100 + 92),
        ("same", 1, 100 + 3),
        ("late", 1, 1),
    ] {
        let found = readings(&pipeline, table, end).await;
        assert_eq!(found, (begun, read), "{table}");
    }
    let altered = changes(&pipeline, "altered").await;
    assert_eq!(altered.last().unwrap()["after"]["more"], "m");
}

#[tokio::test]
async fn without_its_ledger_or_its_slot_an_interrupted_snapshot_begins_anew() {
    for gone in [
        "delete from lockstep.first_snapshots",
        "select pg_drop_replication_slot(slot) from lockstep.first_snapshots",
    ] {
        let pipeline = Pipeline::new().await;
        pipeline.execute(TABLE).await;
        let client = pipeline.database.client().await;
        interrupted(&pipeline, &client, 2).await;
        let interrupted = pipeline.commits().await.len();
        wait::until("the slot is free", async || {
            client
                .batch_execute(gone)
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        pipeline.execute("delete from t where id > 10").await;
        let running = pipeline.start();
        complete(&pipeline).await;
        let commits = pipeline.commits().await;
        let again = &commits[interrupted..];
        assert!(again[0].epoch > commits[0].epoch);
        // The truncation, and what the table holds now.
        assert_eq!(again.iter().map(CommitRecord::records).sum::<u64>(), 1 + 10);
        running.stop().await;
    }
}

/// What a capture publishes after another one has begun does not count, so it must not be taken for
/// read.
#[tokio::test]
async fn a_capture_that_is_overtaken_takes_no_notes() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLE).await;
    let client = pipeline.database.client().await;
    let (running, hold) = held(&pipeline, &client, 2).await;
    // As who begins to continue it does, before a fence of that epoch.
    let overtake = "update lockstep.first_snapshots set epoch = epoch + 1";
    client.batch_execute(overtake).await.unwrap();
    let kept = kept(&client).await;
    drop(hold);
    complete(&pipeline).await;
    ledger_is_closed(&client).await;
    assert_eq!(running.restarts(), 1);
    running.stop().await;
    let changes = changes(&pipeline, "t").await;
    compare(&changes, &rows(&client).await);
    let first_epoch = changes[0]["lockstep"]["epoch"].as_i64();
    let again = changes
        .iter()
        .filter(|change| change["op"] == "r" && change["lockstep"]["epoch"].as_i64() > first_epoch);
    assert_eq!(again.count(), 20_000 - kept.len());
}

/// Nobody reads the slot while a first snapshot is copied.
#[tokio::test]
async fn a_second_capture_is_refused_while_a_snapshot_is_copied() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLE).await;
    let client = pipeline.database.client().await;
    let (first, hold) = held(&pipeline, &client, 2).await;
    let error = pipeline.start_beside().error().await;
    assert!(error.contains("is in use"), "{error}");
    drop(hold);
    let end = complete(&pipeline).await;
    assert_eq!(first.restarts(), 0);
    first.stop().await;
    assert_eq!(readings(&pipeline, "t", end).await, (1, 20_000));
}
