//! What changes look like in the topics, read by another implementation of Avro.

use serde_json::{Value, json};

use crate::captured::{Pipeline, STREAMED_EARLY};

/// A change without what differs between runs: (op, before, after, unchanged).
type Told = (String, Value, Value, Value);

fn told(changes: &[Value]) -> Vec<Told> {
    let tell = |change: &Value| {
        (
            change["op"].as_str().unwrap().to_owned(),
            change["before"].clone(),
            change["after"].clone(),
            change["lockstep"]["unchanged"].clone(),
        )
    };
    changes.iter().map(tell).collect()
}

fn change(op: &str, before: Value, after: Value) -> Told {
    (op.to_owned(), before, after, json!([]))
}

/// Makes the table before capture begins, runs `sql` after, and compares what comes then.
async fn check(table: &str, sql: &str, expected: &[Told]) -> Vec<Value> {
    let pipeline = Pipeline::new().await;
    pipeline.execute(table).await;
    let running = pipeline.start();
    let snapshot = pipeline.changes("t", 1).await;
    assert_eq!(told(&snapshot), [change("t", Value::Null, Value::Null)]);
    pipeline.execute_each(sql).await;
    let changes = pipeline.changes("t", 1 + expected.len()).await;
    assert_eq!(told(&changes[1..]), expected);
    running.stop().await;
    changes
}

/// A value that is stored out of line: random, so that compression does not keep it in the row.
const LARGE: &str = "(select string_agg(md5(n::text), '') from generate_series(1, 200) n)";

#[tokio::test]
async fn rows_before_the_slot_are_read_and_rows_after_it_are_streamed() {
    let pipeline = Pipeline::new().await;
    let table = "create table t (id int primary key, name text); insert into t values (1, 'a')";
    pipeline.execute(table).await;
    let running = pipeline.start();
    pipeline.changes("t", 2).await;
    pipeline.execute("insert into t values (2, null)").await;
    pipeline
        .execute("update t set name = 'b' where id = 2; delete from t where id = 1")
        .await;
    let changes = pipeline.changes("t", 5).await;
    let row = |id: i32, name: Value| json!({"id": id, "name": name});
    let expected = [
        change("t", Value::Null, Value::Null),
        change("r", Value::Null, row(1, json!("a"))),
        change("c", Value::Null, row(2, Value::Null)),
        change("u", Value::Null, row(2, json!("b"))),
        change("d", row(1, Value::Null), Value::Null),
    ];
    assert_eq!(told(&changes), expected);
    assert_eq!(changes[1]["source"]["snapshot"], "true");
    assert_eq!(changes[3]["transaction"]["total_order"], 1);
    assert_eq!(changes[4]["transaction"]["total_order"], 2);
    assert_eq!(changes[4]["transaction"]["data_collection_order"], 2);
    assert_eq!(changes[4]["source"]["table"], "t");
    running.stop().await;
}

#[tokio::test]
async fn a_key_change_is_a_delete_and_a_create() {
    let row = |id: i32| json!({"id": id, "a": 7});
    let expected = [
        change("c", Value::Null, row(1)),
        change("d", json!({"id": 1, "a": null}), Value::Null),
        change("c", Value::Null, row(2)),
    ];
    let table = "create table t (id int primary key, a int)";
    check(
        table,
        "insert into t values (1, 7); update t set id = 2",
        &expected,
    )
    .await;
}

#[tokio::test]
async fn an_untouched_toast_value_is_unchanged_not_null() {
    let table = "create table t (id int primary key, a int, big text);
                 alter table t alter big set storage external";
    let sql = format!("insert into t values (1, 1, {LARGE}); update t set a = 2");
    let pipeline = Pipeline::new().await;
    pipeline.execute(table).await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    pipeline.execute(&sql).await;
    let changes = pipeline.changes("t", 3).await;
    assert_eq!(changes[1]["after"]["big"].as_str().unwrap().len(), 6_400);
    assert_eq!(changes[2]["after"], json!({"id": 1, "a": 2, "big": null}));
    assert_eq!(changes[2]["lockstep"]["unchanged"], json!(["big"]));

    // Only the row under the old key still has the value: it moves, then the old key is gone.
    pipeline.execute("update t set id = 9").await;
    let changes = pipeline.changes("t", 5).await;
    assert_eq!(changes[3]["op"], "u");
    assert_eq!(changes[3]["before"]["id"], 1);
    assert_eq!(changes[3]["after"], json!({"id": 9, "a": 2, "big": null}));
    assert_eq!(changes[3]["lockstep"]["unchanged"], json!(["big"]));
    assert_eq!(changes[4]["op"], "d");
    assert_eq!(changes[4]["before"]["id"], 1);

    // With the whole old row in the log nothing is left out.
    pipeline
        .execute("alter table t replica identity full; update t set a = 3")
        .await;
    let changes = pipeline.changes("t", 6).await;
    assert_eq!(changes[5]["before"]["a"], 2);
    assert_eq!(changes[5]["after"]["big"].as_str().unwrap().len(), 6_400);
    assert_eq!(changes[5]["lockstep"]["unchanged"], json!([]));
    running.stop().await;
}

#[tokio::test]
async fn without_a_key_an_update_is_a_delete_and_a_create_of_whole_rows() {
    let row = |a: i32| json!({"a": a, "b": null});
    let expected = [
        change("c", Value::Null, row(1)),
        change("c", Value::Null, row(1)),
        change("d", row(1), Value::Null),
        change("c", Value::Null, row(2)),
        change("d", row(2), Value::Null),
    ];
    let table = "create table t (a int, b text); alter table t replica identity full";
    let sql = "insert into t values (1), (1);
               update t set a = 2 where ctid = '(0,1)'; delete from t where a = 2";
    check(table, sql, &expected).await;
}

#[tokio::test]
async fn what_is_rolled_back_never_comes() {
    let expected = [
        change("c", Value::Null, json!({"id": 2})),
        change("c", Value::Null, json!({"id": 4})),
    ];
    let sql = "begin; insert into t values (1); rollback;
               begin; insert into t values (2); savepoint s; insert into t values (3);
               rollback to s; insert into t values (4); commit";
    check("create table t (id int primary key)", sql, &expected).await;
}

#[tokio::test]
async fn a_truncation_keeps_its_place_among_the_rows() {
    let row = |id: i32| json!({"id": id});
    let expected = [
        change("c", Value::Null, row(1)),
        change("t", Value::Null, Value::Null),
        change("c", Value::Null, row(2)),
    ];
    let sql = "begin; insert into t values (1); truncate t; insert into t values (2); commit";
    check("create table t (id int primary key)", sql, &expected).await;
}

#[tokio::test]
async fn what_a_field_cannot_hold_travels_as_its_image() {
    let pipeline = Pipeline::new().await;
    let table = "create table t (id int primary key, n numeric(8,2), w timestamptz, a int[])";
    pipeline.execute(table).await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let sql =
        "insert into t values (1, 'NaN', '-infinity', '{{1,2},{3,4}}'), (2, 1.5, 'epoch', '{5}')";
    pipeline.execute(sql).await;
    let changes = pipeline.changes("t", 3).await;
    assert_eq!(
        changes[1]["after"],
        json!({"id": 1, "n": null, "w": null, "a": null})
    );
    let exact = changes[1]["lockstep"]["exact"].as_object().unwrap();
    let images = "select numeric_send('NaN'), timestamptz_send('-infinity'), array_send('{{1,2},{3,4}}'::int[])";
    let oracle = pipeline
        .database
        .client()
        .await
        .query_one(images, &[])
        .await
        .unwrap();
    for (place, column) in ["n", "w", "a"].into_iter().enumerate() {
        let image: Vec<u8> = oracle.get(place);
        assert_eq!(exact[column], json!(image), "{column}");
    }
    assert_eq!(changes[2]["after"]["w"], 0);
    assert_eq!(changes[2]["after"]["a"], json!([5]));
    assert_eq!(changes[2]["lockstep"]["exact"], json!({}));
    running.stop().await;
}

#[tokio::test]
async fn one_key_stays_in_one_partition_and_time_is_commit_time() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key, a int)")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    pipeline
        .execute("insert into t select n, 0 from generate_series(1, 40) n")
        .await;
    pipeline.execute("update t set a = 1").await;
    pipeline.changes("t", 81).await;
    let mut partitions = std::collections::HashMap::new();
    for record in pipeline.read(&format!("{}.public.t", pipeline.name)).await {
        let Some(key) = record.key else { continue };
        let first = *partitions.entry(key).or_insert(record.partition);
        assert_eq!(first, record.partition);
    }
    assert_eq!(partitions.len(), 40);
    let spread: std::collections::HashSet<_> = partitions.values().collect();
    assert_eq!(spread.len(), 4);
    let commits = pipeline.commits().await;
    let last = commits.last().unwrap();
    let newest = pipeline.read(&format!("{}.public.t", pipeline.name)).await;
    let newest = newest
        .iter()
        .map(|record| record.timestamp_ms)
        .max()
        .unwrap();
    assert!(
        newest <= last.commit_time.div_euclid(1000),
        "{newest} > {}",
        last.commit_time
    );
    running.stop().await;
}

#[tokio::test]
async fn a_transaction_that_streams_before_it_commits_comes_whole_and_once() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(STREAMED_EARLY).await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let sql = "begin;
        insert into t select n, repeat('x', 100) from generate_series(1, 3000) n;
        savepoint s; insert into t select n, repeat('y', 100) from generate_series(3001, 6000) n;
        rollback to s; insert into t values (0, 'last'); commit;
        begin; insert into t select n, repeat('z', 100) from generate_series(7001, 9000) n; rollback;
        insert into t values (-1, 'after')";
    pipeline.execute_each(sql).await;
    let changes = pipeline.changes("t", 1 + 3_001 + 1).await;
    let ids: Vec<i64> = changes[1..]
        .iter()
        .map(|c| c["after"]["id"].as_i64().unwrap())
        .collect();
    let expected: Vec<i64> = (1..=3000).chain([0, -1]).collect();
    assert_eq!(ids, expected);
    running.stop().await;
}
