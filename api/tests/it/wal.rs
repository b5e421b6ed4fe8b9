//! What changes nothing writes nothing: replication would carry it, and disks would fill with it.

use reqwest::header;
use serde_json::{Value, json};
use testkit::postgres::{Connection, database};

use crate::fixture::{Api, draft};

/// Where the log ends.
async fn end(client: &Connection) -> String {
    let sql = "select pg_current_wal_insert_lsn()::text";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The records since then that touch a block of this database, as `resource manager: record`.
async fn written(client: &Connection, since: &str) -> Vec<String> {
    // A commit takes all before it to the disk, where it can be read.
    let flush = "select pg_logical_emit_message(true, 'flush', '')";
    client.query_one(flush, &[]).await.unwrap();
    let sql = "select resource_manager || ': ' || record_type
                 from pg_get_wal_records_info($1::text::pg_lsn, pg_current_wal_flush_lsn())
                where block_ref like '%/' || (select oid from pg_database
                                               where datname = current_database()) || '/%'";
    let rows = client.query(sql, &[&since]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing_to_the_log() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let client = database.client().await;
    client
        .batch_execute("create extension pg_walinspect")
        .await
        .unwrap();
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);
    let publish = format!("{path}/publish");
    api.send("POST", &publish, &Value::Null).await;
    let change = json!({"title": "two"});
    let changed = api.send("PATCH", &path, &change).await;
    let etag = changed.header("etag").to_owned();
    // All pages are as they will be, those of the catalog too: pruned, hinted, and written since the
    // last checkpoint.
    for statement in ["vacuum", "checkpoint", "select * from articles"] {
        client.batch_execute(statement).await.unwrap();
    }
    let quiet = async || {
        let known = api
            .request("GET", &path)
            .header(header::IF_NONE_MATCH, &etag);
        assert_eq!(known.send().await.unwrap().status(), 304);
        let stale = api
            .send_if("\"v1\"", "PATCH", &path, &json!({"title": "x"}))
            .await;
        assert_eq!(stale.status, 412);
        let stale = api.send_if("\"v1\"", "DELETE", &path, &Value::Null).await;
        assert_eq!(stale.status, 412);
        let same = api.send("PATCH", &path, &change).await;
        assert_eq!((same.status, same.header("etag")), (200, etag.as_str()));
        let empty = api.send("PATCH", &path, &json!({})).await;
        assert_eq!((empty.status, empty.header("etag")), (200, etag.as_str()));
        let again = api.send("POST", &publish, &Value::Null).await;
        assert_eq!((again.status, again.header("etag")), (200, etag.as_str()));
        assert_eq!(
            api.send("POST", "/api/v1/articles", &json!({}))
                .await
                .status,
            422
        );
        assert_eq!(api.get("/api/v1/articles").await.status, 200);
        assert_eq!(
            api.request("HEAD", &path).send().await.unwrap().status(),
            200
        );
    };
    quiet().await;
    let before = end(&client).await;
    for _ in 0..10 {
        quiet().await;
    }
    assert_eq!(written(&client, &before).await, [""; 0]);

    // And a change would show.
    let before = end(&client).await;
    let changed = api.send("PATCH", &path, &json!({"title": "three"})).await;
    assert_eq!(changed.status, 200);
    let records = written(&client, &before).await;
    let updates = ["Heap: HOT_UPDATE", "Heap: UPDATE"];
    let updates = records.iter().filter(|it| updates.contains(&it.as_str()));
    assert_eq!(updates.count(), 1, "{records:?}");
    api.stop().await;
}
