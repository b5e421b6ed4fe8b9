//! `lockstep.wait_for`: reading one's own writes on the target, from any SQL client.

use testkit::wait;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Error};

use crate::rig::{Rig, Table};

async fn wait_for(client: &Client, lsn: PgLsn, patience: &str) -> Result<PgLsn, Error> {
    let sql = format!("select lockstep.wait_for($1, interval '{patience}')");
    Ok(client.query_one(&sql, &[&lsn]).await?.get(0))
}

/// The SQLSTATE and the detail of a refusal.
fn refusal(outcome: Result<PgLsn, Error>) -> (String, String) {
    let error = outcome.unwrap_err();
    let error = error.as_db_error().unwrap();
    let detail = error.detail().unwrap_or_default().to_owned();
    (error.code().code().to_owned(), detail)
}

/// A rig whose target is at the first commit of one row.
async fn rig() -> (Rig, Table) {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key); insert into t values (1)")
        .await;
    let table = rig.table("t", 1).await;
    let first = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&first).await;
    (rig, table)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_position_reads_what_was_written() {
    let (mut rig, table) = rig().await;
    let applier = rig.apply();
    rig.caught_up().await;
    let next = rig.capture.next_lsn();
    let reader = rig.target_database.client().await;
    let waiting = tokio::spawn(async move {
        let reached = wait_for(&reader, PgLsn::from(next.as_u64()), "1 min").await;
        let rows = reader.query_one("select count(*) from t", &[]).await;
        (reached, rows.unwrap().get::<_, i64>(0))
    });
    let waits = "select count(*) from pg_stat_activity
                  where query like 'select lockstep.wait_for%' and wait_event = 'PgSleep'
                    and datname = current_database()";
    wait::until("the reader waits", async || match rig.count(waits).await {
        1 => Ok(()),
        count => Err(count),
    })
    .await;
    rig.sql("insert into t values (2)").await;
    let second = rig.creates(&table, "select * from t where id = 2").await;
    rig.capture.commit(&second).await;
    let (reached, rows) = waiting.await.unwrap();
    assert!(u64::from(reached.unwrap()) >= next.as_u64());
    assert_eq!(rows, 2);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_ends_with_the_distance() {
    let (rig, _) = rig().await;
    let applier = rig.apply();
    rig.caught_up().await;
    let beyond = PgLsn::from(rig.capture.previous.as_u64() + 1000);
    let (code, detail) = refusal(wait_for(&rig.target, beyond, "10 ms").await);
    assert_eq!(code, "LS001");
    assert!(detail.ends_with("1000 bytes behind."), "{detail}");
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_waited_for_is_refused() {
    let (rig, _) = rig().await;
    let applier = rig.apply();
    rig.caught_up().await;
    let there = PgLsn::from(rig.capture.previous.as_u64());

    // Any role may wait.
    let role = rig.target_database.name();
    rig.target
        .batch_execute(&format!("create role {role}; set role {role}"))
        .await
        .unwrap();
    wait_for(&rig.target, there, "0").await.unwrap();
    rig.target
        .batch_execute(&format!("reset role; drop role {role}"))
        .await
        .unwrap();

    rig.target
        .batch_execute("begin isolation level repeatable read")
        .await
        .unwrap();
    assert_eq!(
        refusal(wait_for(&rig.target, there, "1 s").await).0,
        "LS002"
    );
    rig.target.batch_execute("rollback").await.unwrap();

    rig.target
        .batch_execute("update lockstep.progress set phase = 'snapshotting'")
        .await
        .unwrap();
    let (code, detail) = refusal(wait_for(&rig.target, there, "10 ms").await);
    assert_eq!(
        (code.as_str(), detail.as_str()),
        ("LS001", "The first snapshot is not complete.")
    );

    rig.target
        .batch_execute(
            "update lockstep.progress set phase = 'streaming';
             insert into lockstep.progress select 'other', epoch, '0/1', commits_offset, system_id,
                    timeline, slot, phase, commit_time from lockstep.progress",
        )
        .await
        .unwrap();
    assert_eq!(
        refusal(wait_for(&rig.target, there, "1 s").await).0,
        "LS002"
    );
    let named = "select lockstep.wait_for($1, pipeline => $2)";
    let named = rig
        .target
        .query_one(named, &[&there, &rig.config.pipeline])
        .await;
    assert_eq!(named.unwrap().get::<_, PgLsn>(0), there);
    applier.stop().await;
}
