//! What the target refuses, through the real binary and under `kill -9`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::kafka::{self, Record};
use testkit::postgres::Connection;
use testkit::process::Process;
use testkit::{compare, wait};

use crate::pipeline::Pipeline;

/// Rows that the source gets in each of so many transactions.
const ROWS: i64 = 40;
const ROUNDS: i64 = 30;
/// The applier is killed after every so many of them.
const KILLS: i64 = 3;

struct Refused {
    pipeline: Pipeline,
    source: Connection,
    target: Connection,
    applier: Process,
    _cdc: Process,
}

impl Refused {
    /// A table on both sides, and what makes the target refuse some of it.
    async fn start(table: &str, refusing: &str, policy: &str) -> Self {
        let pipeline = Pipeline::new().await;
        let (source, target) = (
            pipeline.source.client().await,
            pipeline.target.client().await,
        );
        source.batch_execute(table).await.unwrap();
        let cdc = pipeline.cdc();
        let applier = pipeline.applier_with(&[policy]);
        pipeline.streaming().await;
        target.batch_execute(refusing).await.unwrap();
        Self {
            pipeline,
            source,
            target,
            applier,
            _cdc: cdc,
        }
    }

    /// Writes to the source while the applier is killed again and again. `more` is what a round does
    /// beside its rows; it may use $round.
    async fn load(&mut self, more: &str) {
        for round in 0..ROUNDS {
            let (first, last) = (round * ROWS + 1, (round + 1) * ROWS);
            let more = more.replace("$round", &round.to_string());
            let sql = format!(
                "insert into t select n, n, 'secret' || n from generate_series({first}, {last}) n; {more}"
            );
            self.source.batch_execute(&sql).await.unwrap();
            if round % KILLS == KILLS - 1 {
                self.applier.kill_9();
                self.applier.restart();
            }
        }
        let end = "select pg_current_wal_flush_lsn()::text";
        let end: String = self.source.query_one(end, &[]).await.unwrap().get(0);
        let wait = "select commit_lsn >= $1::text::pg_lsn - 1 from lockstep.progress";
        wait::until("the target has all of it", async || {
            match self.target.query_one(wait, &[&end]).await.unwrap().get(0) {
                true => Ok(()),
                false => Err("it has not"),
            }
        })
        .await;
    }

    async fn count(&self, query: &str) -> i64 {
        self.target.query_one(query, &[]).await.unwrap().get(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_letter_and_topic_the_topic_has_every_letter() {
    let refusing = "alter table t add constraint no_tenth check (v % 10 <> 0)";
    let table = "create table t (id int primary key, v int, w text)";
    let mut refused = Refused::start(table, refusing, "--conflicts=dead-letter").await;
    // A letter's key has one more each time, of a round that is over.
    refused
        .load("update t set w = 'more' where id = 10 + $round * 20")
        .await;
    let unpublished = "select count(*) from lockstep.dead_letters where published_at is null";
    wait::until("all letters are published", async || {
        match refused.count(unpublished).await {
            0 => Ok(()),
            some => Err(some),
        }
    })
    .await;
    let (kafka, name) = (kafka::bootstrap().await, refused.pipeline.name().to_owned());
    let read = move |topic: &str| kafka::records(kafka, &format!("{name}.{topic}"));
    let (letters, originals) =
        tokio::task::spawn_blocking(move || (read("dead-letters"), read("public.t")))
            .await
            .unwrap();
    let table = "select id::text, kafka_partition || ' ' || kafka_offset, commit_lsn || ' ' || ordinal, \
                 error_class, sqlstate from lockstep.dead_letters order by id";
    let rows = refused.target.query(table, &[]).await.unwrap();
    assert_eq!(
        rows.len(),
        usize::try_from(ROUNDS * ROWS / 10 + ROUNDS).unwrap()
    );
    let by_place: BTreeMap<String, &Record> = originals
        .iter()
        .map(|record| (format!("{} {}", record.partition, record.offset), record))
        .collect();
    let mut known = BTreeSet::new();
    for row in &rows {
        let id: &str = row.get(0);
        known.insert(id.to_owned());
        let mut of_it = letters.iter().filter(|it| it.headers["lockstep.id"] == id);
        let letter = of_it
            .next()
            .unwrap_or_else(|| panic!("letter {id} is not in the topic"));
        let header = |name: &str| letter.headers.get(name).map_or("", String::as_str);
        let place = format!(
            "{} {}",
            header("__connect.errors.partition"),
            header("__connect.errors.offset")
        );
        let position = format!(
            "{} {}",
            header("lockstep.commit_lsn"),
            header("lockstep.ordinal")
        );
        assert_eq!(
            (place.as_str(), position.as_str()),
            (row.get(1), row.get(2))
        );
        assert_eq!(header("lockstep.error_class"), row.get::<_, &str>(3));
        let sqlstate: Option<&str> = row.get(4);
        assert_eq!(header("lockstep.sqlstate"), sqlstate.unwrap_or_default());
        let original = by_place[&place];
        assert!(original.key.is_some() && original.value.is_some());
        assert_eq!(
            (&letter.key, &letter.value),
            (&original.key, &original.value)
        );
        // Both topics agree on a key's partition.
        assert_eq!(letter.partition, original.partition);
        // Whoever writes one again writes the same.
        assert!(of_it.all(|again| (&again.key, &again.value) == (&letter.key, &letter.value)));
    }
    assert!(
        letters
            .iter()
            .all(|it| known.contains(&it.headers["lockstep.id"]))
    );
    println!("{} letters, {} records", rows.len(), letters.len());

    let allow = "alter table t drop constraint no_tenth";
    refused.target.batch_execute(allow).await.unwrap();
    let redriven = refused
        .pipeline
        .run(&["dead-letters", "redrive", "--all", "--json"])
        .await
        .well();
    let redriven: Value = serde_json::from_str(&redriven).unwrap();
    assert_eq!(redriven["refused"], 0);
    let compared = compare::tables(&refused.source, &refused.target, &["public.t"]).await;
    compared.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_overwrites_the_target_ends_as_the_source() {
    let table = "create table t (id int primary key, v int unique, w text)";
    // Strangers in the way of every third row, and of nobody.
    let foreign = format!(
        "alter table t add unique (v); \
         insert into t select -n, n, 'stranger' from generate_series(1, {}, 3) n",
        ROUNDS * ROWS
    );
    let mut refused = Refused::start(table, &foreign, "--conflicts=overwrite").await;
    // Values wander between rows of the source: these do not push each other out.
    refused
        .load(
            "update t set v = -v where id = 1 + $round * 20; \
             update t set v = 1 + $round * 20, id = id + 100000 where id = 2 + $round * 20",
        )
        .await;
    let compared = compare::tables(&refused.source, &refused.target, &["public.t"]).await;
    compared.unwrap();
    let strangers = "select count(*) from lockstep.audit where action = 'overwrite rows'";
    let noted = refused.count(strangers).await;
    assert_eq!(noted, ROUNDS * ROWS / 3);
}
