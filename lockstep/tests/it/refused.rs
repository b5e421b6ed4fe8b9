//! What the target refuses, through the real binary and under `kill -9`.

use std::collections::BTreeSet;

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
        let made = source.batch_execute(table).await;
        made.expect("make the table");
        let cdc = pipeline.cdc();
        let applier = pipeline.applier_with(&[policy]);
        pipeline.streaming().await;
        let refuses = target.batch_execute(refusing).await;
        refuses.expect("have the target refuse some of it");
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
            let written = self.source.batch_execute(&sql).await;
            written.expect("write to the source");
            if round % KILLS == KILLS - 1 {
                self.applier.kill_9();
                self.applier.restart();
            }
        }
        let end = "select pg_current_wal_flush_lsn()::text";
        let end = self.source.query_one(end, &[]).await;
        let end: String = end.expect("ask for the end of the log").get(0);
        let wait = "select commit_lsn >= $1::text::pg_lsn - 1 from lockstep.progress";
        wait::until("the target has all of it", async || {
            let row = self.target.query_one(wait, &[&end]).await;
            match row.expect("ask for the progress").get(0) {
                true => Ok(()),
                false => Err("it has not"),
            }
        })
        .await;
    }

    async fn count(&self, query: &str) -> i64 {
        let row = self.target.query_one(query, &[]).await;
        row.expect("count").get(0)
    }

    /// Waits until no letter is missing in the topic.
    async fn published(&self) -> Published {
        let unpublished = "select count(*) from lockstep.dead_letters where published_at is null";
        wait::until("all letters are published", async || {
            match self.count(unpublished).await {
                0 => Ok(()),
                some => Err(some),
            }
        })
        .await;
        let (kafka, name) = (kafka::bootstrap().await, self.pipeline.name().to_owned());
        let read = move |topic: &str| kafka::records(kafka, &format!("{name}.{topic}"));
        let read = tokio::task::spawn_blocking(move || Published {
            letters: read("dead-letters"),
            originals: read("public.t"),
        });
        read.await.expect("read the topics")
    }
}

/// What stands in the topic of dead letters, and in that of the table.
struct Published {
    letters: Vec<Record>,
    originals: Vec<Record>,
}

impl Published {
    /// The only record of a letter, or any of those that are the same.
    fn letter(&self, id: &str) -> &Record {
        let mut of_it = self
            .letters
            .iter()
            .filter(|it| it.headers["lockstep.id"] == id);
        let letter = of_it.next().expect("every letter is in the topic");
        assert!(of_it.all(|again| (&again.key, &again.value) == (&letter.key, &letter.value)));
        letter
    }

    fn original(&self, place: &str) -> &Record {
        let mut originals = self.originals.iter();
        let at = originals.find(|it| format!("{} {}", it.partition, it.offset) == place);
        at.expect("the table's topic has the record")
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
    let published = refused.published().await;
    let table = "select id::text, kafka_partition || ' ' || kafka_offset, \
                 commit_lsn || ' ' || ordinal, error_class, coalesce(sqlstate, '') \
                 from lockstep.dead_letters order by id";
    let rows = refused.target.query(table, &[]).await.unwrap();
    let expected = ROUNDS * ROWS / 10 + ROUNDS;
    assert_eq!(rows.len(), usize::try_from(expected).unwrap());
    for row in &rows {
        let [id, place, position, class, sqlstate] = [0, 1, 2, 3, 4].map(|at| row.get(at));
        let letter = published.letter(id);
        let header = |name: &str| letter.headers.get(name).map_or("", String::as_str);
        let both = |first, second| format!("{} {}", header(first), header(second));
        let partition = "__connect.errors.partition";
        assert_eq!(both(partition, "__connect.errors.offset"), place);
        assert_eq!(both("lockstep.commit_lsn", "lockstep.ordinal"), position);
        assert_eq!(header("lockstep.error_class"), class);
        assert_eq!(header("lockstep.sqlstate"), sqlstate);
        let original = published.original(place);
        assert!(original.key.is_some() && original.value.is_some());
        assert_eq!(
            (&letter.key, &letter.value),
            (&original.key, &original.value)
        );
        // Both topics agree on a key's partition.
        assert_eq!(letter.partition, original.partition);
    }
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.get(0)).collect();
    let mut letters = published.letters.iter();
    assert!(letters.all(|it| ids.contains(it.headers["lockstep.id"].as_str())));

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
