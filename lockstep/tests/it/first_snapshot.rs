//! A first snapshot under load, while capture and apply are killed.

use std::time::Duration;

use testkit::compare;
use testkit::ledger::{self, LedgerHold};
use testkit::postgres::{Connection, Server, connect};

use crate::pipeline::Pipeline;

/// Of `large` and `archive`, two rows fill a block. Values of `code` are unique, and change hands.
const TABLES: &str = "
    create table large (id bigint primary key, n int not null default 0, body text, pad text);
    alter table large alter body set storage external, alter pad set storage plain;
    insert into large
    select n, 0, case when n % 10 = 0 then repeat('x', 3000) end, repeat('p', 3900)
      from generate_series(1, 16000) n;
    create table archive (id bigint primary key, pad text);
    alter table archive alter pad set storage plain;
    insert into archive select n, repeat('q', 3900) from generate_series(1, 20000) n;
    create table codes (id int primary key, code int not null unique, pad text);
    alter table codes alter pad set storage plain;
    insert into codes select n, n, repeat('c', 3900) from generate_series(1, 6000) n;
    create table keyless (n int, pad text);
    alter table keyless replica identity full;
    insert into keyless select n % 5, 'k' from generate_series(1, 500) n";

/// Writers that insert, delete, move and update until the task is aborted.
async fn write(dsn: String, mut random: u64) {
    let mut client = connect(&dsn).await.expect("connect");
    // As fast as a build for tests can be sure to follow.
    let mut pace = tokio::time::interval(Duration::from_millis(4));
    loop {
        pace.tick().await;
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let id = i64::try_from((random >> 33) % 17_000).expect("a small number");
        let sql = match (random >> 20) % 10 {
            0 => "delete from large where id = $1",
            1 => "insert into large values ($1, 1, repeat('y', 2500), 'p') on conflict do nothing",
            2 => "update large set id = id + 20000 + (random() * 1e9)::int where id = $1",
            3 => "insert into keyless select n, $1::text from generate_series(1, 3) n",
            4 => "delete from keyless where n = $1 % 7",
            5 | 6 => {
                // Two writers that want the same rows do not matter.
                let _ = exchange(&mut client, id % 6_000, (id * 7 + 1) % 6_000).await;
                continue;
            }
            _ => "update large set n = n + 1 where id = $1",
        };
        let _ = client.execute(sql, &[&id]).await;
    }
}

/// Lets two rows exchange their unique values.
async fn exchange(client: &mut Connection, a: i64, b: i64) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let code = "select code from codes where id = $1::int8 for update";
    let at_a: i32 = transaction.query_one(code, &[&a]).await?.get(0);
    let at_b: i32 = transaction.query_one(code, &[&b]).await?.get(0);
    let set = "update codes set code = $2 where id = $1::int8";
    for (id, code) in [(a, -at_a - 1), (b, at_a), (a, at_b)] {
        transaction.execute(set, &[&id, &code]).await?;
    }
    transaction.commit().await
}

/// Chunks that are noted of the table that nobody writes to.
async fn noted(source: &Connection) -> i64 {
    let sql = "select count(*) from lockstep.first_snapshot_chunks \
               where relation = 'archive'::regclass";
    source.query_one(sql, &[]).await.expect("count").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_three_times_under_load_it_goes_on_and_both_sides_end_equal() {
    // Apply's transaction is as long as the snapshot: comparisons of others would wait for it.
    let server = Server::start(&[]).await;
    let pipeline = Pipeline::between(server.database().await, server.database().await).await;
    let source = pipeline.source.client().await;
    source.batch_execute(TABLES).await.expect("create tables");
    pipeline.run(&["setup"]).await.well();
    let mut hold = Some(LedgerHold::at(pipeline.source.client().await, 2).await);
    let mut services = [pipeline.cdc(), pipeline.applier()];
    let writers: Vec<_> = (1..=3)
        .map(|seed| tokio::spawn(write(pipeline.source.dsn().to_owned(), seed)))
        .collect();
    let mut kept = 0;
    // Tables are read in the order of their names.
    for next in [Some(10), Some(17), None] {
        ledger::held(&source).await;
        services[0].kill_9();
        kept = noted(&source).await;
        ledger::end_waiting(&source).await;
        drop(hold);
        hold = match next {
            Some(notes) => Some(LedgerHold::at(pipeline.source.client().await, notes).await),
            None => None,
        };
        services[0].restart();
    }
    services[1].kill_9();
    services[1].restart();
    services[0].printed("snapshot is complete").await;
    for writer in writers {
        writer.abort();
        let _ = writer.await;
    }
    pipeline.streaming().await;
    let target = pipeline.target.client().await;
    pipeline.caught_up(&source, &target).await;
    compare::databases(&source, &target).await.unwrap();

    let output = services[0].output();
    let last_run = output.rsplit("the first snapshot was interrupted").next();
    let last_run = last_run.expect("there is always a last part");
    let again = last_run.matches("table=public.archive rows=0").count();
    assert!(kept > 5, "{kept} chunks of the archive were noted");
    assert_eq!(i64::try_from(again), Ok(kept), "chunks were read again");
    assert_eq!(output.matches("made the slot").count(), 1);
    for service in &services {
        let output = service.output();
        assert!(!output.contains("panicked"), "{output}");
    }
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.archive: equal"), "{said}");
}
