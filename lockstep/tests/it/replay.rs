//! `lockstep replay`: copies of a moment, rows put in place under load, and what a dry run says.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cdc::source::{Session, SlotLife};
use change::Lsn;
use futures_util::StreamExt;
use serde_json::Value;
use testkit::postgres::Connection;
use testkit::random::Random;
use testkit::{compare, wait};

use crate::pipeline::Pipeline;

const TABLES: &str = r#"
    create sequence version;
    create table kv (id int primary key, version bigint not null, v text, large text);
    alter table kv alter large set storage external;
    create table log (at bigint, what text);
    alter table log replica identity full;
    create schema "Shop";
    create table "Shop"."Orders" (region text, number int, amount numeric, tags text[],
                                  primary key (number, region));
    insert into kv select i, nextval('version'), 'v' || i, repeat(md5(i::text), 100)
      from generate_series(1, 500) i;
    insert into log select i, 'start' from generate_series(1, 100) i;
    insert into "Shop"."Orders" select 'r' || i % 3, i, i / 7.0, array['a', null, 'b' || i]
      from generate_series(1, 300) i"#;

/// What is compared, on the source and in a copy.
const COPIES: [(&str, &str); 3] = [
    ("public.kv", "kv"),
    ("public.log", "log"),
    (r#""Shop"."Orders""#, r#""Shop.Orders""#),
];

/// Where a source stood, and its rows then.
struct Moment {
    to: Lsn,
    rows: Vec<Vec<u8>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_source_as_it_stood_at_five_moments_under_load() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.unwrap();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let load = Load::default();
    let checks = async {
        let mut moments = Vec::new();
        for number in 0..5 {
            load.passed(40).await;
            moments.push(moment(&pipeline, number).await);
        }
        for (number, moment) in moments.iter().enumerate() {
            let schema = format!("as of {number}");
            applied(&pipeline, moment.to).await;
            copy(&pipeline, &schema, moment.to).await;
            let target = pipeline.target.client().await;
            for ((_, name), expected) in COPIES.iter().zip(&moment.rows) {
                let found = rows(&target, &format!("\"{schema}\".{name}")).await;
                assert!(found == *expected, "{name} at {}", moment.to);
            }
        }
        load.stop();
    };
    tokio::join!(load.run(&pipeline, 1), checks);

    let ran = pipeline
        .run(&["replay", "--into=public", "--reason=test"])
        .await;
    assert!(ran.stderr.contains("schema public exists"), "{ran:?}");
    let target = pipeline.target.client().await;
    let audit = "select count(*) from lockstep.audit where action = 'replay' and who = 'ann' \
                 and reason = 'a copy'";
    assert_eq!(
        target.query_one(audit, &[]).await.unwrap().get::<_, i64>(0),
        5
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_goes_back_while_the_oldest_changes_are_replayed_under_load() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.unwrap();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let load = Load::default();
    let replays = async {
        load.passed(100).await;
        let target = pipeline.target.client().await;
        // Rows that nobody on the source writes again.
        let damage = "update kv set v = 'damaged' where id between 401 and 410;
                      delete from kv where id between 411 and 420;
                      insert into kv values (9999, 0, 'not there', null)";
        target.batch_execute(damage).await.unwrap();
        let before = progress(&target, &pipeline).await;
        let said = pipeline
            .run(&[
                "replay",
                "--from-lsn=earliest",
                "--table=public.kv",
                "--table=Shop.Orders",
                "--reason=repair",
                "--json",
            ])
            .await
            .well();
        let numbers: Value = serde_json::from_str(&said).unwrap();
        assert!(numbers["total"]["updated"].as_u64() >= Some(10), "{said}");
        assert!(numbers["total"]["inserted"].as_u64() >= Some(10), "{said}");
        assert!(numbers["total"]["deleted"].as_u64() >= Some(1), "{said}");
        assert!(
            progress(&target, &pipeline).await > before,
            "apply stood still"
        );
        load.stop();
    };
    let (seen, (), ()) = tokio::join!(watch(&pipeline, &load), load.run(&pipeline, 2), replays);
    assert!(seen > 10, "the reader polled {seen} times only");
    caught_up(&pipeline).await;
    let target = pipeline.target.client().await;
    let tables = ["public.kv", "public.log", "Shop.Orders"];
    compare::tables(&source, &target, &tables).await.unwrap();
    let left = "select count(*) from pg_namespace where nspname ~ '^lockstep_replay'";
    assert_eq!(
        target.query_one(left, &[]).await.unwrap().get::<_, i64>(0),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_a_run_does_and_leaves_nothing_behind() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let tables = "create table t (id int primary key, v text, large text);
                  alter table t alter large set storage external;
                  insert into t select i, 'first', repeat('x', 5000)
                  from generate_series(1, 9) i where i <> 6";
    source.batch_execute(tables).await.unwrap();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let from = flushed(&source).await;
    // Two of them keep what the update does not bring, one of these under another key.
    let window = "update t set v = 'second' where id = 1;
                  insert into t values (6, 'second', null);
                  delete from t where id = 2;
                  update t set v = 'second', large = 'small' where id = 3;
                  update t set v = 'second' where id = 7;
                  update t set id = 88 where id = 8";
    source.batch_execute(window).await.unwrap();
    let to = flushed(&source).await;
    let later = "update t set v = 'third' where id = 3";
    source.batch_execute(later).await.unwrap();
    caught_up(&pipeline).await;
    let target = pipeline.target.client().await;
    let damage = "update t set v = 'damaged' where id in (1, 4, 7, 88);
                  delete from t where id = 6; insert into t values (2, 'damaged', null)";
    target.batch_execute(damage).await.unwrap();
    let damaged = rows(&target, "t").await;
    let (from, to) = (format!("--from-lsn={from}"), format!("--to-lsn={to}"));
    let window = [from.as_str(), to.as_str(), "--table=public.t", "--json"];

    let said = pipeline
        .run(&[&["replay", "--dry-run"], &window[..]].concat())
        .await
        .well();
    let dry: Value = serde_json::from_str(&said).unwrap();
    // Keys 1, 2, 3, 6, 7, 8 and 88, the last two by two changes; 3 was written again, and 4 is none
    // of them.
    let expected = serde_json::json!({"read": 7, "inserted": 1, "updated": 3, "deleted": 1,
                                      "unchanged": 2, "going_backwards": 1});
    assert_eq!(dry["total"], expected, "{said}");
    let differences = dry["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 5, "{said}");
    let first = differences.iter().find(|it| it["key"]["id"] == 1).unwrap();
    assert_eq!(first["before"], serde_json::json!({"v": "damaged"}));
    assert_eq!(first["after"], serde_json::json!({"v": "second"}));
    assert!(rows(&target, "t").await == damaged);
    let left = "select (select count(*) from pg_namespace where nspname ~ '^lockstep_replay') \
                + (select count(*) from lockstep.replays)";
    assert_eq!(
        target.query_one(left, &[]).await.unwrap().get::<_, i64>(0),
        0
    );

    let without_reason = pipeline.run(&[&["replay"], &window[..]].concat()).await;
    assert!(
        without_reason.stderr.contains("--reason"),
        "{without_reason:?}"
    );
    let run = [&["replay", "--reason=mend"], &window[..]].concat();
    let said = pipeline.run(&run).await.well();
    let run: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(run["total"], expected, "{said}");
    target
        .batch_execute("update t set v = 'first' where id = 4")
        .await
        .unwrap();
    compare::tables(&source, &target, &["public.t"])
        .await
        .unwrap();

    let history = pipeline.run(&["replay", "--list"]).await.well();
    assert!(
        history.contains("1 done") && history.contains("(mend)"),
        "{history}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replayed_is_refused_with_the_reason() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let keyless = "create table keyless (a int); alter table keyless replica identity full;
                   insert into keyless values (1)";
    source.batch_execute(keyless).await.unwrap();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    caught_up(&pipeline).await;
    for (arguments, refusal) in [
        (
            &["--from-lsn=earliest", "--table=public.keyless"][..],
            "has no key",
        ),
        (
            &["--from-lsn=earliest", "--table=public.none"],
            "has no topic",
        ),
        (&["--from-lsn=FFFF/0"], "nothing committed there yet"),
        (
            &["--from-lsn=earliest", "--to-lsn=FFFF/0"],
            "the target is at",
        ),
        (
            &["--from-time=2999-01-01T00:00:00Z"],
            "nothing committed there yet",
        ),
    ] {
        let all = [&["replay", "--dry-run"], arguments].concat();
        let ran = pipeline.run(&all).await;
        assert!(ran.stderr.contains(refusal), "{arguments:?}: {ran:?}");
        assert_eq!(ran.code, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_cancelled_replays_go_on_where_they_were() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let many = "create table many (id int primary key, v text);
                insert into many select i, md5(i::text) from generate_series(1, 110000) i";
    source.batch_execute(many).await.unwrap();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    source
        .batch_execute("delete from many where id % 7 = 0")
        .await
        .unwrap();
    caught_up(&pipeline).await;
    let target = pipeline.target.client().await;

    let into = ["replay", "--into=killed", "--reason=test"];
    let mut copy = pipeline.start(&into);
    begun(&target, 1).await;
    copy.kill_9();
    assert_eq!(state(&target, 1).await, "running");
    pipeline.run(&into).await.well();
    assert_eq!(state(&target, 1).await, "done");
    assert!(rows(&target, "killed.many").await == rows(&source, "many").await);

    let damage =
        "update many set v = 'damaged' where id % 10 = 0; delete from many where id % 11 = 0";
    target.batch_execute(damage).await.unwrap();
    let live = ["replay", "--from-lsn=earliest", "--reason=test"];
    let mut replay = pipeline.start(&live);
    begun(&target, 2).await;
    pipeline.run(&["replay", "--cancel=2"]).await.well();
    assert_eq!(replay.exit().await.code(), Some(1));
    replay.printed("was cancelled").await;
    assert_eq!(state(&target, 2).await, "cancelled");
    let again = pipeline.run(&["replay", "--cancel=2"]).await;
    assert!(again.stderr.contains("replay 2 is cancelled"), "{again:?}");
    let mut replay = pipeline.start(&["replay", "--resume=2"]);
    merging(&target, 2).await;
    replay.freeze();
    let busy = pipeline
        .run(&["replay", "--from-lsn=earliest", "--dry-run"])
        .await;
    assert!(busy.stderr.contains("another replay"), "{busy:?}");
    replay.kill_9();
    pipeline.run(&live).await.well();
    assert_eq!(state(&target, 2).await, "done");
    compare::tables(&source, &target, &["public.many"])
        .await
        .unwrap();
    let count = "select count(*) from lockstep.replays";
    assert_eq!(
        target.query_one(count, &[]).await.unwrap().get::<_, i64>(0),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_table_catches_up_while_the_others_go_on() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.unwrap();
    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let load = Load::default();
    let held = async {
        load.passed(20).await;
        let hold = ["pause", "--table=public.kv", "--table=public.log"];
        pipeline.run(&hold).await.well();
        let target = pipeline.target.client().await;
        let (then, kv) = (
            progress(&target, &pipeline).await,
            rows(&target, "kv").await,
        );
        load.passed(200).await;
        caught_up(&pipeline).await;
        assert!(progress(&target, &pipeline).await > then);
        assert!(rows(&target, "kv").await == kv, "a held table has changed");
        let live = [
            "replay",
            "--from-lsn=earliest",
            "--table=public.kv",
            "--dry-run",
        ];
        let refused = pipeline.run(&live).await;
        assert!(
            refused.stderr.contains("table public.kv is held"),
            "{refused:?}"
        );
        let resume = [
            "resume",
            "--table=public.kv",
            "--table=public.log",
            "--reason=over",
        ];
        pipeline.run(&resume).await.well();
        load.passed(20).await;
        load.stop();
    };
    tokio::join!(load.run(&pipeline, 3), held);
    caught_up(&pipeline).await;
    let target = pipeline.target.client().await;
    let tables = ["public.kv", "public.log", "Shop.Orders"];
    compare::tables(&source, &target, &tables).await.unwrap();
    let again = pipeline.run(&["resume", "--table=public.kv"]).await;
    assert!(again.stderr.contains("is not held"), "{again:?}");
    let audit = "select count(*) from lockstep.audit where action = 'resume table' \
                 and reason = 'over'";
    let noted = target.query_one(audit, &[]).await.unwrap();
    assert_eq!(noted.get::<_, i64>(0), 2);
}

/// Waits until a part of a replay is read.
async fn begun(target: &Connection, id: i64) {
    waited(target, id, "commits_offset is not null").await;
}

/// Waits until a part of its rows is in place.
async fn merging(target: &Connection, id: i64) {
    waited(target, id, "(result -> 0 ->> 'updated')::int > 0").await;
}

async fn waited(target: &Connection, id: i64, condition: &str) {
    let query = format!(
        "select state, state = 'running' and coalesce({condition}, false) \
         from lockstep.replays where id = $1"
    );
    wait::until(condition, async || {
        let row = target
            .query_opt(&query, &[&id])
            .await
            .expect("read a replay")
            .ok_or("none")?;
        assert_ne!(row.get::<_, &str>(0), "done", "it was over too soon");
        row.get::<_, bool>(1).then_some(()).ok_or("not yet")
    })
    .await;
}

async fn state(target: &Connection, id: i64) -> String {
    let query = "select state from lockstep.replays where id = $1";
    let row = target.query_one(query, &[&id]).await;
    row.expect("read a replay").get(0)
}

async fn copy(pipeline: &Pipeline, schema: &str, to: Lsn) {
    let (into, to) = (format!("--into={schema}"), format!("--to-lsn={to}"));
    let arguments = ["replay", &into, &to, "--who=ann", "--reason=a copy"];
    pipeline.run(&arguments).await.well();
}

/// An exported snapshot fixes both the LSN and the rows.
async fn moment(pipeline: &Pipeline, number: usize) -> Moment {
    let dsn = pipeline.source.dsn().parse().expect("read a DSN");
    let mut session = Session::connect(&dsn)
        .await
        .expect("connect for replication");
    let name = format!("{}_{number}", pipeline.name())
        .parse()
        .expect("name a slot");
    let slot = session
        .create_slot(&name, SlotLife::Temporary)
        .await
        .expect("create a slot");
    let source = pipeline.source.client().await;
    let begin = format!(
        "begin isolation level repeatable read; set transaction snapshot '{}'",
        slot.snapshot_name
    );
    source.batch_execute(&begin).await.expect("take a snapshot");
    let mut all = Vec::new();
    for (name, _) in COPIES {
        all.push(rows(&source, name).await);
    }
    Moment {
        to: slot.consistent_point.just_before(),
        rows: all,
    }
}

/// What COPY BINARY sends of a table in a fixed order.
async fn rows(client: &Connection, table: &str) -> Vec<u8> {
    let copy = format!(
        "copy (select t.* from {table} as t order by t::text collate \"C\") to stdout (format binary)"
    );
    let mut stream = pin!(client.copy_out(&copy).await.expect("copy a table"));
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.expect("copy a table"));
    }
    bytes
}

async fn flushed(source: &Connection) -> Lsn {
    let query = "select pg_current_wal_insert_lsn()::text";
    let row = source.query_one(query, &[]).await.expect("ask for an LSN");
    row.get::<_, &str>(0).parse().expect("read an LSN")
}

async fn progress(target: &Connection, pipeline: &Pipeline) -> Lsn {
    let query = "select commit_lsn::text from lockstep.progress where pipeline = $1";
    let row = target
        .query_one(query, &[&pipeline.name()])
        .await
        .expect("read progress");
    row.get::<_, &str>(0).parse().expect("read an LSN")
}

async fn applied(pipeline: &Pipeline, lsn: Lsn) {
    let target = pipeline.target.client().await;
    wait::until("it is applied", async || {
        match progress(&target, pipeline).await {
            there if there >= lsn => Ok(()),
            there => Err(there),
        }
    })
    .await;
}

async fn caught_up(pipeline: &Pipeline) {
    let source = pipeline.source.client().await;
    let emit = "select pg_logical_emit_message(false, 'lockstep.heartbeat', '')::text";
    let row = source.query_one(emit, &[]).await.expect("emit a message");
    applied(
        pipeline,
        row.get::<_, &str>(0).parse().expect("read an LSN"),
    )
    .await;
}

/// Polls all rows as fast as it can until the load is over, and answers how often.
///
/// # Panics
/// When a row is seen in a state before one that was seen.
async fn watch(pipeline: &Pipeline, load: &Load) -> usize {
    let target = pipeline.target.client().await;
    let mut seen: HashMap<i32, i64> = HashMap::new();
    let mut polls = 0;
    while !load.is_over() {
        for row in target
            .query("select id, version from kv", &[])
            .await
            .expect("read rows")
        {
            let (id, version): (i32, i64) = (row.get(0), row.get(1));
            let before = seen.insert(id, version);
            assert!(
                before <= Some(version),
                "row {id} went from {before:?} to {version}"
            );
        }
        polls += 1;
    }
    polls
}

/// Writes to the source until it is stopped.
#[derive(Default)]
struct Load {
    transactions: AtomicU64,
    over: AtomicBool,
}

impl Load {
    async fn run(&self, pipeline: &Pipeline, seed: u64) {
        let source = pipeline.source.client().await;
        let mut random = Random::new(seed);
        while !self.is_over() {
            let mut sql = String::from("begin;");
            for _ in 0..=random.below(5) {
                sql.push_str(&statement(&mut random));
            }
            sql.push_str("commit");
            source.batch_execute(&sql).await.expect("write");
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn passed(&self, more: u64) {
        let count = || self.transactions.load(Ordering::Relaxed);
        let end = count() + more;
        wait::within(
            Duration::from_secs(120),
            "the load goes on",
            async || match count() {
                count if count >= end => Ok(()),
                count => Err(count),
            },
        )
        .await;
    }

    fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One change; a row's version only rises, even when it is deleted and inserted again.
fn statement(random: &mut Random) -> String {
    let id = random.below(400) + 1;
    let number = random.below(300) + 1;
    match random.below(8) {
        0 => format!("delete from kv where id = {id};"),
        1 | 2 => format!(
            "insert into kv values ({id}, nextval('version'), 'again', repeat('y', 4000)) \
             on conflict (id) do update set version = excluded.version, large = 'z';"
        ),
        3 => format!("insert into log values ({number}, 'more'), ({number}, 'more');"),
        4 => format!("delete from log where at = {number};"),
        5 => format!(
            "update \"Shop\".\"Orders\" set amount = amount * -1.01 where number = {number};"
        ),
        6 => format!(
            "update \"Shop\".\"Orders\" set region = region || 'x' where number = {number};"
        ),
        _ => format!("update kv set version = nextval('version'), v = 'w' where id = {id};"),
    }
}
