//! How capture begins, goes on after a fault, and refuses to.

use std::time::Duration;

use change::Lsn;
use change::commit::{CommitKind, CommitRecord};

use crate::captured::{KILLS, Pipeline};

/// The stream's part of the chain, checked: each record follows the one before.
#[track_caller]
fn stream_of(commits: &[CommitRecord]) -> &[CommitRecord] {
    let complete = commits
        .iter()
        .rposition(|c| c.kind == CommitKind::SnapshotComplete)
        .unwrap();
    let mut last = &commits[complete];
    for commit in &commits[complete + 1..] {
        assert_eq!(commit.previous_commit_lsn, last.commit_lsn);
        // A start begins with a fence: a heartbeat that says nothing new.
        let is_fence = commit.kind == CommitKind::Heartbeat && commit.epoch > last.epoch;
        assert!(commit.commit_lsn > last.commit_lsn || is_fence);
        assert!(commit.epoch >= last.epoch);
        last = commit;
    }
    &commits[complete + 1..]
}

#[tokio::test]
async fn a_table_without_identity_is_named_with_its_mend() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("create table keyless (a int)").await;
    let error = pipeline.start().error().await;
    assert!(error.contains("public.keyless"), "{error}");
    assert!(error.contains("replica identity full"), "{error}");
}

#[tokio::test]
async fn a_type_that_cannot_travel_in_binary_is_named() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key, rights aclitem[])")
        .await;
    let error = pipeline.start().error().await;
    assert!(
        error.contains("aclitem[]") && error.contains("rights"),
        "{error}"
    );
}

#[tokio::test]
async fn a_slot_that_another_capture_reads_is_refused() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key)")
        .await;
    let first = pipeline.start();
    pipeline.changes("t", 1).await;
    let error = pipeline.start_beside().error().await;
    assert!(
        error.contains(&format!("slot \"{}\" is in use", pipeline.name)),
        "{error}"
    );
    pipeline.execute("insert into t values (1)").await;
    pipeline.changes("t", 2).await;
    first.stop().await;
}

#[tokio::test]
async fn a_slot_that_is_gone_is_never_replaced_silently() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key)")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    running.stop().await;
    pipeline
        .execute(&format!(
            "select pg_drop_replication_slot('{}')",
            pipeline.name
        ))
        .await;
    let error = pipeline.start().error().await;
    assert!(error.contains("does not exist any more"), "{error}");
}

#[tokio::test]
async fn a_role_that_may_not_publish_is_told_what_to_run() {
    let pipeline = Pipeline::new().await;
    // A role belongs to the whole server; names are cut at 63 bytes.
    let role: String = pipeline.name.chars().take(60).chain("_r".chars()).collect();
    let create = format!("create role {role} login replication password 'pw'");
    pipeline.execute(&create).await;
    let error = pipeline.start_as(&role, "pw").error().await;
    pipeline.execute(&format!("drop role {role}")).await;
    assert!(error.contains("create publication"), "{error}");
}

#[tokio::test]
async fn commits_records_form_a_chain_over_restarts() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key)")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    running.stop().await;
    for id in 1..4 {
        let running = pipeline.start();
        pipeline
            .execute(&format!("insert into t values ({id})"))
            .await;
        pipeline.changes("t", id + 1).await;
        running.stop().await;
    }
    let commits = pipeline.commits().await;
    let epochs: Vec<i64> = stream_of(&commits)
        .iter()
        .map(|commit| commit.epoch)
        .collect();
    assert!(epochs.last() > epochs.first(), "{epochs:?}");
}

/// Killed at random moments, capture neither loses nor repeats a transaction: what counts is, in
/// commit order, exactly what the source committed.
#[tokio::test]
async fn killed_at_any_moment_nothing_is_lost_or_counts_twice() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key, pad text)")
        .await;
    let mut running = pipeline.start();
    pipeline.changes("t", 1).await;
    let client = pipeline.database.client().await;
    let mut committed = 0;
    for (writes, millis) in KILLS {
        for _ in 0..writes {
            let insert =
                "insert into t select $1 * 100 + n, repeat('p', 500) from generate_series(1, 20) n";
            client.execute(insert, &[&committed]).await.unwrap();
            committed += 1;
        }
        tokio::time::sleep(Duration::from_millis(millis)).await;
        running.kill().await;
        running = pipeline.start();
    }
    let changes = pipeline
        .changes("t", 1 + usize::try_from(committed).unwrap() * 20)
        .await;
    let ids: Vec<i64> = changes[1..]
        .iter()
        .map(|c| c["after"]["id"].as_i64().unwrap())
        .collect();
    let expected: Vec<i64> = (0..i64::from(committed))
        .flat_map(|t| (1..=20).map(move |n| t * 100 + n))
        .collect();
    assert_eq!(ids, expected);
    let commits = pipeline.commits().await;
    let transactions: usize = stream_of(&commits)
        .iter()
        .map(|c| c.transactions.len())
        .sum();
    assert_eq!(transactions, usize::try_from(committed).unwrap());
    running.stop().await;
}

/// A publication without changes must not keep the source's log: the slot follows the heartbeats.
#[tokio::test]
async fn a_quiet_publication_still_lets_the_source_forget() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key); create table other (a int)")
        .await;
    pipeline
        .execute(&format!("create publication {} for table t", pipeline.name))
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    pipeline
        .execute("insert into other select generate_series(1, 10000)")
        .await;
    let client = pipeline.database.client().await;
    let end: String = client
        .query_one("select pg_current_wal_lsn()::text", &[])
        .await
        .unwrap()
        .get(0);
    let end: Lsn = end.parse().unwrap();
    testkit::wait::until("the slot passes the other table's changes", async || {
        let confirmed =
            "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1";
        let row = client
            .query_one(confirmed, &[&pipeline.name])
            .await
            .unwrap();
        let confirmed: Lsn = row.get::<_, &str>(0).parse().unwrap();
        if confirmed >= end {
            Ok(())
        } else {
            Err(confirmed)
        }
    })
    .await;
    let commits = pipeline.commits().await;
    assert_eq!(commits.last().unwrap().kind, CommitKind::Heartbeat);
    running.stop().await;
}

/// Who has written reads an LSN behind its commit, and waits for it on the target. Nothing else may
/// commit for a long time, though the log grows.
#[tokio::test]
async fn a_position_behind_a_commit_is_reached_while_others_only_write() {
    let mut pipeline = Pipeline::new().await;
    pipeline.heartbeat_seconds = 3600;
    pipeline
        .execute("create table t (id int primary key); create table other (id int primary key)")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let busy = pipeline.database.client().await;
    busy.batch_execute("begin; insert into other select generate_series(1, 1000)")
        .await
        .unwrap();
    let client = pipeline.database.client().await;
    client
        .batch_execute("insert into t values (1)")
        .await
        .unwrap();
    busy.batch_execute("insert into other select generate_series(1001, 2000)")
        .await
        .unwrap();
    let position = "select (pg_current_wal_flush_lsn() - 1)::text";
    let position: String = client.query_one(position, &[]).await.unwrap().get(0);
    let position: Lsn = position.parse().unwrap();
    testkit::wait::until("the position counts", async || {
        let last = pipeline.commits().await.last().map(|last| last.commit_lsn);
        match last >= Some(position) {
            true => Ok(()),
            false => Err(last),
        }
    })
    .await;
    // What was open then comes when it commits.
    busy.batch_execute("commit").await.unwrap();
    pipeline.changes("other", 1 + 2000).await;
    running.stop().await;
}

/// The message's position is its end, where the commit's record starts when nobody else writes.
#[tokio::test]
async fn a_commit_right_behind_a_heartbeat_is_captured() {
    const TIMES: usize = 5;
    let mut pipeline = Pipeline::new().await;
    pipeline.heartbeat_seconds = 3600;
    pipeline
        .execute("create table t (id int primary key)")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let client = pipeline.database.client().await;
    for id in 1..=TIMES {
        let open = format!("begin; insert into t values ({id})");
        client.batch_execute(&open).await.unwrap();
        let emit = "select pg_logical_emit_message(false, 'lockstep.heartbeat', '')::text";
        let end: String = client.query_one(emit, &[]).await.unwrap().get(0);
        let end: Lsn = end.parse().unwrap();
        testkit::wait::until("the heartbeat counts", async || {
            let last = pipeline.commits().await.last().map(|last| last.commit_lsn);
            match last >= Some(end.just_before()) {
                true => Ok(()),
                false => Err(last),
            }
        })
        .await;
        client.batch_execute("commit").await.unwrap();
    }
    pipeline.changes("t", 1 + TIMES).await;
    running.stop().await;
}

/// Our own schema is no part of what is copied, even of a publication for all tables.
#[tokio::test]
async fn bookkeeping_is_not_captured() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute(
            "create schema lockstep; create table lockstep.keys (key text primary key, at timestamptz);
             insert into lockstep.keys values ('before', now());
             create table t (id int primary key)",
        )
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    pipeline
        .execute_each(
            "begin; insert into lockstep.keys values ('a', now()); insert into t values (1);
             insert into lockstep.keys values ('b', now()); commit;
             delete from lockstep.keys where key = 'a'; truncate lockstep.keys, t;
             insert into lockstep.keys values ('c', now()); insert into t values (2)",
        )
        .await;
    let changes = pipeline.changes("t", 4).await;
    let ops: Vec<&str> = changes.iter().map(|c| c["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["t", "c", "t", "c"]);
    for commit in pipeline.commits().await {
        for range in commit.partitions {
            assert_eq!(range.topic, format!("{}.public.t", pipeline.name));
        }
    }
    running.stop().await;
}
