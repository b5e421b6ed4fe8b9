//! `verify` while writes go on: exact, repairing, and never in the way for long.
//!
//! `LOCKSTEP_TEST_WRITES`, rows a second, and `LOCKSTEP_TEST_VERIFIES` make it harder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::postgres::{Connection, Database, Server, database};
use testkit::process::Process;
use testkit::{compare, setting, wait};
use tokio::task::JoinSet;

use crate::pipeline::Pipeline;

/// Clients that write at a steady rate until they are stopped.
struct Load {
    clients: JoinSet<()>,
    over: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    begun: Instant,
}

const TABLES: &str = "
    create table accounts (id int primary key, owner text not null, balance bigint not null);
    create table orders (client int, seq int, total numeric, at timestamptz, primary key (client, seq));
    create table lines (client int, seq int, number int, note text, primary key (client, seq, number));
    create table visits (client int, at timestamptz);
    create table scratch (client int, seq int, primary key (client, seq));
    alter table visits replica identity full;
    insert into accounts select i, 'owner ' || i, 1000 from generate_series(1, 500) i";

const CLIENTS: i32 = 4;
/// Of one transaction.
const ROWS: u64 = 10;

impl Load {
    async fn start(source: &Database) -> Self {
        let mut load = Self {
            clients: JoinSet::new(),
            over: Arc::default(),
            writes: Arc::default(),
            begun: Instant::now(),
        };
        let interval = Duration::from_secs(ROWS * 4)
            / u32::try_from(setting::number("WRITES", 600)).expect("a rate");
        for client in 0..CLIENTS {
            let connection = source.client().await;
            let (over, writes) = (Arc::clone(&load.over), Arc::clone(&load.writes));
            load.clients.spawn(async move {
                let mut ticks = tokio::time::interval(interval);
                let mut seq = 0;
                while !over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    seq += 1;
                    let sql = transaction(client, seq);
                    connection.batch_execute(&sql).await.expect("write");
                    writes.fetch_add(ROWS, Ordering::Relaxed);
                }
            });
        }
        load
    }

    /// Answers how many rows it wrote in a second.
    async fn stop(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client of the load ends well");
        }
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).expect("a time");
        self.writes.load(Ordering::Relaxed) * 1000 / milliseconds.max(1)
    }
}

/// Each client has its part of the accounts, so that none waits for another. Now and then a table
/// is emptied, which no snapshot hides.
fn transaction(client: i32, seq: i32) -> String {
    let account = 1 + client * 100 + seq % 99;
    let empty = match seq % 100 == 99 && client == 0 {
        true => "truncate scratch;",
        false => "",
    };
    format!(
        "begin;
         update accounts set balance = balance - {seq} where id = {account};
         update accounts set balance = balance + {seq} where id = {account} + 1;
         insert into orders values ({client}, {seq}, {seq} / 7.0, now());
         insert into lines select {client}, {seq}, i, repeat('line ', i) from generate_series(1, 3) i;
         insert into visits values ({client}, now());
         insert into scratch values ({client}, {seq});
         delete from orders where client = {client} and seq = {seq} - 50;
         update lines set note = note || '!' where client = {client} and seq = {seq} - 10 and number = 1;
         delete from lines where client = {client} and seq = {seq} - 100;
         {empty}
         commit"
    )
}

/// A table that the load leaves alone.
const STILL: &str = "
    create table still (id int primary key, title text, body text);
    insert into still select i, 'title ' || i, repeat('body ', i % 50) from generate_series(1, 2000) i";

/// What a writer waits for, it lets others in its cluster wait for: this source has its own.
async fn loaded() -> (Server, Pipeline, [Process; 2], Load) {
    let server = Server::start(&[]).await;
    let pipeline = Pipeline::between(server.database().await, database().await).await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.expect("make tables");
    source.batch_execute(STILL).await.expect("make a table");
    let services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let load = Load::start(&pipeline.source).await;
    (server, pipeline, services, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_equal_is_equal_and_a_changed_row_is_found_and_repaired() {
    let (_server, pipeline, _services, load) = loaded().await;
    let mut held = Vec::new();
    for _ in 0..setting::number("VERIFIES", 4) {
        let said = pipeline.run(&["verify", "--json"]).await.well();
        let report: Value = serde_json::from_str(&said).unwrap();
        held.push(report["held_ms"].as_f64().unwrap());
    }
    let target = pipeline.target.client().await;
    let spoil = "
        update still set title = 'changed by hand' where id = 7;
        update still set id = 8000 where id = 8;
        delete from still where id = 9";
    target.batch_execute(spoil).await.unwrap();
    let ran = pipeline.run(&["verify"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for text in [
        "public.still: DIFFERENT, source 2000 rows, target 1999 rows; 2 missing, 1 extra, 1 different",
        "different: id = 7: title\n",
        "missing: id = 8\n",
        "missing: id = 9\n",
        "extra: id = 8000\n",
        "public.accounts: equal, 500 rows\n",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
    let said = pipeline.run(&["verify", "--repair"]).await.well();
    assert!(said.contains("repaired 4 rows"), "{said}");
    pipeline.run(&["verify"]).await.well();
    let rate = load.stop().await;
    println!("{rate} rows a second; apply was held for {held:?} ms");
    pipeline.run(&["verify"]).await.well();
    let source = pipeline.source.client().await;
    compare::databases(&source, &target).await.unwrap();
}

/// The rows that the load itself writes: what it changed after the comparison must not go back.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_all_the_time_are_repaired_as_they_are() {
    let (_server, pipeline, _services, load) = loaded().await;
    let target = pipeline.target.client().await;
    for _ in 0..2 {
        // As anybody has to who writes beside apply: not at the same time.
        let spoil = "
            begin; update lockstep.progress set control = control + 1;
            update accounts set balance = balance + 1, owner = 'nobody';
            delete from orders where seq % 3 = 0;
            update orders set total = 1 where seq % 3 = 1;
            insert into orders select 9, i, i from generate_series(1, 700) i;
            delete from lines where number = 2; commit";
        target.batch_execute(spoil).await.unwrap();
        let said = pipeline.run(&["verify", "--repair"]).await.well();
        assert!(said.contains("public.accounts: DIFFERENT"), "{said}");
        pipeline.run(&["verify"]).await.well();
    }
    load.stop().await;
    pipeline.run(&["verify"]).await.well();
    let source = pipeline.source.client().await;
    compare::databases(&source, &target).await.unwrap();
}

/// What an open transaction holds up, it holds up in the whole cluster: this source has its own.
async fn alone() -> (Server, Pipeline, Connection, [Process; 2]) {
    let server = Server::start(&[]).await;
    let pipeline = Pipeline::between(server.database().await, database().await).await;
    let source = pipeline.source.client().await;
    let create = "create table t (id int primary key, note text)";
    source.batch_execute(create).await.expect("make the tables");
    let services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    (server, pipeline, source, services)
}

async fn arrives(pipeline: &Pipeline, id: i32) {
    let target = pipeline.target.client().await;
    wait::until("the row is on the target", async || {
        let row = target
            .query_opt("select from t where id = $1", &[&id])
            .await;
        match row.map_err(|error| error.to_string())? {
            Some(_) => Ok(()),
            None => Err("it is not".to_owned()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_named_and_apply_goes_on() {
    let (_server, pipeline, source, _services) = alone().await;
    let writer = pipeline.source.client().await;
    let pid = "select pg_backend_pid()";
    let pid: i32 = writer.query_one(pid, &[]).await.unwrap().get(0);
    let open = "begin; insert into t values (1, 'open')";
    writer.batch_execute(open).await.unwrap();
    let ran = pipeline.run(&["verify", "--hold-limit=1"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let named = format!("process {pid} (role ");
    assert!(ran.stderr.contains(&named), "{ran:?}");
    assert!(ran.stderr.contains("idle in transaction"), "{ran:?}");
    source
        .execute("insert into t values (2)", &[])
        .await
        .unwrap();
    arrives(&pipeline, 2).await;
    let target = pipeline.target.client().await;
    let hold = "select from lockstep.control where hold_lsn is not null";
    assert!(target.query_opt(hold, &[]).await.unwrap().is_none());
    wait::until("no slot is left behind", async || {
        let slots = "select count(*) from pg_replication_slots where temporary";
        match source.query_one(slots, &[]).await.unwrap().get(0) {
            0_i64 => Ok(()),
            slots => Err(slots),
        }
    })
    .await;
    writer.batch_execute("commit").await.unwrap();
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.t: equal, 2 rows"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_dies_holds_apply_no_longer_than_its_limit() {
    let (_server, pipeline, source, _services) = alone().await;
    let writer = pipeline.source.client().await;
    let open = "begin; insert into t values (1, 'open')";
    writer.batch_execute(open).await.unwrap();
    let mut verifier = pipeline.start(&["verify", "--hold-limit=4"]);
    let target = pipeline.target.client().await;
    wait::until("apply is held", async || {
        let hold = "select from lockstep.control where hold_until > clock_timestamp()";
        let row = target.query_opt(hold, &[]).await.unwrap();
        row.map(|_| ()).ok_or("it is not")
    })
    .await;
    verifier.kill_9();
    source
        .execute("insert into t values (2)", &[])
        .await
        .unwrap();
    arrives(&pipeline, 2).await;
    writer.batch_execute("commit").await.unwrap();
    arrives(&pipeline, 1).await;
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.t: equal, 2 rows"), "{said}");
}

/// Capture is away while the source is fixed at L: what it publishes then has L in its middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_commits_record_is_split_where_the_source_was_fixed() {
    const EACH: i64 = 40;
    let (_server, pipeline, source, mut services) = alone().await;
    services[0].kill_9();
    let insert = "insert into t select coalesce(max(id), 0) + 1 from t";
    for _ in 0..EACH {
        source.execute(insert, &[]).await.unwrap();
    }
    let mut verifier = pipeline.start(&["verify"]);
    let target = pipeline.target.client().await;
    let progress =
        "select p.commit_lsn::text, c.hold_lsn::text, p.commits_offset, p.chain_lsn::text
                      from lockstep.progress p join lockstep.control c using (pipeline)
                     where pipeline = $1 and c.hold_lsn > p.commit_lsn + 1";
    let fixed = wait::until("the source is fixed", async || {
        let row = target.query_opt(progress, &[&pipeline.name()]).await;
        row.unwrap().ok_or("it is not")
    })
    .await;
    for _ in 0..EACH {
        source.execute(insert, &[]).await.unwrap();
    }
    services[0].restart();
    assert_eq!(
        verifier.exit().await.code(),
        Some(0),
        "{}",
        verifier.output()
    );
    let said = verifier.output();
    assert!(
        said.contains(&format!("public.t: equal, {EACH} rows")),
        "{said}"
    );
    assert!(
        said.contains(&format!("equal at {}", fixed.get::<_, &str>(1))),
        "{said}"
    );
    arrives(&pipeline, 80).await;
    // Two batches at most have brought it all.
    let offset = "select commits_offset from lockstep.progress where pipeline = $1";
    let offset = target.query_one(offset, &[&pipeline.name()]).await.unwrap();
    let records = offset.get::<_, i64>(0) - fixed.get::<_, i64>(2);
    assert!(
        records < EACH,
        "{records} records for {} transactions",
        2 * EACH
    );
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.t: equal, 80 rows"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_goes_on_until_it_is_stopped() {
    let (_server, pipeline, source, _services) = alone().await;
    source
        .execute("insert into t values (1)", &[])
        .await
        .unwrap();
    let mut verifier = pipeline.start(&["verify", "--schedule=1s", "--load-limit=50"]);
    wait::within(
        Duration::from_secs(60),
        "three comparisons",
        async || match verifier.output().matches("equal at ").count() {
            0..3 => Err(verifier.output()),
            _ => Ok(()),
        },
    )
    .await;
    assert_eq!(verifier.terminate().await.code(), Some(0));
    let said = pipeline.run(&["verify", "--history"]).await.well();
    assert!(said.lines().count() >= 3, "{said}");
}
