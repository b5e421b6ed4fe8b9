//! Requests that are repeated with their Idempotency-Key.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::postgres::{Database, database};
use testkit::wait;

use crate::fixture::{Answer, Api, draft};

const ARTICLES: &str = "/api/v1/articles";

async fn post(api: &Api, key: &str, path: &str, body: &Value) -> Answer {
    api.send_with(&[("idempotency-key", key)], "POST", path, body)
        .await
}

async fn count(database: &Database, sql: &str) -> i64 {
    let client = database.client().await;
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn articles(database: &Database) -> i64 {
    count(database, "select count(*) from articles").await
}

async fn keys(database: &Database) -> i64 {
    count(database, "select count(*) from lockstep.idempotency_keys").await
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_and_not_done() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let first = post(&api, "k1", ARTICLES, &draft("one")).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("idempotent-replayed"), "");
    let path = first.header("location").to_owned();
    api.send("PATCH", &path, &json!({"title": "two"})).await;

    let again = post(&api, "k1", ARTICLES, &draft("one")).await;
    assert_eq!((again.status, &again.text), (201, &first.text));
    assert_eq!(again.header("idempotent-replayed"), "true");
    for name in ["etag", "location", "last-modified", "content-type"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    let position = |answer: &Answer| answer.header("lockstep-position").parse().unwrap();
    let (before, now): (change::Lsn, change::Lsn) = (position(&first), position(&again));
    assert!(before < now, "the current position: {before} {now}");
    assert_eq!((articles(&database).await, keys(&database).await), (1, 1));

    for (path, body) in [
        (ARTICLES, draft("another")),
        (&format!("{path}/publish"), Value::Null),
    ] {
        let reused = post(&api, "k1", path, &body).await;
        reused.problem(422, "idempotency-key-reused");
    }
    assert_eq!((articles(&database).await, keys(&database).await), (1, 1));
    api.stop().await;
}

#[tokio::test]
async fn a_key_is_free_when_its_request_is_answered() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let first = post(&api, "k1", ARTICLES, &draft("one")).await;
    let publish = format!("{}/publish", first.header("location"));
    let missing = format!("{ARTICLES}/999/publish");
    // One after the other, as a client does that tries again.
    for _ in 0..50 {
        let again = post(&api, "k1", ARTICLES, &draft("one")).await;
        assert_eq!(again.status, 201, "{}", again.text);
        let reused = post(&api, "k1", &publish, &Value::Null).await;
        reused.problem(422, "idempotency-key-reused");
        let refused = post(&api, "k2", &missing, &Value::Null).await;
        assert_eq!(refused.status, 404, "{}", refused.text);
    }
    api.stop().await;
}

#[tokio::test]
async fn a_repeated_step_holds_its_first_precondition() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    for (step, etag) in [("publish", "\"v1\""), ("archive", "\"v2\"")] {
        let path = format!("{ARTICLES}/{}/{step}", article["id"]);
        let headers = [("idempotency-key", step), ("if-match", etag)];
        let first = api.send_with(&headers, "POST", &path, &Value::Null).await;
        assert_eq!(first.status, 200);
        let again = api.send_with(&headers, "POST", &path, &Value::Null).await;
        assert_eq!((again.status, &again.text), (200, &first.text));
        assert_eq!(again.header("idempotent-replayed"), "true");
        // Done for the first time, it would be refused.
        let headers = [("idempotency-key", "other"), ("if-match", etag)];
        let stale = api.send_with(&headers, "POST", &path, &Value::Null).await;
        stale.problem(412, "precondition-failed");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_failed_request_may_be_repeated_with_its_key() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    post(&api, "k", ARTICLES, &json!({}))
        .await
        .problem(422, "validation");
    let publish = format!("{ARTICLES}/1/publish");
    post(&api, "p", &publish, &Value::Null)
        .await
        .problem(404, "not-found");
    assert_eq!(keys(&database).await, 0);
    assert_eq!(
        post(&api, "k", ARTICLES, &draft("one")).await.status,
        201,
        "of nothing that was done it was the key"
    );
    let published = post(&api, "p", &publish, &Value::Null).await;
    assert_eq!(published.status, 200);
    assert_eq!(published.header("idempotent-replayed"), "");
    api.stop().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for key in ["", "a b", &"k".repeat(256)] {
        post(&api, key, ARTICLES, &draft("one"))
            .await
            .problem(400, "malformed");
        post(&api, key, &format!("{ARTICLES}/1/archive"), &Value::Null)
            .await
            .problem(400, "malformed");
    }
    let longest = post(&api, &"k".repeat(255), ARTICLES, &draft("one")).await;
    assert_eq!(longest.status, 201);
    assert_eq!(articles(&database).await, 1);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_equal_requests_at_once_one_is_done() {
    let database = database().await;
    let api = Arc::new(Api::start(&database, &[]).await);
    for round in 1..=5 {
        let key = format!("round {round}").replace(' ', "-");
        let body = draft(&key);
        let answers = join_all((0..32).map(|_| post(&api, &key, ARTICLES, &body))).await;
        let (done, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 201);
        assert!(done.iter().all(|answer| answer.text == done[0].text));
        let first = |answer: &&&Answer| answer.header("idempotent-replayed").is_empty();
        assert_eq!(done.iter().filter(first).count(), 1);
        for answer in refused {
            answer.problem(409, "idempotency-key-in-use");
            assert_eq!(answer.header("retry-after"), "1");
        }
        assert_eq!(articles(&database).await, round);
        let last = post(&api, &key, ARTICLES, &body).await;
        assert_eq!(last.text, done[0].text);
    }
}

/// Holds up requests that have done their work, just before they store their answer.
async fn hold(database: &Database) -> impl Sized {
    let holder = database.client().await;
    let sql = "begin; lock table lockstep.idempotency_keys in share row exclusive mode";
    holder.batch_execute(sql).await.unwrap();
    holder
}

const HELD: &str = "select pid from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock'
                      and query like '%insert into lockstep.idempotency_keys%'";

/// The backend of a request that is held up.
async fn held(database: &Database) -> i32 {
    let client = database.client().await;
    wait::until("a request is held up", async || {
        client.query_one(HELD, &[]).await.map(|row| row.get(0))
    })
    .await
}

/// How many transactions the service has open.
const OPEN: &str = "select count(*) from pg_stat_activity
                    where datname = current_database() and application_name = 'lockstep api'
                      and xact_start is not null";

async fn none_open(database: &Database) {
    wait::until("no transaction is open", async || {
        match count(database, OPEN).await {
            0 => Ok(()),
            open => Err(open),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_not_waited_for() {
    let database = database().await;
    let api = Arc::new(Api::start(&database, &[]).await);
    let holder = hold(&database).await;
    let first = tokio::spawn({
        let api = Arc::clone(&api);
        async move { post(&api, "k", ARTICLES, &draft("one")).await }
    });
    held(&database).await;
    let second = post(&api, "k", ARTICLES, &draft("one")).await;
    second.problem(409, "idempotency-key-in-use");
    assert_eq!(second.header("retry-after"), "1");
    drop(holder);
    let first = first.await.unwrap();
    assert_eq!(first.status, 201);
    let third = post(&api, "k", ARTICLES, &draft("one")).await;
    assert_eq!((third.status, third.text), (201, first.text));
    assert_eq!(articles(&database).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_dies_in_between_leaves_neither_row_nor_key() {
    let database = database().await;
    let api = Arc::new(Api::start(&database, &[]).await);
    let holder = hold(&database).await;
    let first = tokio::spawn({
        let api = Arc::clone(&api);
        async move { post(&api, "k", ARTICLES, &draft("one")).await }
    });
    let backend = held(&database).await;
    let client = database.client().await;
    client
        .execute("select pg_terminate_backend($1)", &[&backend])
        .await
        .unwrap();
    first.await.unwrap().problem(503, "unavailable");
    drop(holder);
    none_open(&database).await;
    assert_eq!((articles(&database).await, keys(&database).await), (0, 0));
    let again = post(&api, "k", ARTICLES, &draft("one")).await;
    assert_eq!(again.status, 201);
    assert_eq!(again.header("idempotent-replayed"), "");
    assert_eq!((articles(&database).await, keys(&database).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_between_leaves_no_transaction_open() {
    let database = database().await;
    let client = database.client().await;
    api::migrate(&client).await.unwrap();
    let old = "insert into lockstep.idempotency_keys (key, fingerprint, status, body, created_at)
               values ('old', sha256('x'), 201, '', now() - interval '25 hours')";
    client.batch_execute(old).await.unwrap();
    // One connection, so that the next request gets the one that was left.
    let flags = ["--api-connections", "1"];
    let api = Arc::new(Api::start(&database, &flags).await);
    // The sweep needs the connection too, and would wait for the lock with it.
    wait::until("the first sweep is over", async || {
        match keys(&database).await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    let holder = hold(&database).await;
    let first = tokio::spawn({
        let api = Arc::clone(&api);
        async move { post(&api, "k", ARTICLES, &draft("one")).await }
    });
    held(&database).await;
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    // The one connection is the next request's, whatever was under way on it.
    let next = tokio::spawn({
        let api = Arc::clone(&api);
        async move { api.get(ARTICLES).await }
    });
    drop(holder);
    assert_eq!(next.await.unwrap().body["total_items"], 0);
    none_open(&database).await;
    assert_eq!((articles(&database).await, keys(&database).await), (0, 0));
    assert_eq!(post(&api, "k", ARTICLES, &draft("one")).await.status, 201);
    assert_eq!((articles(&database).await, keys(&database).await), (1, 1));
}

/// Makes keys a day older, and a minute younger than that.
async fn age(database: &Database) {
    let client = database.client().await;
    let sql = "update lockstep.idempotency_keys
               set created_at = created_at - case when key = 'young'
                   then interval '23 hours 59 minutes' else interval '24 hours' end";
    client.batch_execute(sql).await.unwrap();
}

#[tokio::test]
async fn keys_are_forgotten_after_a_day() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let body = draft("one");
    for key in ["old", "young"] {
        assert_eq!(post(&api, key, ARTICLES, &body).await.status, 201);
    }
    age(&database).await;
    for (key, replayed) in [("old", ""), ("young", "true"), ("old", "true")] {
        let again = post(&api, key, ARTICLES, &body).await;
        assert_eq!(again.status, 201);
        assert_eq!(again.header("idempotent-replayed"), replayed, "{key}");
    }
    assert_eq!((articles(&database).await, keys(&database).await), (3, 2));
    api.stop().await;

    // More than are deleted at once.
    let client = database.client().await;
    let many = "insert into lockstep.idempotency_keys (key, fingerprint, status, body, created_at)
                select n::text, sha256('x'), 201, '', now() - interval '25 hours'
                from generate_series(1, 1200) as n";
    client.batch_execute(many).await.unwrap();
    let api = Api::start(&database, &[]).await;
    wait::until("old keys are gone", async || match keys(&database).await {
        2 => Ok(()),
        left => Err(left),
    })
    .await;
    let young = post(&api, "young", ARTICLES, &body).await;
    assert_eq!(young.header("idempotent-replayed"), "true");
    api.stop().await;
}

#[tokio::test]
async fn a_step_takes_no_body() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    for step in ["publish", "archive"] {
        let path = format!("{ARTICLES}/{}/{step}", article["id"]);
        let refused = api.send("POST", &path, &json!({"at": "noon"})).await;
        refused.problem(400, "malformed");
        assert_eq!(api.send("POST", &path, &Value::Null).await.status, 200);
    }
    api.stop().await;
}
