//! What changes look like in the topics.

use serde_json::{Value, json};

use crate::captured::Pipeline;

/// The changes without what differs between runs: (op, before, after, unchanged).
fn told(changes: &[Value]) -> Vec<(String, Value, Value, Value)> {
    changes
        .iter()
        .map(|change| {
            (
                change["op"].as_str().unwrap().to_owned(),
                change["before"].clone(),
                change["after"].clone(),
                change["lockstep"]["unchanged"].clone(),
            )
        })
        .collect()
}

fn change(op: &str, before: Value, after: Value) -> (String, Value, Value, Value) {
    (op.to_owned(), before, after, json!([]))
}

#[tokio::test]
async fn rows_before_the_slot_are_read_and_rows_after_it_are_streamed() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key, name text); insert into t values (1, 'a')")
        .await;
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
    assert_eq!(changes[3]["transaction"]["total_order"], 1);
    assert_eq!(changes[4]["transaction"]["total_order"], 2);
    assert_eq!(changes[4]["source"]["table"], "t");
    running.stop().await;
}
