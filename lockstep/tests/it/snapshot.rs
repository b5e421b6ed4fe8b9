//! Tables read once more: what the target lost comes back, while writers go on and capture is killed.

use std::time::Duration;

use testkit::postgres::{Connection, connect};
use testkit::{compare, wait};

use crate::pipeline::Pipeline;

const TABLES: &str = "
    create table t (id bigint primary key, n int not null default 0, body text, a int[]);
    alter table t alter body set storage external;
    create table other (id bigint generated always as identity primary key, n int);
    insert into t select n, 0, case when n % 20 = 0 then repeat('x', 3000) end, array[n::int, 2]
      from generate_series(1, 15000) n";

/// Writers that insert, delete, move and update until the task is aborted.
async fn write(dsn: String, mut random: u64) {
    let client = connect(&dsn).await.expect("connect");
    // As fast as a build for tests can be sure to follow.
    let mut pace = tokio::time::interval(Duration::from_millis(3));
    loop {
        pace.tick().await;
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let id = i64::try_from((random >> 33) % 16_000).expect("a small number");
        let sql = match (random >> 20) % 8 {
            0 => "delete from t where id = $1",
            1 => "insert into t values ($1, 1, repeat('y', 2500)) on conflict do nothing",
            2 => {
                // To where nobody has read yet, and to where nobody reads again.
                "update t set id = (id + 20000 + (random() * 1e9)::int)
                   * (case when random() < 0.5 then -1 else 1 end) where id = $1"
            }
            3 => "update t set body = repeat('z', 2200) where id = $1",
            4 => {
                "with w as (insert into other (n) values (1)) update t set n = n + 1 where id = $1"
            }
            _ => "update t set n = n + 1 where id = $1",
        };
        // Two writers that want one key do not matter.
        let _ = client.execute(sql, &[&id]).await;
    }
}

async fn snapshots(pipeline: &Pipeline, flag: &[&str]) -> serde_json::Value {
    let arguments = [&["snapshot", "--json"], flag].concat();
    let said = pipeline.run(&arguments).await.well();
    serde_json::from_str(&said).expect("JSON")
}

async fn running(source: &Connection, at_least: i64) {
    let sql = "select state, chunks from lockstep.snapshots order by id desc limit 1";
    wait::until("chunks are read", async || {
        let row = source.query_one(sql, &[]).await.expect("ask");
        let (state, chunks): (String, i64) = (row.get(0), row.get(1));
        match state == "running" && chunks >= at_least {
            true => Ok(()),
            false => Err((state, chunks)),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_rows_come_back_under_load_and_over_kills() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.expect("create tables");
    let mut services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let target = pipeline.target.client().await;
    let lose = "delete from t where id % 3 = 0; update t set n = -1 where id % 7 = 0";
    target.batch_execute(lose).await.expect("lose rows");

    let writers: Vec<_> = (1..=3)
        .map(|seed| tokio::spawn(write(pipeline.source.dsn().to_owned(), seed)))
        .collect();
    let asked = snapshots(&pipeline, &["--table=public.t", "--reason=rows were lost"]).await;
    let id = asked["snapshots"][0]["id"].as_i64().expect("an id");
    for at_least in [1, 3] {
        running(&source, at_least).await;
        services[0].kill_9();
        services[0].restart();
    }
    services[1].kill_9();
    services[1].restart();
    wait::within(Duration::from_secs(120), "the table is read", async || {
        let listed = snapshots(&pipeline, &["--list"]).await;
        let snapshot = &listed["snapshots"][0];
        assert_eq!(snapshot["id"], id);
        match snapshot["state"] == "done" {
            true => Ok(()),
            false => Err(snapshot.clone()),
        }
    })
    .await;
    for writer in writers {
        writer.abort();
        let _ = writer.await;
    }
    pipeline.caught_up(&source, &target).await;
    let tables = ["public.t", "public.other"];
    compare::tables(&source, &target, &tables).await.unwrap();
    for service in &services {
        let output = service.output();
        assert!(!output.contains("panicked"), "{output}");
        assert!(!output.contains("unique value"), "{output}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_once_more_is_refused_with_its_mend() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let tables = "create table keyless (a int); alter table keyless replica identity full;
                  create table t (id int primary key)";
    source.batch_execute(tables).await.expect("create tables");
    pipeline.run(&["setup"]).await.well();
    for (table, mend) in [
        ("public.keyless", "primary key"),
        ("public.none", "not published"),
    ] {
        let ran = pipeline
            .run(&["snapshot", "--table=public.t", &format!("--table={table}")])
            .await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(mend), "{ran:?}");
    }
    let listed = snapshots(&pipeline, &["--list"]).await;
    assert_eq!(listed["snapshots"], serde_json::json!([]));
    let asked = snapshots(&pipeline, &["--table=public.t"]).await;
    let ran = pipeline.run(&["snapshot", "--table=public.t"]).await;
    assert!(ran.stderr.contains("already"), "{ran:?}");
    let id = asked["snapshots"][0]["id"].to_string();
    let cancelled = snapshots(&pipeline, &["--cancel", &id]).await;
    assert_eq!(cancelled["snapshots"][0]["state"], "cancelled");
    let target = pipeline.target.client().await;
    let audit = "select string_agg(action || ' ' || object, ', ' order by id) from lockstep.audit";
    let done: String = target.query_one(audit, &[]).await.expect("ask").get(0);
    assert_eq!(done, format!("snapshot public.t, cancel snapshot {id}"));
    let gone = "drop table lockstep.snapshots";
    source.batch_execute(gone).await.expect("drop a table");
    let ran = pipeline.run(&["snapshot", "--table=public.t"]).await;
    assert!(ran.stderr.contains("lockstep setup"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_capture_keeps_changes_in_the_slot() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.expect("create tables");
    let (mut cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let writer = tokio::spawn(write(pipeline.source.dsn().to_owned(), 1));
    let reason = "--reason=the network is needed";
    pipeline.run(&["pause", "capture", reason]).await.well();
    wait::until("capture is paused", async || {
        let output = cdc.output();
        match output.contains("capture is paused") && output.contains("the network is needed") {
            true => Ok(()),
            false => Err(output),
        }
    })
    .await;
    let marks = "insert into other (n) values (-7)";
    source.batch_execute(marks).await.expect("insert");
    cdc.kill_9();
    cdc.restart();
    wait::until("capture is paused again", async || {
        let output = cdc.output();
        match output.matches("capture is paused").count() {
            2 => Ok(()),
            _ => Err(output),
        }
    })
    .await;
    writer.abort();
    let _ = writer.await;
    let target = pipeline.target.client().await;
    let count = "select count(*) from other where n = -7";
    let there: i64 = target.query_one(count, &[]).await.expect("count").get(0);
    assert_eq!(there, 0);
    pipeline.run(&["resume", "capture"]).await.well();
    pipeline.caught_up(&source, &target).await;
    let tables = ["public.t", "public.other"];
    compare::tables(&source, &target, &tables).await.unwrap();
}
