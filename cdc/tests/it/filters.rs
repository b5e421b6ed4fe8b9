//! Rows and columns that a publication leaves out.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::postgres::Connection;
use testkit::wait;

use crate::captured::Pipeline;
use crate::outcome::{compare, records};

const TABLE: &str = "
    create table t (id bigint primary key, n int not null default 0, body text, secret text);
    alter table t alter body set storage external;
    insert into t select n, n % 3 - 1, null, 'secret' from generate_series(1, 3000) n";

async fn publish(pipeline: &Pipeline, what: &str) {
    let name = &pipeline.name;
    let publication = format!("create publication {name} for table t {what}");
    pipeline.execute(&publication).await;
}

async fn changes(pipeline: &Pipeline) -> Vec<Value> {
    pipeline.changes("t", records(pipeline, "t").await).await
}

async fn read_once_more(pipeline: &Pipeline, client: &Connection) {
    let ask = "insert into lockstep.snapshots (slot, table_schema, table_name, requested_by) \
               values ($1, 'public', 't', 'a test')";
    client.execute(ask, &[&pipeline.name]).await.unwrap();
    wait::until("the table is read once more", async || {
        let sql = "select count(*) from lockstep.snapshots where state <> 'done'";
        match client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) {
            0 => Ok(()),
            open => Err(open),
        }
    })
    .await;
}

async fn compare_with(pipeline: &Pipeline, client: &Connection, filter: &str) {
    let sql = format!("select id, n, length(body) from t where {filter}");
    let rows = client.query(&sql, &[]).await.unwrap();
    let rows = rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))));
    let expected: BTreeMap<i64, (i32, Option<i32>)> = rows.collect();
    compare(&changes(pipeline).await, &expected);
}

#[tokio::test]
async fn what_a_publication_leaves_out_is_in_no_snapshot() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLE).await;
    publish(&pipeline, "(id, n, body) where (id > 1000)").await;
    let client = pipeline.database.client().await;
    let running = pipeline.start();
    pipeline.changes("t", 1 + 2_000).await;
    read_once_more(&pipeline, &client).await;
    let changes = pipeline.changes("t", 1 + 2 * 2_000).await;
    running.stop().await;
    for change in changes.iter().filter(|change| change["op"] == "r") {
        assert!(change["after"]["id"].as_i64() > Some(1_000), "{change}");
        assert!(change["after"].get("secret").is_none(), "{change}");
    }
    compare_with(&pipeline, &client, "id > 1000").await;
}

/// Postgres sends such an update as an insert or a delete.
#[tokio::test]
async fn rows_move_into_a_filter_and_out_of_it() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLE).await;
    pipeline
        .execute("alter table t replica identity full")
        .await;
    publish(&pipeline, "where (n > 0)").await;
    let client = pipeline.database.client().await;
    let running = pipeline.start();
    pipeline.changes("t", 1 + 1_000).await;
    pipeline
        .execute_each(
            "update t set body = repeat('x', 3000) where id <= 30;
             update t set n = 5 where id = 3; update t set n = -5 where id = 2;
             update t set n = 6 where id = 2; update t set n = n + 1 where id > 2990;
             delete from t where id = 5",
        )
        .await;
    read_once_more(&pipeline, &client).await;
    running.stop().await;
    compare_with(&pipeline, &client, "n > 0").await;
}

/// The log has no large value that was not touched, not even where the row is new to the publication.
#[tokio::test]
async fn a_large_value_that_moves_into_a_filter_is_read() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(TABLE).await;
    publish(&pipeline, "where (id > 1000)").await;
    pipeline
        .execute("update t set body = repeat('x', 3000) where id <= 3")
        .await;
    let client = pipeline.database.client().await;
    let running = pipeline.start();
    pipeline.changes("t", 1 + 2_000).await;
    pipeline
        .execute("update t set id = id + 10000 where id <= 3")
        .await;
    wait::until("the table is read once more", async || {
        let sql = "select count(*) from lockstep.snapshots where state = 'done'";
        match client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) {
            0 => Err("not yet"),
            _ => Ok(()),
        }
    })
    .await;
    running.stop().await;
    compare_with(&pipeline, &client, "id > 1000").await;
}
