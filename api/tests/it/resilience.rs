//! DB1 away, slow or busy.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::postgres::{Server, database};
use testkit::proxy::Proxy;
use testkit::wait;

use crate::fixture::{Api, draft};

#[tokio::test]
async fn requests_are_told_to_come_back_while_the_database_is_away() {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);

    server.kill().await;
    for path in ["/api/v1/articles", path.as_str()] {
        let away = api.get(path).await;
        away.problem(503, "unavailable");
        assert_eq!(away.header("retry-after"), "1");
    }
    let health = api.get("/api/v1/health").await;
    assert_eq!(
        (health.status, &health.body["status"]),
        (503, &"failing".into())
    );
    assert_eq!(api.get("/api/v1/health/live").await.status, 200);
    assert_eq!(api.get("/metrics").await.status, 200);
    assert!(!api.monitor.health.is_ready());

    server.restart().await;
    wait::until("the article is back", async || {
        let read = api.get(&path).await;
        if read.status == 200 {
            Ok(())
        } else {
            Err(read.text)
        }
    })
    .await;
    wait::until("the service is ready", async || {
        match api.monitor.health.is_ready() {
            true => Ok(()),
            false => Err(api.monitor.health.failing()),
        }
    })
    .await;
    api.stop().await;
}

#[tokio::test]
async fn the_service_starts_before_its_database() {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    server.stop().await;
    let api = Api::start_unready(database.dsn(), &[]);
    wait::until("the port answers", async || {
        api.client.get(api.at("/api/v1/health/live")).send().await
    })
    .await;
    api.get("/api/v1/articles")
        .await
        .problem(503, "unavailable");
    server.restart().await;
    api.ready().await;
    assert_eq!(api.get("/api/v1/articles").await.status, 200);
    api.stop().await;
}

#[tokio::test]
async fn a_silent_database_costs_no_more_than_the_time_limit() {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    let (host, port) = ("127.0.0.1", port_of(database.dsn()));
    let proxy = Proxy::start(format!("{host}:{port}").parse().unwrap()).await;
    let source = database
        .dsn()
        .replace(&format!(":{port}/"), &format!(":{}/", proxy.addr().port()));
    let api = Api::start_unready(&source, &["--api-timeout-seconds", "2"]);
    api.ready().await;
    assert_eq!(api.get("/api/v1/articles").await.status, 200);

    proxy.silence();
    let start = Instant::now();
    let answers = join_all((0..20).map(|_| api.get("/api/v1/articles"))).await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    for answer in answers {
        answer.problem(503, "unavailable");
    }
    proxy.heal();
    wait::until("lists are back", async || {
        let list = api.get("/api/v1/articles").await;
        if list.status == 200 {
            Ok(())
        } else {
            Err(list.text)
        }
    })
    .await;
    api.stop().await;
}

#[tokio::test]
async fn a_pool_of_one_that_is_held_is_busy_and_not_a_hang() {
    let database = database().await;
    let flags = ["--api-connections", "1", "--api-timeout-seconds", "4"];
    let api = Api::start(&database, &flags).await;
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);

    let holder = database.client().await;
    holder
        .batch_execute("begin; lock table articles in access exclusive mode")
        .await
        .unwrap();
    let start = Instant::now();
    // One waits for the lock until its statement is cut off; the others wait for its connection.
    let answers = join_all((0..4).map(|_| api.get(&path))).await;
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    for answer in &answers {
        answer.problem(503, "unavailable");
    }
    let busy = |answer: &&crate::fixture::Answer| answer.text.contains("busy");
    assert!(answers.iter().filter(busy).count() >= 3);
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(api.get(&path).await.status, 200);
    api.stop().await;
}

fn port_of(dsn: &str) -> u16 {
    let dsn: service::postgres::Dsn = dsn.parse().unwrap();
    dsn.port()
}
