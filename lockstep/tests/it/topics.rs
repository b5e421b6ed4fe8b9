//! `lockstep topics`: what stands in the topics, against what Postgres says.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;
use testkit::postgres::Connection;
use testkit::process::Process;
use testkit::{kafka, wait};

use crate::lossless::{MOOD, TYPES, VALUES, rows, tables};
use crate::pipeline::Pipeline;

/// Two tables with rows, one of which tells what was before.
const TABLES: &str = "
    create table t (id int primary key, a text, b int, long text);
    alter table t alter long set storage external;
    create table whole (id int primary key, a text, b int, long text);
    alter table whole alter long set storage external;
    alter table whole replica identity full";

struct Running {
    pipeline: Pipeline,
    source: Connection,
    services: Vec<Process>,
}

impl Running {
    async fn with(tables: &str) -> Self {
        let pipeline = Pipeline::new().await;
        let source = pipeline.source.client().await;
        source.batch_execute(tables).await.expect("create tables");
        let services = vec![pipeline.cdc(), pipeline.applier()];
        pipeline.streaming().await;
        Self {
            pipeline,
            source,
            services,
        }
    }

    async fn execute(&self, sql: &str) {
        self.source.batch_execute(sql).await.expect(sql);
    }

    async fn records(&self, more: &[&str]) -> Value {
        let mut arguments = vec!["topics", "records", "--json"];
        arguments.extend(more);
        let said = self.pipeline.run(&arguments).await.well();
        serde_json::from_str(&said).expect("JSON")
    }

    /// Waits until a table's topic has so many records that count.
    async fn counted(&self, table: &str, count: usize) -> Vec<Value> {
        wait::until("the records count", async || {
            let page = self.records(&[table, "--earliest", "--limit=100"]).await;
            let records = array(&page["records"]);
            let counting = records.iter().filter(|it| it["standing"] == "counts");
            match counting.count() {
                found if found == count => Ok(records),
                found => Err(format!("{found} of {count}: {page:#}")),
            }
        })
        .await
    }

    async fn text(&self, query: &str) -> String {
        self.source.query_one(query, &[]).await.expect(query).get(0)
    }
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_what_changed_and_what_was_not_sent() {
    let running = Running::with(TABLES).await;
    for table in ["t", "whole"] {
        running
            .execute(&format!(
                "insert into {table} values (1, 'x', null, repeat('l', 5000));
                 update {table} set a = 'y' where id = 1;
                 delete from {table} where id = 1"
            ))
            .await;
    }
    // The first is the truncation that a snapshot begins with.
    let told = running.counted("public.t", 4).await;
    let operations: Vec<&Value> = told.iter().map(|it| &it["operation"]).collect();
    assert_eq!(operations, ["truncate", "insert", "update", "delete"]);
    let (insert, update, delete) = (&told[1], &told[2], &told[3]);
    assert_eq!(insert["key"], "id=1");
    assert_eq!(insert["after"]["a"], "x");
    assert_eq!(insert["after"]["b"], Value::Null);
    assert!(
        insert["before"].is_null() && insert["xid"].is_u64(),
        "{insert}"
    );
    // Nothing tells what was before, so nothing is said about it.
    assert!(update["changed"].is_null(), "{update}");
    assert_eq!(update["unchanged"], serde_json::json!(["long"]));
    assert!(update["after"].get("long").is_none(), "{update}");
    assert_eq!(delete["before"], serde_json::json!({ "id": 1 }));

    let told = running.counted("public.whole", 4).await;
    let (update, delete) = (&told[2], &told[3]);
    assert_eq!(update["changed"], serde_json::json!(["a"]), "{update}");
    assert_eq!(update["before"]["a"], "x");
    assert_eq!(update["after"]["a"], "y");
    assert_eq!(delete["before"]["long"].as_str().map(str::len), Some(5000));
    let text = running
        .pipeline
        .run(&["topics", "records", "public.whole", "--earliest"])
        .await
        .well();
    assert!(text.contains("  * a: x -> y"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_at_an_lsn_begins_with_the_first_record_of_its_transaction() {
    let running = Running::with(TABLES).await;
    let mut transactions = Vec::new();
    for first in (0..600_i64).step_by(20) {
        let before = running
            .text("select pg_current_wal_insert_lsn()::text")
            .await;
        let last = first + 19;
        running
            .execute(&format!(
                "insert into t select i, 'x' from generate_series({first}, {last}) i"
            ))
            .await;
        transactions.push((first, before));
    }
    running.records_reach("public.t", 601).await;
    for (first, before) in transactions.iter().step_by(7) {
        let page = running
            .records(&["public.t", "--from-lsn", before, "--limit=20"])
            .await;
        let records = array(&page["records"]);
        assert_eq!(records[0]["ordinal"], 0, "{page:#}");
        let ids: BTreeSet<i64> = records
            .iter()
            .filter_map(|it| it["after"]["id"].as_i64())
            .collect();
        assert_eq!(ids, (*first..first + 20).collect(), "{page:#}");
        // By the LSN of its own commit, too.
        let lsn = records[0]["commit_lsn"].as_str().expect("an LSN");
        let again = running
            .records(&["public.t", "--from-lsn", lsn, "--limit=20"])
            .await;
        assert_eq!(again["records"], page["records"]);
        // In the commits topic, the record that covers it.
        let commits = format!("{}.commits", running.pipeline.name());
        let commits = running
            .records(&[&commits, "--from-lsn", lsn, "--limit=1"])
            .await;
        assert_eq!(
            commits["records"][0]["offset"], records[0]["commits_offset"],
            "{commits:#}"
        );
    }
    // Behind all there is nothing yet.
    let page = running
        .records(&["public.t", "--from-lsn", "FFFFFFFF/0"])
        .await;
    assert_eq!(array(&page["records"]).len(), 0);
    let time = running
        .text("select to_char(now() + interval '1 h', 'YYYY-MM-DD\"T\"HH24:MI:SSOF:00')")
        .await;
    let page = running.records(&["public.t", "--from-time", &time]).await;
    assert_eq!(array(&page["records"]).len(), 0);
}

impl Running {
    /// Waits until a topic holds so many records.
    async fn records_reach(&self, table: &str, count: i64) {
        let topic = format!("{}.{table}", self.pipeline.name());
        wait::until("the topic is filled", async || {
            let listed = self
                .pipeline
                .run(&["topics", "list", "--json"])
                .await
                .well();
            let listed: Value = serde_json::from_str(&listed).expect("JSON");
            let topics = array(&listed["topics"]);
            let found = topics.iter().find(|it| it["name"] == topic.as_str());
            match found {
                Some(found) if found["offsets"] == count && found["lag"] == 0 => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_in_either_direction_and_keys_are_found() {
    let running = Running::with(TABLES).await;
    running
        .execute("insert into t select i, 'x' from generate_series(1, 250) i")
        .await;
    running.records_reach("public.t", 251).await;
    let mut forwards = Vec::new();
    let mut place = vec!["--earliest".to_owned()];
    loop {
        let page = running.page(&place, "--limit=100").await;
        forwards.extend(places(&page));
        match page["newer"].as_str() {
            Some(newer) => place = vec!["--at".to_owned(), newer.to_owned()],
            None => break,
        }
    }
    assert_eq!(forwards.len(), 251);
    let mut backwards: Vec<(i64, i64)> = Vec::new();
    let mut place = Vec::new();
    loop {
        let page = running.page(&place, "--limit=70").await;
        backwards.splice(0..0, places(&page));
        match page["older"].as_str() {
            Some(older) => {
                let arguments = ["--backwards", "--at", older];
                place = arguments.map(str::to_owned).to_vec();
            }
            None => break,
        }
    }
    assert_eq!(backwards, forwards);
    for key in ["--key=137", "--key=id=137"] {
        let page = running
            .page(&["--earliest".to_owned(), key.to_owned()], "--limit=5")
            .await;
        let records = array(&page["records"]);
        assert_eq!(records.len(), 1, "{page:#}");
        assert_eq!(records[0]["after"]["id"], 137);
    }
    let none = running
        .pipeline
        .run(&["topics", "records", "public.none"])
        .await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("there is no topic"), "{none:?}");
}

impl Running {
    async fn page(&self, place: &[String], limit: &str) -> Value {
        let mut arguments = vec!["public.t", limit];
        arguments.extend(place.iter().map(String::as_str));
        self.records(&arguments).await
    }
}

fn places(page: &Value) -> Vec<(i64, i64)> {
    let number = |record: &Value, name: &str| record[name].as_i64().expect("a number");
    let records = array(&page["records"]);
    let places = records.iter();
    places
        .map(|it| (number(it, "partition"), number(it, "offset")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_commits_record_covers_is_said_not_to_count() {
    let mut running = Running::with(TABLES).await;
    running.execute("insert into t values (1, 'x')").await;
    let told = running.counted("public.t", 2).await;
    running.services[0].kill_9();
    // What a writer leaves behind that dies between its records and their commits record.
    plant(&running, &told[1]).await;
    running.services[0].restart();
    running.execute("insert into t values (2, 'x')").await;
    let told = running.counted("public.t", 3).await;
    let standings: Vec<&Value> = told.iter().map(|it| &it["standing"]).collect();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert_eq!(
        standings.iter().filter(|it| ***it == "orphan").count(),
        1,
        "{told:#?}"
    );
    let orphan = told.iter().find(|it| it["standing"] == "orphan");
    assert_eq!(orphan.expect("an orphan")["after"]["id"], 1);
    let text = running
        .pipeline
        .run(&["topics", "records", "public.t", "--earliest"])
        .await
        .well();
    assert_eq!(text.matches("DOES NOT COUNT").count(), 1, "{text}");
}

async fn plant(running: &Running, record: &Value) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka::bootstrap().await)
        .create()
        .expect("make a producer");
    let bytes = |name: &str| {
        let hex = record[name].as_str().expect("hexadecimal digits");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
        (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let topic = format!("{}.public.t", running.pipeline.name());
    let (key, value) = (bytes("key_hex"), bytes("value_hex"));
    let record = FutureRecord::to(&topic).key(&key).payload(&value);
    let sent = producer.send(record, Duration::from_secs(10)).await;
    sent.expect("plant a record");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_shown_as_postgres_prints_it() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    for sql in [MOOD, TYPES, &tables()] {
        source.batch_execute(sql).await.expect(sql);
    }
    let target = pipeline.target.client().await;
    target.batch_execute(TYPES).await.expect(TYPES);
    let services = vec![pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let running = Running {
        pipeline,
        source,
        services,
    };
    running.execute(&rows(0)).await;
    let count = VALUES.iter().map(|(_, values)| values.len()).sum::<usize>();
    running
        .records_reach("public.every_type", i64::try_from(count).expect("few") + 1)
        .await;
    let printed = printed(&running.source).await;
    let mut seen = 0;
    let mut as_images = BTreeSet::new();
    let mut place = vec!["--earliest".to_owned()];
    loop {
        let mut arguments = vec!["public.every_type", "--limit=100"];
        arguments.extend(place.iter().map(String::as_str));
        let page = running.records(&arguments).await;
        for record in array(&page["records"]) {
            assert_eq!(record["error"], Value::Null, "{record:#}");
            assert_eq!(record["standing"], "counts", "{record:#}");
            let Some(id) = record["after"]["id"].as_u64() else {
                continue;
            };
            seen += 1;
            let (column, expected) = &printed[usize::try_from(id).expect("few")];
            let column = format!("c{column}");
            if array(&record["images"]).contains(&Value::from(column.as_str())) {
                as_images.insert(column);
                continue;
            }
            assert_eq!(&shown(&record["after"][&column]), expected, "{record:#}");
        }
        match page["newer"].as_str() {
            Some(newer) => place = vec!["--at".to_owned(), newer.to_owned()],
            None => break,
        }
    }
    assert_eq!(seen, count);
    let name = |column: &String| {
        let number: usize = column[1..].parse().expect("a number");
        VALUES[number].0
    };
    let as_images: BTreeSet<&str> = as_images.iter().map(name).collect();
    // What only the source's catalog or settings can print.
    assert_eq!(
        as_images,
        BTreeSet::from(["floatspan", "money", "pair", "pair[]", "tsquery"])
    );
    assert_eq!(running.services.len(), 2);
}

/// The one value of each row, with its column's number.
async fn printed(source: &Connection) -> Vec<(usize, String)> {
    source
        .batch_execute(
            "set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC';
             set extra_float_digits = 1; set bytea_output = 'hex'",
        )
        .await
        .expect("settings");
    let mut printed = Vec::new();
    for (column, (_, values)) in VALUES.iter().enumerate() {
        for _ in *values {
            let id = i32::try_from(printed.len()).expect("few");
            let query = format!("select format('%s', c{column}) from every_type where id = $1");
            let row = source.query_one(&query, &[&id]).await.expect("a row");
            printed.push((column, row.get(0)));
        }
    }
    printed
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(true) => "t".to_owned(),
        Value::Bool(false) => "f".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_shown_and_apply_does_not_wait_for_them() {
    let running = Running::with(TABLES).await;
    running
        .execute(
            "insert into t values (1);
             select pg_logical_emit_message(true, 'audit', 'who: me');
             select pg_logical_emit_message(false, 'audit', '\\x00ff'::bytea)",
        )
        .await;
    let topic = format!("{}.messages", running.pipeline.name());
    let told = running.counted(&topic, 2).await;
    // The one that is of no transaction does not wait for the commit of the others.
    let (alone, of_transaction) = (&told[0], &told[1]);
    assert_eq!(of_transaction["operation"], "message");
    assert_eq!(of_transaction["key"], "prefix=audit");
    assert_eq!(of_transaction["after"]["content"], "who: me");
    assert!(of_transaction["xid"].is_u64(), "{of_transaction}");
    assert_eq!(alone["after"]["content"], "\\x00ff");
    assert!(alone["xid"].is_null(), "{alone}");
    let found = running
        .records(&[&topic, "--earliest", "--key=audit", "--limit=100"])
        .await;
    assert_eq!(array(&found["records"]).len(), 2, "{found:#}");
    running.records_reach("public.t", 2).await;
    let listed = running.pipeline.run(&["topics", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.well()).expect("JSON");
    let topics = array(&listed["topics"]);
    let messages = topics.iter().find(|it| it["name"] == topic.as_str());
    let messages = messages.expect("the topic is listed");
    assert_eq!(messages["kind"], "messages");
    assert!(messages["lag"].is_null(), "{messages}");
}
