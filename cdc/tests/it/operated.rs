//! What operators ask of capture: pauses, and tables read once more.

use std::time::Duration;

use serde_json::Value;
use testkit::postgres::{Connection, Server};
use testkit::wait;

use crate::captured::Pipeline;
use crate::outcome::{compare, records, rows};

async fn ask(client: &Connection, pipeline: &Pipeline, table: &str) -> i64 {
    let sql = "insert into lockstep.snapshots (slot, table_schema, table_name, requested_by) \
               values ($1, 'public', $2, 'a test') returning id";
    let row = client.query_one(sql, &[&pipeline.name, &table]).await;
    row.unwrap().get(0)
}

async fn state(client: &Connection, id: i64) -> (String, i64, Option<String>) {
    let sql = "select state, chunks, coalesce(error, waits_for) from lockstep.snapshots \
               where id = $1";
    let row = client.query_one(sql, &[&id]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

async fn ends(client: &Connection, id: i64, expected: &str) {
    wait::until(
        &format!("the snapshot is {expected}"),
        async || match state(client, id).await {
            (state, ..) if state == expected => Ok(()),
            other => Err(other),
        },
    )
    .await;
}

/// Waits until a change that is made now counts, and answers all changes of `t`.
async fn all_changes(pipeline: &Pipeline, client: &Connection) -> Vec<Value> {
    client
        .batch_execute("insert into marks default values")
        .await
        .unwrap();
    let marks: i64 = client
        .query_one("select count(*) from marks", &[])
        .await
        .unwrap()
        .get(0);
    // The truncation that the first snapshot begins with counts too.
    pipeline
        .changes("marks", 1 + usize::try_from(marks).unwrap())
        .await;
    let count = records(pipeline, "t").await;
    pipeline.changes("t", count).await
}

const TABLES: &str = "
    create table marks (id bigint generated always as identity primary key);
    create table t (id bigint primary key, n int not null default 0, body text);
    alter table t alter body set storage external";

/// Only what was read once more, and what changed meanwhile, is looked at: as if the target had lost
/// every row. Rows with long texts that only a small column changes of are the hard ones: their
/// changes do not bring the text.
#[tokio::test]
async fn a_table_read_once_more_under_load_is_whole_again() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLES).await;
    pipeline
        .execute(
            "insert into t select n, 0, case when n % 10 = 0 then repeat('x', 3000) end
               from generate_series(1, 20000) n",
        )
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 20_001).await;
    let client = pipeline.database.client().await;
    let load = load(&pipeline, 4);
    let id = ask(&client, &pipeline, "t").await;
    ends(&client, id, "done").await;
    let (_, chunks, _) = state(&client, id).await;
    assert!(chunks > 3, "{chunks}");
    for task in load {
        task.abort();
        let _ = task.await;
    }
    let changes = all_changes(&pipeline, &client).await;
    let expected = rows(&client).await;
    compare(&changes, &expected);
    let again = &changes[20_001..];
    assert!(
        again
            .iter()
            .any(|change| change["lockstep"]["unchanged"][0] == "body"),
        "no change left a text out"
    );
    compare(again, &expected);
    running.stop().await;
}

const INSERT: &str = "insert into t values ($1, 1, repeat('y', 2500)) on conflict do nothing";
/// To where nobody has read yet, and to where nobody reads again.
const MOVE: &str = "update t set id = (abs(id) + 30000 + (random() * 1e9)::int)
  * (case when random() < 0.5 then -1 else 1 end) where id = $1 returning id";

/// Writers that insert, delete, move and update until they are aborted.
fn load(pipeline: &Pipeline, writers: u64) -> Vec<tokio::task::JoinHandle<()>> {
    let start = |writer: u64| {
        let dsn = pipeline.database.dsn().to_owned();
        tokio::spawn(async move {
            let client = testkit::postgres::connect(&dsn).await.unwrap();
            let (mut random, mut moved) = (writer, 0_i64);
            // As fast as capture can be sure to follow, in a build for tests.
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            loop {
                pace.tick().await;
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let id = i64::try_from((random >> 33) % 21_000).unwrap();
                let (sql, id) = match (random >> 20) % 8 {
                    0 => ("delete from t where id = $1", id),
                    1 => (INSERT, id),
                    // One that moved moves again, too.
                    2 if random >> 63 == 1 => (MOVE, moved),
                    2 => (MOVE, id),
                    3 => ("update t set body = repeat('z', 2200) where id = $1", id),
                    _ => ("update t set n = n + 1 where id = $1", id),
                };
                // A conflict of two writers' keys is no matter.
                let rows = client.query(sql, &[&id]).await.unwrap_or_default();
                moved = rows.first().map_or(moved, |row| row.get(0));
            }
        })
    };
    (1..=writers).map(start).collect()
}

#[tokio::test]
async fn killed_in_the_middle_a_snapshot_goes_on() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLES).await;
    pipeline
        .execute("insert into t select n, 0, repeat('x', 1500) from generate_series(1, 30000) n")
        .await;
    let mut running = pipeline.start();
    pipeline.changes("t", 30_001).await;
    let client = pipeline.database.client().await;
    let load = load(&pipeline, 2);
    let id = ask(&client, &pipeline, "t").await;
    for at_least in [2, 4] {
        wait::until("some chunks count", async || {
            match state(&client, id).await {
                (state, chunks, _) if state == "running" && chunks >= at_least => Ok(()),
                other => Err(other),
            }
        })
        .await;
        running.kill().await;
        let (state, ..) = state(&client, id).await;
        assert_eq!(state, "running");
        running = pipeline.start();
    }
    ends(&client, id, "done").await;
    for task in load {
        task.abort();
        let _ = task.await;
    }
    let changes = all_changes(&pipeline, &client).await;
    let again = &changes[30_001..];
    compare(again, &rows(&client).await);
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_once_more_fails_with_its_reason() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLES).await;
    pipeline
        .execute("create table keyless (a int); alter table keyless replica identity full")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let client = pipeline.database.client().await;
    let keyless = ask(&client, &pipeline, "keyless").await;
    let missing = ask(&client, &pipeline, "missing").await;
    let fine = ask(&client, &pipeline, "t").await;
    ends(&client, keyless, "failed").await;
    ends(&client, missing, "failed").await;
    ends(&client, fine, "done").await;
    let (_, _, why) = state(&client, keyless).await;
    assert!(why.as_ref().unwrap().contains("primary key"), "{why:?}");
    let (_, _, why) = state(&client, missing).await;
    assert!(
        why.as_ref().unwrap().contains("not in publication"),
        "{why:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_table_that_is_to_be_read_is_followed_when_it_is_renamed() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLES).await;
    pipeline
        .execute("insert into t select n from generate_series(1, 100) n")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 101).await;
    let client = pipeline.database.client().await;
    order(&client, &pipeline, true).await;
    running.paused(true).await;
    let asked = ask(&client, &pipeline, "t").await;
    wait::until("it waits for the end of the pause", async || {
        match state(&client, asked).await {
            (state, _, Some(why)) if state == "running" && why.contains("paused") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    pipeline.execute("alter table t rename to renamed").await;
    order(&client, &pipeline, false).await;
    ends(&client, asked, "done").await;
    pipeline.changes("renamed", 100).await;
    running.stop().await;
}

/// Keys of several columns in another order than the table's, with texts that need quoting.
#[tokio::test]
async fn a_key_of_any_columns_is_read_in_its_order() {
    let pipeline = Pipeline::new().await;
    let table = "
        create table k (a int, at timestamptz, name text collate \"C\", primary key (name, at, a));
        insert into k select n, timestamptz '2000-01-01' + n * interval '1.000001 s',
                             E'it''s \\\\ \"' || n % 7 from generate_series(1, 5000) n";
    pipeline.execute(table).await;
    let running = pipeline.start();
    pipeline.changes("k", 5_001).await;
    let client = pipeline.database.client().await;
    let id = ask(&client, &pipeline, "k").await;
    ends(&client, id, "done").await;
    let changes = pipeline.changes("k", 10_001).await;
    let (first, again) = changes[1..].split_at(5_000);
    let key = |change: &Value| change["after"].to_string();
    let (mut first, mut again): (Vec<_>, Vec<_>) = (
        first.iter().map(key).collect(),
        again.iter().map(key).collect(),
    );
    first.sort();
    again.sort();
    assert_eq!(first, again);
    running.stop().await;
}

async fn order(client: &Connection, pipeline: &Pipeline, paused: bool) {
    let sql = "insert into lockstep.capture (slot, paused, reason, changed_by) \
               values ($1, $2, 'a look at it', 'a test') \
               on conflict (slot) do update set paused = excluded.paused";
    client
        .execute(sql, &[&pipeline.name, &paused])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_pause_outlives_restarts_and_loses_nothing() {
    let server = Server::start(&[("wal_sender_timeout", "3s")]).await;
    let pipeline = Pipeline::on(server.database().await).await;
    pipeline.execute(TABLES).await;
    let mut running = pipeline.start();
    pipeline.changes("t", 1).await;
    let client = pipeline.database.client().await;
    order(&client, &pipeline, true).await;
    running.paused(true).await;
    pipeline
        .execute("insert into t select n from generate_series(1, 500) n")
        .await;
    // Longer than the source waits for a word of its readers.
    let slot = "select active, pg_current_wal_lsn() - confirmed_flush_lsn > 10000 \
                from pg_replication_slots where slot_name = $1";
    let began = std::time::Instant::now();
    wait::until("the pause outlives the source's patience", async || {
        let row = client.query_one(slot, &[&pipeline.name]).await.unwrap();
        assert!(row.get::<_, bool>(0), "capture has lost its slot");
        match began.elapsed() > Duration::from_secs(5) && row.get(1) {
            true => Ok(()),
            false => Err(began.elapsed()),
        }
    })
    .await;
    assert_eq!(records(&pipeline, "t").await, 1);
    assert_eq!(running.restarts(), 0);
    running.kill().await;
    running = pipeline.start();
    running.paused(true).await;
    assert_eq!(records(&pipeline, "t").await, 1);
    assert!(running.is_ready(), "a pause is no failure");
    assert!(running.health().contains("paused by a test: a look at it"));
    order(&client, &pipeline, false).await;
    running.paused(false).await;
    pipeline.changes("t", 501).await;
    running.stop().await;
}

/// A slot whose room is nearly used up has snapshots wait, and go on when it has room again.
#[tokio::test]
async fn a_snapshot_waits_while_the_slot_has_little_room() {
    let settings = [
        ("max_slot_wal_keep_size", "64MB"),
        ("max_wal_size", "64MB"),
        ("wal_keep_size", "0"),
    ];
    let server = Server::start(&settings).await;
    let pipeline = Pipeline::on(server.database().await).await;
    pipeline.execute(TABLES).await;
    pipeline
        .execute(
            "insert into t select n from generate_series(1, 3000) n; create table filler (a text)",
        )
        .await;
    pipeline
        .execute(&format!(
            "create publication {} for table t, marks",
            pipeline.name
        ))
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 3_001).await;
    let client = pipeline.database.client().await;
    // A transaction in progress keeps the log that it began in.
    let holder = pipeline.database.client().await;
    holder
        .batch_execute("begin; insert into t values (-1)")
        .await
        .unwrap();
    let safe = "select wal_status, safe_wal_size from pg_replication_slots where slot_name = $1";
    wait::until("the slot has little room", async || {
        let fill = "insert into filler select repeat(md5(random()::text), 60)
                      from generate_series(1, 1000)";
        client.batch_execute(fill).await.unwrap();
        let row = client.query_one(safe, &[&pipeline.name]).await.unwrap();
        let (status, size): (String, Option<i64>) = (row.get(0), row.get(1));
        match size {
            Some(size) if size < 14 << 20 => Ok(()),
            _ => Err((status, size)),
        }
    })
    .await;
    running.pressure(2).await;
    assert!(running.health().contains("snapshots of tables wait"));
    let id = ask(&client, &pipeline, "t").await;
    wait::until("the snapshot waits", async || {
        match state(&client, id).await {
            (state, 0, Some(why)) if state == "running" && why.contains("little room") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    holder.batch_execute("rollback").await.unwrap();
    wait::until("the slot has room again", async || {
        client
            .batch_execute("checkpoint; insert into marks default values")
            .await
            .unwrap();
        match running.metric("cdc_pressure") {
            level if level < 0.5 => Ok(()),
            level => Err(level),
        }
    })
    .await;
    ends(&client, id, "done").await;
    running.stop().await;
}

/// What is in progress when capture begins may have been brought to the one before it, and be
/// invisible to who reads now: nothing is read past it.
#[tokio::test]
async fn a_transaction_that_was_open_at_the_start_is_waited_for() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLES).await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    running.stop().await;
    let open = pipeline.database.client().await;
    let begin = "begin; insert into t values (1)";
    open.batch_execute(begin).await.unwrap();
    let running = pipeline.start();
    let client = pipeline.database.client().await;
    let id = ask(&client, &pipeline, "t").await;
    wait::until("the snapshot waits", async || {
        match state(&client, id).await {
            (_, 0, Some(why)) if why.contains("do not see yet") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert!(running.metric("cdc_resnapshot_chunks_repeated_total") > 0.5);
    open.batch_execute("commit").await.unwrap();
    ends(&client, id, "done").await;
    let changes = pipeline.changes("t", 3).await;
    let ops: Vec<_> = changes.iter().map(|change| &change["op"]).collect();
    assert_eq!(ops, ["t", "c", "r"]);
    running.stop().await;
}

/// Rows of which a usual chunk would not fit into memory.
#[tokio::test]
async fn a_chunk_of_wide_rows_is_cut_smaller() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLES).await;
    pipeline
        .execute("insert into t select n, 0, repeat('x', 200000) from generate_series(1, 300) n")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 301).await;
    let client = pipeline.database.client().await;
    let id = ask(&client, &pipeline, "t").await;
    ends(&client, id, "done").await;
    let (_, chunks, _) = state(&client, id).await;
    assert!(chunks >= 60_000_000 / (16 << 20), "{chunks}");
    assert_eq!(records(&pipeline, "t").await, 601);
    running.stop().await;
}
