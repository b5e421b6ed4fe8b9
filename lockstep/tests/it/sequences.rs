//! Sequences: the target can take over, and hands out nothing that the source has handed out.

use testkit::postgres::{Connection, Server, database};
use testkit::process::Process;
use testkit::{compare, wait};

use crate::pipeline::Pipeline;

/// Each table by the sequence that its `id` comes from. Those that step over numbers, go down, keep some
/// for the session, are shared by tables, or belong to the root of partitions.
const TABLES: &str = "
    create table handed (sequence text, value bigint, primary key (sequence, value));
    create table serial (id bigserial primary key, v text);
    create table identity (id int generated always as identity primary key, v text);
    create sequence shared increment 5 cache 20;
    create table one (id bigint primary key default nextval('shared'), v text);
    create table other (id bigint primary key default nextval('shared'), v text);
    create sequence down increment -3;
    create table downwards (id bigint primary key default nextval('down'), v text);
    create table root (id bigserial, k int default 1, v text, primary key (id, k))
        partition by list (k);
    create table leaf partition of root for values in (1);";
const SEQUENCES: [(&str, &str); 6] = [
    ("serial", "serial_id_seq"),
    ("identity", "identity_id_seq"),
    ("one", "shared"),
    ("other", "shared"),
    ("downwards", "down"),
    ("root", "root_id_seq"),
];

/// One transaction: a row of each table, of which some go again at once, so that no row tells what was
/// handed out; and a number of each sequence that no row ever has.
fn transaction(number: usize) -> String {
    let rows = SEQUENCES.iter().map(|(table, sequence)| {
        format!(
            "with r as (insert into {table} (v) values ('x') returning id)
                 insert into handed select '{sequence}', id from r;
             delete from {table} where {number} % 3 = 0
                 and id = (select currval('{sequence}'));
             insert into handed values ('{sequence}', nextval('{sequence}'));"
        )
    });
    let end = match number % 7 {
        0 => "rollback",
        _ => "commit",
    };
    format!("begin; {} {end}", rows.collect::<String>())
}

/// Writes until the source is gone.
fn write(client: Connection) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut written = 0;
        while client.batch_execute(&transaction(written)).await.is_ok() {
            written += 1;
        }
        written
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_takes_over_and_hands_out_no_number_twice() {
    let server = Server::start(&[]).await;
    let pipeline = Pipeline::between(server.database().await, database().await).await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.expect("make tables");
    source.batch_execute(&transaction(1)).await.expect("write");
    pipeline.run(&["setup"]).await.well();
    let (mut capture, mut apply) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    let mut writers = Vec::new();
    for _ in 0..4 {
        writers.push(write(pipeline.source.client().await));
    }
    let target = pipeline.target.client().await;
    wait::until("much was handed out", async || {
        let rows = target.query_one("select count(*) from handed", &[]).await;
        match rows.map_err(|error| format!("{error:?}"))?.get::<_, i64>(0) {
            rows if rows > 5_000 => Ok(()),
            rows => Err(rows.to_string()),
        }
    })
    .await;
    server.kill().await;
    capture.kill_9();
    for writer in writers {
        assert!(writer.await.expect("join a writer") > 10);
    }
    pipeline.applied_all().await;
    apply.terminate().await;

    for (table, sequence) in SEQUENCES {
        for _ in 0..50 {
            let insert =
                format!("insert into {table} (v) values ('taken over') returning id::bigint");
            let id: i64 = target.query_one(&insert, &[]).await.expect(table).get(0);
            let handed = "select coalesce(bool_or(case when $1 = 'down' then value <= $2
                                                       else value >= $2 end), false)
                            from handed where sequence = $1";
            let handed = target.query_one(handed, &[&sequence, &id]).await;
            let again: bool = handed.expect("look what was handed out").get(0);
            assert!(
                !again,
                "{sequence} hands out {id}, behind what the source did"
            );
        }
    }
}

const ROWS: &str = "insert into serial (v) select 'x' from generate_series(1, 10)";

/// A pipeline whose source has just handed out ten numbers.
async fn streaming() -> (Pipeline, Connection, [Process; 2]) {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.expect("make tables");
    pipeline.run(&["setup"]).await.well();
    let services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    source.batch_execute(ROWS).await.expect("write");
    (pipeline, source, services)
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_a_sequence_that_is_behind() {
    let (pipeline, source, _services) = streaming().await;
    pipeline.run(&["verify"]).await.well();

    let target = pipeline.target.client().await;
    let back = "select setval('serial_id_seq', 3)";
    target.batch_execute(back).await.expect("set it back");
    let said = pipeline.run(&["verify"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let line = "public.serial_id_seq: BEHIND, source 10, target 3\n";
    assert!(said.stdout.contains(line), "{said:?}");

    source.batch_execute(ROWS).await.expect("write");
    pipeline.run(&["verify"]).await.well();
}

/// A truncation that restarts sequences locks them until it commits. The target's stay ahead: what was
/// handed out before may be known elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_that_restarts_a_sequence_keeps_nothing_from_flowing() {
    let (pipeline, source, _services) = streaming().await;
    let target = pipeline.target.client().await;
    let equal = async |tables: &[&str]| {
        compare::until_tables_are_equal(&source, &target, tables).await;
    };
    equal(&["public.serial"]).await;

    let other = pipeline.source.client().await;
    let truncation = "begin; truncate serial restart identity";
    other.batch_execute(truncation).await.expect("truncate");
    let more = "insert into identity (v) values ('meanwhile')";
    source.batch_execute(more).await.expect("write");
    equal(&["public.identity"]).await;
    let again = "insert into serial (v) values ('first again'); commit";
    other.batch_execute(again).await.expect("write and commit");
    equal(&["public.serial"]).await;
    // Capture asks again a second after it found one locked.
    wait::until("what was not told is told", async || {
        let moved = "select is_called from identity_id_seq";
        let moved = target.query_one(moved, &[]).await.expect("look");
        moved.get::<_, bool>(0).then_some(()).ok_or("not yet")
    })
    .await;
    pipeline.run(&["verify"]).await.well();
    let next = target.query_one("select nextval('serial_id_seq')", &[]);
    assert_eq!(next.await.expect("a number").get::<_, i64>(0), 11);
}
