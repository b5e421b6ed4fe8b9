//! Dead letters in their topic.

use std::collections::{BTreeMap, BTreeSet};

use applier::{Conflicts, Policy};
use testkit::kafka::{self, Record};
use testkit::wait;

use crate::rig::{Rig, Table, apply};

/// A table whose rows of id 3 and 7 the target refuses, and rows of it in the topic.
async fn refusing() -> (Rig, Table) {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key, v text)").await;
    rig.sql("insert into t select n, 'secret' || n from generate_series(1, 8) n")
        .await;
    let table = rig.table("t", 2).await;
    rig.config.conflicts = Conflicts {
        conflicts: Policy::DeadLetter,
        table_conflicts: Vec::new(),
    };
    let refusing = "create table t (id int primary key, v text, \
                    constraint neither check (id not in (3, 7)))";
    rig.target.batch_execute(refusing).await.unwrap();
    let all = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&all).await;
    rig.sql("update t set v = 'other' where id = 3").await;
    let update = table.update(rig.row("select * from t where id = 3").await);
    rig.capture.commit(&[update]).await;
    (rig, table)
}

async fn published(rig: &Rig, letters: i64) {
    let query = "select count(*) from lockstep.dead_letters where published_at is not null";
    wait::until("letters are published", async || {
        match rig.count(query).await {
            count if count == letters => Ok(()),
            count => Err(count),
        }
    })
    .await;
}

async fn topic(rig: &Rig) -> Vec<Record> {
    records(rig, rig.config.prefix.dead_letters()).await
}

/// Who was killed may have published some that the next one publishes again.
fn ids(letters: &[Record]) -> BTreeSet<&String> {
    letters
        .iter()
        .map(|it| &it.headers["lockstep.id"])
        .collect()
}

async fn records(rig: &Rig, topic: String) -> Vec<Record> {
    let bootstrap = rig.config.kafka.clone();
    let read = tokio::task::spawn_blocking(move || kafka::records(&bootstrap, &topic));
    read.await.unwrap()
}

/// What the table says of each letter, in the words of the headers.
async fn letters(rig: &Rig) -> BTreeMap<String, Vec<(&'static str, String)>> {
    const HEADERS: [&str; 14] = [
        "lockstep.id",
        "__connect.errors.topic",
        "__connect.errors.partition",
        "__connect.errors.offset",
        "__connect.errors.connector.name",
        "__connect.errors.exception.message",
        "lockstep.schema",
        "lockstep.table",
        "lockstep.op",
        "lockstep.commit_lsn",
        "lockstep.ordinal",
        "lockstep.error_class",
        "lockstep.attempts",
        "lockstep.sqlstate",
    ];
    let query = "select array[id::text, topic, kafka_partition::text, kafka_offset::text, pipeline, \
                 error, table_schema, table_name, op, commit_lsn::text, ordinal::text, error_class, \
                 attempts::text, sqlstate] from lockstep.dead_letters";
    let rows = rig.target.query(query, &[]).await.unwrap();
    let letter = |texts: Vec<Option<String>>| {
        let headers = HEADERS.into_iter().zip(texts);
        let headers: Vec<_> = headers
            .filter_map(|(name, text)| Some((name, text?)))
            .collect();
        (headers[0].1.clone(), headers)
    };
    rows.iter().map(|row| letter(row.get(0))).collect()
}

#[track_caller]
fn assert_says(record: &Record, headers: &[(&str, String)]) {
    for (name, text) in headers {
        assert_eq!(record.headers.get(*name), Some(text), "{name}");
    }
    let all = format!("{:?}", record.headers);
    assert!(!all.contains("secret"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_letter_is_in_the_topic_as_its_record_is() {
    let (rig, table) = refusing().await;
    let applier = rig.apply();
    rig.caught_up().await;
    published(&rig, 3).await;
    let letters = letters(&rig).await;
    let originals = records(&rig, table.topic.clone()).await;
    let found = topic(&rig).await;
    assert_eq!(found.len(), 3);
    for record in &found {
        let letter = &letters[&record.headers["lockstep.id"]];
        assert_says(record, letter);
        let is_original = |original: &&Record| {
            let place = [original.partition.into(), original.offset].map(|n: i64| n.to_string());
            let named = ["partition", "offset"].map(|it| format!("__connect.errors.{it}"));
            place
                .iter()
                .zip(named)
                .all(|(n, name)| record.headers[&name] == *n)
        };
        let original = originals.iter().find(is_original).unwrap();
        assert!(original.key.is_some() && original.value.is_some());
        assert_eq!(
            (&record.key, &record.value),
            (&original.key, &original.value)
        );
        assert_eq!(record.headers.get("lockstep.record"), None);
    }
    let constraints = found
        .iter()
        .filter_map(|it| it.headers.get("lockstep.constraint"));
    assert_eq!(constraints.collect::<Vec<_>>(), ["neither", "neither"]);
    // Of one key, in its order.
    let third = found.iter().filter(|it| it.key == twice(&originals));
    let ops: Vec<&str> = third.map(|it| it.headers["lockstep.op"].as_str()).collect();
    assert_eq!(ops, ["insert", "update"]);
    applier.stop().await;
}

/// The key that has two records.
fn twice(originals: &[Record]) -> Option<Vec<u8>> {
    let twice = |it: &&Record| originals.iter().filter(|other| other.key == it.key).count() == 2;
    originals.iter().find(twice).unwrap().key.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_wait_for_a_topic_that_is_away_and_apply_does_not() {
    let (mut rig, table) = refusing().await;
    rig.capture
        .delete_topic(&rig.config.prefix.dead_letters())
        .await;
    let applier = rig.apply();
    rig.caught_up().await;
    wait::until("the metric says how many wait", async || {
        match applier.known_metric("applier_dead_letters_unpublished") {
            Some(3.0) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // Who dies before it is published leaves it to the next one.
    applier.kill().await;
    rig.capture.create_dead_letters().await;
    let applier = apply(rig.config.clone());
    published(&rig, 3).await;
    assert_eq!(ids(&topic(&rig).await).len(), 3);
    wait::until("nothing waits", async || {
        match applier.known_metric("applier_dead_letters_unpublished") {
            Some(0.0) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // And it goes on with what comes then.
    rig.sql("update t set v = 'more' where id = 7").await;
    let update = table.update(rig.row("select * from t where id = 7").await);
    rig.capture.commit(&[update]).await;
    published(&rig, 4).await;
    assert_eq!(ids(&topic(&rig).await).len(), 4);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_before_a_letter_is_marked_writes_it_again_with_its_id() {
    let (rig, _) = refusing().await;
    let applier = rig.apply();
    rig.caught_up().await;
    published(&rig, 3).await;
    applier.kill().await;
    // As a kill between acknowledgement and mark leaves it.
    let unmarked = "update lockstep.dead_letters set published_at = null \
                    where id = (select min(id) from lockstep.dead_letters) returning id::text";
    let id: String = rig.target.query_one(unmarked, &[]).await.unwrap().get(0);
    let applier = apply(rig.config.clone());
    published(&rig, 3).await;
    let found = topic(&rig).await;
    let same: Vec<_> = found
        .iter()
        .filter(|it| it.headers["lockstep.id"] == id)
        .collect();
    assert_eq!((found.len(), same.len()), (4, 2));
    assert_eq!(
        (&same[0].headers, &same[0].value),
        (&same[1].headers, &same[1].value)
    );
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_record_is_gone_says_so() {
    let (rig, table) = refusing().await;
    let applier = rig.apply();
    rig.caught_up().await;
    published(&rig, 3).await;
    // Its successor has not read them before.
    applier.stop().await;
    rig.capture.delete_topic(&table.topic).await;
    let unmarked = "update lockstep.dead_letters set published_at = null";
    rig.target.batch_execute(unmarked).await.unwrap();
    let applier = apply(rig.config.clone());
    published(&rig, 3).await;
    let letters = letters(&rig).await;
    let found = topic(&rig).await;
    let (again, first): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|it| it.headers.contains_key("lockstep.record"));
    assert_eq!((ids(&again).len(), again.len(), first.len()), (3, 3, 3));
    for record in again {
        assert_says(&record, &letters[&record.headers["lockstep.id"]]);
        assert_eq!(record.headers["lockstep.record"], "gone");
        assert_eq!((record.key, record.value), (None, None));
    }
    applier.stop().await;
}
