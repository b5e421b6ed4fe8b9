//! pgbench under `kill -9`: promises 1 to 3 through the real binary.
//!
//! `LOCKSTEP_TEST_SCALE`, `_SECONDS`, `_KILLS` and `_SEED` make it longer; `tools/prove` does.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::postgres::Connection;
use testkit::process::Process;
use testkit::random::Random;
use testkit::{compare, setting, wait};

use crate::pipeline::Pipeline;

const TABLES: [&str; 4] = [
    "public.pgbench_accounts",
    "public.pgbench_branches",
    "public.pgbench_history",
    "public.pgbench_tellers",
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_both_sides_end_equal_and_readers_see_only_whole_transactions() {
    let seconds = setting::number("SECONDS", 8);
    let kills = setting::number("KILLS", 2);
    let mut random = Random::new(setting::number("SEED", 1));
    let pipeline = Pipeline::new().await;
    pgbench(
        &pipeline,
        &["-i", "-q", "-s", &setting::number("SCALE", 1).to_string()],
    )
    .wait()
    .expect("wait for pgbench");
    let source = pipeline.source.client().await;
    source
        .batch_execute("alter table pgbench_history replica identity full")
        .await
        .expect("give the history an identity");
    let mut services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;

    let over = AtomicBool::new(false);
    let reader = read_until(&over, &pipeline);
    let load = async {
        let begun = Instant::now();
        let mut load = pgbench(&pipeline, &["-c", "4", "-n", "-T", &seconds.to_string()]);
        kill_at_random(&mut services, kills, seconds, &mut random).await;
        wait::within(
            Duration::from_secs(seconds + 60),
            "pgbench ends",
            async || load.try_wait().expect("wait for pgbench").ok_or("it runs"),
        )
        .await;
        println!(
            "load and {kills} kills of each service: {:?}",
            begun.elapsed()
        );
        let stopped = Instant::now();
        caught_up(&source, &pipeline).await;
        println!("caught up {:?} after the load", stopped.elapsed());
        over.store(true, Ordering::Relaxed);
    };
    let (seen, ()) = tokio::join!(reader, load);
    println!(
        "the reader polled {} times and saw {} states",
        seen.polls,
        seen.states.len()
    );
    assert!(seen.states.len() > 1, "the reader saw no change");

    let target = pipeline.target.client().await;
    compare::tables(&source, &target, &TABLES).await.unwrap();
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.pgbench_history: equal"), "{said}");
    assert!(said.contains("\nequal at "), "{said}");
    println!("{said}");
    for service in &services {
        assert!(
            !service.output().contains("panicked"),
            "{}",
            service.output()
        );
    }
}

/// Kills each service `kills` times, at moments spread at random over the load.
async fn kill_at_random(
    services: &mut [Process; 2],
    kills: u64,
    seconds: u64,
    random: &mut Random,
) {
    let rounds = kills * 2;
    for round in 0..rounds {
        // Any moment must do: on average the rounds fill four fifths of the load's time.
        let mean_ms = seconds * 800 / rounds;
        tokio::time::sleep(Duration::from_millis(random.below(2 * mean_ms))).await;
        let service = &mut services[usize::from(round % 2 == 1)];
        service.kill_9();
        service.restart();
    }
}

/// What a reader of the target saw.
#[derive(Default)]
struct Seen {
    polls: u64,
    states: BTreeSet<i64>,
}

/// Reads in REPEATABLE READ as fast as it can.
///
/// # Panics
/// When it sees a state that the source never had: every transaction of pgbench adds the same
/// amount to one teller, to one branch, to one account and to the history.
async fn read_until(over: &AtomicBool, pipeline: &Pipeline) -> Seen {
    let target = pipeline.target.client().await;
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) {
        let sums = sums(&target).await;
        let [tellers, branches, history] = sums;
        assert_eq!(
            (tellers, history),
            (branches, branches),
            "a state that the source never had: tellers, branches, history are {sums:?}"
        );
        seen.states.insert(tellers);
        seen.polls += 1;
    }
    seen
}

/// Three statements of one snapshot, as a reader would send them.
async fn sums(client: &Connection) -> [i64; 3] {
    let begin = "begin isolation level repeatable read, read only";
    client.batch_execute(begin).await.expect("begin");
    let mut sums = [0; 3];
    let queries = [
        "select coalesce(sum(tbalance), 0)::int8 from pgbench_tellers",
        "select coalesce(sum(bbalance), 0)::int8 from pgbench_branches",
        "select coalesce(sum(delta), 0)::int8 from pgbench_history",
    ];
    for (sum, query) in sums.iter_mut().zip(queries) {
        *sum = client.query_one(query, &[]).await.expect("sum").get(0);
    }
    client.batch_execute("commit").await.expect("commit");
    sums
}

async fn caught_up(source: &Connection, pipeline: &Pipeline) {
    let target = pipeline.target.client().await;
    let count = "select count(*) from pgbench_history";
    let there: i64 = source.query_one(count, &[]).await.expect("count").get(0);
    println!("pgbench committed {there} transactions");
    wait::within(
        Duration::from_secs(180),
        "the target catches up",
        async || {
            let here: i64 = target.query_one(count, &[]).await.expect("count").get(0);
            if here == there {
                Ok(())
            } else {
                Err((here, there))
            }
        },
    )
    .await;
}

fn pgbench(pipeline: &Pipeline, arguments: &[&str]) -> Child {
    let mut command = Command::new("pgbench");
    // libpq takes a URL where the database's name goes.
    command.args(arguments).arg(pipeline.source.dsn());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("run pgbench")
}
