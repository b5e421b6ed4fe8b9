//! What is away is waited for.

use testkit::{kafka, postgres, registry};

use crate::rig::{Record, Rig, apply, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_goes_away_is_waited_for() {
    let server = postgres::Server::start(&[]).await;
    let database = server.database().await;
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key, v text)").await;
    rig.sql("insert into t select n, 'v' from generate_series(1, 6) n")
        .await;
    let table = rig.table("t", 2).await;
    let rows: Vec<Record> = rig.creates(&table, "select * from t order by id").await;
    rig.config = config(
        database.dsn(),
        kafka::bootstrap().await,
        registry::url().await,
        rig.capture.prefix(),
    );
    let applier = apply(rig.config.clone());
    for at in 0..6 {
        rig.capture.commit(&rows[at..=at]).await;
        let wanted = rig.capture.previous;
        if at == 2 {
            server.kill().await;
            rig.capture.commit(&[]).await;
            testkit::wait::until("the target is named", async || {
                let failing = applier.monitor.health.failing();
                match failing.iter().any(|(name, _)| *name == "target") {
                    true => Ok(()),
                    false => Err(failing),
                }
            })
            .await;
            server.restart().await;
        }
        testkit::wait::until("the row arrives", async || {
            let client = postgres::connect(database.dsn())
                .await
                .map_err(|e| e.to_string())?;
            let read = applier::progress::read(&client, &rig.config.pipeline).await;
            match read.map_err(|error| error.to_string())? {
                Some(progress) if progress.commit_lsn >= wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    let client = postgres::connect(database.dsn()).await.unwrap();
    testkit::compare::tables(&rig.source, &client, &["public.t"])
        .await
        .unwrap();
    assert!(
        applier.monitor.health.is_ready(),
        "{:?}",
        applier.monitor.health.failing()
    );
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_is_waited_for() {
    let broker = kafka::Server::start().await;
    let mut rig = Rig::with(broker.bootstrap(), registry::url().await).await;
    rig.sql("create table t (id int primary key, v text)").await;
    rig.sql("insert into t select n, 'v' from generate_series(1, 4) n")
        .await;
    let table = rig.table("t", 2).await;
    let rows = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&rows[..2]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    broker.kill().await;
    testkit::wait::until("kafka is named", async || {
        let failing = applier.monitor.health.failing();
        match failing.iter().any(|(name, _)| *name == "kafka") {
            true => Ok(()),
            false => Err(failing),
        }
    })
    .await;
    broker.restart().await;
    rig.capture.commit(&rows[2..]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    testkit::wait::until("kafka is well again", async || {
        match applier.monitor.health.is_ready() {
            true => Ok(()),
            false => Err(applier.monitor.health.failing()),
        }
    })
    .await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applier_that_is_there_before_capture_waits() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key, v text); insert into t values (1, 'a')")
        .await;
    let later = format!("{}_later", rig.capture.prefix());
    let waiting = config(
        rig.target_database.dsn(),
        kafka::bootstrap().await,
        registry::url().await,
        &later,
    );
    let applier = apply(waiting);
    testkit::wait::until("the missing topic is named", async || {
        let failing = applier.monitor.health.failing();
        match failing
            .iter()
            .any(|(_, text)| text.contains(".commits does not exist yet"))
        {
            true => Ok(()),
            false => Err(failing),
        }
    })
    .await;
    rig.capture.rename(&later).await;
    let table = rig.table("t", 1).await;
    let rows = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&rows).await;
    testkit::wait::until("the row", async || {
        let read = applier::progress::read(&rig.target, &later).await.unwrap();
        read.ok_or("no progress")
    })
    .await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}
