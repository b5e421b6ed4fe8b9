//! What `pg_logical_emit_message` writes, read by another implementation of Avro.

use std::time::Duration;

use serde_json::Value;

use crate::captured::{KILLS, Pipeline, STREAMED_EARLY};

/// Prefix and content, of what is text.
fn told(message: &Value) -> (String, String) {
    assert_eq!(message["op"], "m", "{message}");
    let message = &message["message"];
    let bytes = message["content"].as_array().unwrap().iter();
    let bytes = bytes.map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap());
    let content = String::from_utf8(bytes.collect()).unwrap();
    (message["prefix"].as_str().unwrap().to_owned(), content)
}

fn contents(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| told(message).1).collect()
}

fn lsn(change: &Value) -> i64 {
    change["lockstep"]["commit_lsn"].as_i64().unwrap()
}

#[tokio::test]
async fn messages_stand_at_their_places() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key)")
        .await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let sql = "begin; insert into t values (1);
        select pg_logical_emit_message(true, 'audit', 'in'); insert into t values (2);
        select pg_logical_emit_message(true, 'audit', 'again'); commit;
        begin; insert into t values (3); select pg_logical_emit_message(false, 'audit', 'alone');
        select pg_logical_emit_message(true, 'audit', 'never'); rollback;
        begin; savepoint s; select pg_logical_emit_message(true, 'audit', 'undone'); rollback to s;
        insert into t values (4); commit;
        select pg_logical_emit_message(true, 'lockstep.ours', 'own');
        select pg_logical_emit_message(false, 'lockstep.ours', 'own');
        select pg_logical_emit_message(true, 'other', '')";
    pipeline.execute_each(sql).await;
    let messages = pipeline.counted("messages", 4).await;
    let expected = [
        ("audit", "in"),
        ("audit", "again"),
        ("audit", "alone"),
        ("other", ""),
    ];
    let expected = expected.map(|(prefix, content)| (prefix.to_owned(), content.to_owned()));
    assert_eq!(messages.iter().map(told).collect::<Vec<_>>(), expected);

    let rows = pipeline.changes("t", 1 + 3).await;
    let place = |change: &Value| (lsn(change), change["lockstep"]["ordinal"].as_i64().unwrap());
    let first = [&rows[1], &messages[0], &rows[2], &messages[1]];
    let lsns: Vec<(i64, i64)> = first.iter().map(|change| place(change)).collect();
    assert_eq!(lsns, [0, 1, 2, 3].map(|ordinal| (lsn(&rows[1]), ordinal)));
    assert_eq!(messages[1]["transaction"]["total_order"], 4);
    assert_eq!(messages[1]["transaction"]["data_collection_order"], 2);
    assert_eq!(messages[0]["source"]["txId"], rows[1]["source"]["txId"]);
    assert_eq!(messages[0]["source"]["table"], "");
    let alone = &messages[2];
    assert!(
        alone["transaction"].is_null() && alone["source"]["txId"].is_null(),
        "{alone}"
    );
    assert!(
        lsn(&rows[2]) < lsn(alone) && lsn(alone) < lsn(&rows[3]),
        "{alone}"
    );
    let commits = pipeline.commits().await;
    let mut transactions = commits.iter().flat_map(|commit| &commit.transactions);
    let own = transactions.find(|it| i64::try_from(it.commit_lsn.as_u64()) == Ok(lsn(alone)));
    assert_eq!(own.map(|it| (it.xid, it.changes)), Some((0, 1)));
    running.stop().await;
}

#[tokio::test]
async fn a_message_of_a_transaction_that_streams_comes_with_its_commit() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(STREAMED_EARLY).await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let rows = "insert into t select n, repeat('x', 100) from generate_series(1, 3000) n";
    let sql = format!(
        "begin; select pg_logical_emit_message(true, 'p', 'first'); {rows};
         select pg_logical_emit_message(false, 'p', 'alone'); commit;
         begin; {rows} on conflict do nothing;
         select pg_logical_emit_message(true, 'p', 'never'); update t set pad = ''; rollback"
    );
    pipeline.execute_each(&sql).await;
    let messages = pipeline.counted("messages", 2).await;
    assert_eq!(contents(&messages), ["alone", "first"]);
    running.stop().await;
}

/// Killed at random moments: each message is covered once, in the order of the log.
#[tokio::test]
async fn killed_at_any_moment_each_message_counts_once() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("create table t (id int primary key)")
        .await;
    let mut running = pipeline.start();
    pipeline.changes("t", 1).await;
    let client = pipeline.database.client().await;
    let mut written = 0;
    for (writes, millis) in KILLS {
        for _ in 0..writes {
            let emit = format!(
                "select pg_logical_emit_message(false, 'p', '{written}');
                 begin; insert into t values ({written});
                 select pg_logical_emit_message(true, 'p', '{}'); commit",
                written + 1
            );
            client.batch_execute(&emit).await.unwrap();
            written += 2;
        }
        tokio::time::sleep(Duration::from_millis(millis)).await;
        running.kill().await;
        running = pipeline.start();
    }
    let messages = pipeline.counted("messages", written).await;
    let expected: Vec<String> = (0..written).map(|number| number.to_string()).collect();
    assert_eq!(contents(&messages), expected);
    running.stop().await;
}

/// pgoutput names the transaction around it, and sends it before it is rolled back.
#[tokio::test]
async fn a_schema_change_goes_with_its_subtransaction() {
    let pipeline = Pipeline::new().await;
    pipeline.execute(STREAMED_EARLY).await;
    let running = pipeline.start();
    pipeline.changes("t", 1).await;
    let rows = |first: i32| {
        format!("insert into t select n, 'x' from generate_series({first}, {first} + 2999) n")
    };
    let tell = |schema: &str, id: i32| {
        format!(
            "insert into t values ({id}, '');
             select pg_logical_emit_message(true, 'lockstep.ddl', json_build_object(
                 'tag', 'CREATE SCHEMA', 'xid', xmin::text::int8,
                 'after', json_build_object('object', 'schema', 'name', '{schema}'))::text)
               from t where id = {id}"
        )
    };
    let sql = [
        format!("begin; {}; savepoint a; {}", rows(1), tell("never", -1)),
        format!("{}; rollback to a; savepoint b", rows(10_001)),
        format!("{}; release b; {}; commit", tell("kept", -2), rows(20_001)),
    ];
    pipeline.execute_each(&sql.join(";")).await;
    pipeline.changes("t", 1 + 3_000 + 1 + 3_000).await;
    let told = pipeline.counted("schema-changes", 1).await;
    assert_eq!(told[0]["tag"], "CREATE SCHEMA");
    let after = told[0]["after"].to_string();
    assert!(after.contains("kept"), "{after}");
    running.stop().await;
}
