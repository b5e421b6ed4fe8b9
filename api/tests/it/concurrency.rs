//! Many at once.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use testkit::postgres::database;

use crate::fixture::{Api, draft};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_with_one_version_exactly_one_wins() {
    let database = database().await;
    let api = Arc::new(Api::start(&database, &[]).await);
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);
    for version in 1..=5 {
        let etag = format!("\"v{version}\"");
        let writers = (0..64).map(|writer| {
            let (api, path, etag) = (Arc::clone(&api), path.clone(), etag.clone());
            let body = json!({"title": format!("{version} by {writer}")});
            async move { api.send_if(&etag, "PATCH", &path, &body).await }
        });
        let answers = join_all(writers).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1);
        for answer in lost {
            answer.problem(412, "precondition-failed");
            assert_eq!(answer.header("etag"), format!("\"v{}\"", version + 1));
        }
        assert_eq!(api.get(&path).await.body["title"], won[0].body["title"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_without_a_version_all_get_through() {
    let database = database().await;
    let api = Arc::new(Api::start(&database, &[]).await);
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);
    // Each changes another field, so that a lost update would show.
    let changes = [
        json!({"title": "new"}),
        json!({"content": "new"}),
        json!({"author": "new"}),
        json!({"category": "new"}),
        json!({"tags": ["new"]}),
        json!({"status": "published"}),
    ];
    let answers = join_all(
        changes
            .iter()
            .map(|change| api.send("PATCH", &path, change)),
    )
    .await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let after = api.get(&path).await;
    for change in &changes {
        for (member, value) in change.as_object().unwrap() {
            assert_eq!(&after.body[member], value);
        }
    }
    assert_eq!(after.header("etag"), "\"v7\"");
}

#[tokio::test]
async fn services_that_start_together_migrate_once() {
    let database = database().await;
    let migrations = (0..4).map(|_| async {
        let client = database.client().await;
        api::migrate(&client).await
    });
    for outcome in join_all(migrations).await {
        outcome.unwrap();
    }
    let client = database.client().await;
    let sql = "select count(*) from articles_migrations";
    let applied: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(applied, 3);
    // With everything applied, a role that may create nothing can start the service.
    client
        .batch_execute(
            "create role reader; grant select on all tables in schema public to reader;
             set role reader",
        )
        .await
        .unwrap();
    api::migrate(&client).await.unwrap();
    client
        .batch_execute("reset role; drop owned by reader; drop role reader")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing() {
    let database = database().await;
    let client = database.client().await;
    client
        .batch_execute("create table articles ()")
        .await
        .unwrap();
    let error = api::migrate(&client).await.unwrap_err();
    assert_eq!(error.to_string(), "apply migration 1");
    let sql = "select to_regclass('articles_migrations') is null";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}
