//! Tables that change while rows flow: made on the target at their place, or waited for.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::postgres::{Connection, Database, Server, database};
use testkit::process::Process;
use testkit::{compare, wait};

use crate::pipeline::Pipeline;

/// A server of one's own: what makes roles and event triggers concerns nobody else.
async fn started(applier: &[&str]) -> (Server, Pipeline, [Process; 2]) {
    let server = Server::start(&[]).await;
    let pipeline = Pipeline::between(server.database().await, database().await).await;
    let source = pipeline.source.client().await;
    let made = "create table notes (id int primary key, text text)";
    source.batch_execute(made).await.expect("make a table");
    pipeline.run(&["setup"]).await.well();
    let services = [pipeline.cdc(), pipeline.applier_with(applier)];
    pipeline.streaming().await;
    (server, pipeline, services)
}

/// The tables, constraints, indexes, sequences and types of a database, as pg_dump writes them.
fn schema_of(database: &Database) -> Result<String, String> {
    let dump = Command::new("pg_dump")
        .args([
            "--schema-only",
            "--no-owner",
            "--no-privileges",
            "--no-publications",
        ])
        .args(["--exclude-schema=lockstep", "--dbname", database.dsn()])
        .output()
        .expect("run pg_dump");
    if !dump.status.success() {
        // A table that is dropped meanwhile.
        return Err(String::from_utf8_lossy(&dump.stderr).into_owned());
    }
    let text = String::from_utf8(dump.stdout).expect("SQL is text");
    let kept = text.lines().filter(|line| {
        let told = [
            "--",
            "CREATE EVENT TRIGGER",
            "   EXECUTE FUNCTION lockstep.",
            "\\",
        ];
        !line.is_empty() && !told.iter().any(|start| line.starts_with(start))
    });
    Ok(kept.map(|line| format!("{line}\n")).collect())
}

/// Waits until both sides hold the same, rows and definitions.
async fn same(pipeline: &Pipeline) {
    let (source, target) = (
        pipeline.source.client().await,
        pipeline.target.client().await,
    );
    wait::until("both sides are equal", async || {
        let (here, there) = (schema_of(&pipeline.source)?, schema_of(&pipeline.target)?);
        if here != there {
            return Err(format!("source:\n{here}\ntarget:\n{there}"));
        }
        compare::databases(&source, &target)
            .await
            .map_err(|error| format!("{error:#}"))
    })
    .await;
}

/// Each is a transaction of its own. Together: every kind of change that is carried over.
const CHANGES: &[&str] = &[
    "create table people (id bigserial primary key, name text not null, born date)",
    "insert into people (name) values ('Ann'), ('Bob')",
    "alter table people add column score int not null default 7",
    "alter table people add column seen timestamptz not null default now()",
    "alter table people rename column name to full_name",
    "alter table people add constraint score_is_fine check (score < 1000)",
    "update people set score = 8 where id = 1",
    "create type mood as enum ('sad', 'glad')",
    "alter table people add column mood mood not null default 'sad'",
    "alter type mood add value 'fine' before 'glad'",
    "insert into people (full_name, mood) values ('Cid', 'fine')",
    "alter type mood rename value 'glad' to 'happy'",
    "alter table people alter column score type bigint",
    "alter table people alter column score drop default",
    "create index people_by_name on people (lower(full_name)) where score > 1",
    "alter table people alter column born set not null",
    "alter table people drop column born",
    "insert into people (full_name, score) values ('Dan', 9)",
    "create schema \"Other Place\"",
    "create table \"Other Place\".\"t\"\"x\" (\"a b\" int generated always as identity primary key,
        c text collate \"C\", d int, e int generated always as (d * 2) stored, unique (d))",
    "insert into \"Other Place\".\"t\"\"x\" (c, d) values ('x', 1), ('y', 2)",
    "alter table \"Other Place\".\"t\"\"x\" rename to renamed",
    "alter table \"Other Place\".renamed add column person bigint references people",
    "update \"Other Place\".renamed set person = 1 where d = 1",
    "create table events (id int, at date, note text, primary key (id, at)) partition by range (at)",
    "create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01')",
    "create table events_2026 (id int not null, at date not null, note text, primary key (id, at))",
    "alter table events attach partition events_2026 for values from ('2026-01-01') to ('2027-01-01')",
    "insert into events values (1, '2025-05-05', 'a'), (2, '2026-05-05', 'b')",
    "alter table events add column more int default 3",
    "alter table events detach partition events_2025",
    "insert into events_2025 values (3, '2025-06-06', 'c')",
    "drop table events_2025",
    "begin; create table pair (id int primary key); insert into pair values (1);
     alter table pair add column text text; insert into pair values (2, 'two'); commit",
    "do $$ begin create table by_block (id int primary key); insert into by_block values (1);
     alter table by_block add column x int; update by_block set x = 2; end $$",
    "begin; create table never (id int primary key); rollback",
    "alter table by_block replica identity full",
    "alter table by_block drop constraint by_block_pkey",
    "insert into by_block values (1, 1)",
    "drop index people_by_name",
    "alter table people drop constraint score_is_fine",
    "truncate pair",
    "drop table \"Other Place\".renamed",
    "drop schema \"Other Place\"",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_is_made_at_its_place() {
    let (_server, pipeline, _services) = started(&[]).await;
    let source = pipeline.source.client().await;
    for change in CHANGES {
        // Some are refused by the source itself, and then by nobody else.
        if let Err(error) = source.batch_execute(change).await {
            assert!(change.contains("born set not null"), "{change}: {error:?}");
        }
    }
    same(&pipeline).await;
    let target = pipeline.target.client().await;
    let audit = "select count(*) from lockstep.audit where who = 'apply'";
    let made: i64 = target.query_one(audit, &[]).await.unwrap().get(0);
    assert!(made > 25, "{made} changes are in the audit log");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_flow_while_their_table_changes_and_everything_is_killed() {
    let (_server, pipeline, mut services) = started(&[]).await;
    let over = AtomicBool::new(false);
    let writer = async {
        let client = pipeline.source.client().await;
        let mut id = 0;
        while !over.load(Ordering::Relaxed) {
            let sql = format!(
                "insert into notes (id, text) values ({id}, 'x') on conflict do nothing;
                 update notes set text = text || 'y' where id = {id} / 2"
            );
            client.batch_execute(&sql).await.expect("write");
            id += 1;
        }
        id
    };
    let changer = async {
        let client = pipeline.source.client().await;
        for round in 0..24 {
            let sql = format!(
                "alter table notes add column c{round} int default {round};
                 update notes set c{round} = id where id % 3 = {round} % 3;
                 alter table notes rename column c{round} to d{round}"
            );
            client.batch_execute(&sql).await.expect("change the table");
            if round >= 3 {
                let drop = format!("alter table notes drop column d{}", round - 3);
                client.batch_execute(&drop).await.expect("drop a column");
            }
            if round % 4 == 3 {
                let service = &mut services[usize::from(round % 8 == 3)];
                service.kill_9();
                service.restart();
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    let (rows, ()) = tokio::join!(writer, changer);
    println!("{rows} rows were written meanwhile");
    same(&pipeline).await;
    pipeline.run(&["verify"]).await.well();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_the_log_does_not_tell_are_read() {
    let (_server, pipeline, _services) = started(&[]).await;
    let source = pipeline.source.client().await;
    for change in [
        "insert into notes select i, 'n' || i from generate_series(1, 500) i",
        "alter table notes add column token uuid not null default gen_random_uuid()",
        "alter table notes add column number bigserial",
        "alter table notes alter column text type varchar using upper(text)",
    ] {
        source
            .batch_execute(change)
            .await
            .expect("change the table");
    }
    same(&pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_schema_is_refused_waits_until_it_is_read_again() {
    let (_server, pipeline, mut services) = started(&[]).await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    for change in [
        "create table other (id int primary key)",
        "alter table notes add column price numeric(10, 2)",
        "insert into notes select i, i::text, i from generate_series(1, 100) i",
        "alter table notes alter column text type int using text::int",
        "insert into notes values (101, 101)",
        "delete from notes where id <= 10",
        "insert into other values (1)",
    ] {
        source
            .batch_execute(change)
            .await
            .expect("change the source");
    }
    waits_for(&target, "409").await;
    let refused = read_again(&pipeline, &source, "failed").await;
    assert!(refused.contains("refused still"), "{refused}");

    for service in &mut services {
        service.kill_9();
        service.restart();
    }
    let other = "insert into other values (2); update notes set price = 0 where id = 50";
    source.batch_execute(other).await.expect("write");
    let subject = format!("{}.public.notes-value", pipeline.name());
    let level = ["schemas", "level", &subject, "--set=none"];
    pipeline.run(&level).await.well();
    read_again(&pipeline, &source, "done").await;
    by_hand(
        &target,
        "alter table notes alter column text type int using text::int",
    )
    .await;
    pipeline
        .run(&["resume", "--table=public.notes"])
        .await
        .well();
    same(&pipeline).await;

    // The registry takes this one; its readers would take 1.50 for 15.0.
    let rescaled = "alter table notes alter column price type numeric(10, 1);
                    update notes set price = 1.5 where id = 60";
    source
        .batch_execute(rescaled)
        .await
        .expect("change the table");
    waits_for(&target, "the scale of column price").await;
    read_again(&pipeline, &source, "done").await;
    by_hand(
        &target,
        "alter table notes alter column price type numeric(10, 1)",
    )
    .await;
    pipeline
        .run(&["resume", "--table=public.notes"])
        .await
        .well();
    same(&pipeline).await;
}

/// Has the notes read once more, and answers the error with which that ended.
async fn read_again(pipeline: &Pipeline, source: &Connection, state: &str) -> String {
    let asked = pipeline.run(&["snapshot", "--table=public.notes"]).await;
    asked.well();
    let last = "select state, coalesce(error, '') from lockstep.snapshots order by id desc limit 1";
    wait::until("the table was read", async || {
        let row = source.query_one(last, &[]).await.expect("read requests");
        match row.get::<_, &str>(0) {
            found if found == state => Ok(row.get(1)),
            found => Err(found.to_owned()),
        }
    })
    .await
}

/// Waits until the notes wait, for this reason.
async fn waits_for(target: &Connection, reason: &str) {
    wait::until("the table waits", async || {
        match held(target).await.as_slice() {
            [one] if one.contains(reason) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// What was made already is made no second time.
async fn by_hand(target: &Connection, change: &str) {
    target
        .batch_execute(change)
        .await
        .expect("change the target");
}

/// Without event triggers, which only a superuser makes.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_come_and_go_are_noticed_without_being_told() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    let made = "create table notes (id int primary key, text text, old int);
                insert into notes select i, i::text, i from generate_series(1, 50) i";
    source.batch_execute(made).await.expect("make a table");
    let _services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    for change in [
        "alter table notes add column price numeric(10, 2) default 7",
        "alter table notes drop column old",
        "alter table notes rename column text to words",
        "insert into notes values (51, 'x', 8)",
    ] {
        source
            .batch_execute(change)
            .await
            .expect("change the source");
    }
    let target = pipeline.target.client().await;
    wait::until("both sides are equal", async || {
        compare::databases(&source, &target)
            .await
            .map_err(|error| format!("{error:#}"))
    })
    .await;
    let names = "select string_agg(attname, ',' order by attname) from pg_attribute
                  where attrelid = 'notes'::regclass and attnum > 0 and not attisdropped";
    let row = target.query_one(names, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "id,price,words");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_change_is_held_waits_and_the_others_go_on() {
    let hold = [
        "--schema-changes-of=ALTER TABLE=hold",
        "--schema-changes-of=DROP TABLE=ignore",
    ];
    let (_server, pipeline, _services) = started(&hold).await;
    let source = pipeline.source.client().await;
    for change in [
        "create table other (id int primary key)",
        "insert into notes values (1, 'a')",
        "begin; insert into notes values (2, 'b'); alter table notes add column more int;
         insert into other values (1); commit",
        "insert into notes values (3, 'c', 3)",
        "insert into other values (2)",
        "create table gone (id int primary key); drop table gone",
    ] {
        source
            .batch_execute(change)
            .await
            .expect("change the source");
    }
    let target = pipeline.target.client().await;
    wait::until("the other table has all rows", async || {
        let rows = target.query("select id from other order by id", &[]).await;
        match rows.map_err(|error| format!("{error:?}"))?.len() {
            2 => Ok(()),
            rows => Err(format!("{rows} rows")),
        }
    })
    .await;
    let waiting = held(&target).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert!(
        waiting[0].starts_with("public.notes: ALTER TABLE at "),
        "{waiting:?}"
    );
    let notes = "select count(*) from notes";
    let notes: i64 = target.query_one(notes, &[]).await.unwrap().get(0);
    assert_eq!(notes, 1, "the transaction of the change waits as a whole");

    let by_hand = "alter table notes add column more int";
    target
        .batch_execute(by_hand)
        .await
        .expect("change the table");
    pipeline
        .run(&["resume", "--table=public.notes"])
        .await
        .well();
    let target_schema = schema_of(&pipeline.target).expect("dump");
    assert!(target_schema.contains("public.gone"), "{target_schema}");
    target.batch_execute("drop table gone").await.unwrap();
    same(&pipeline).await;
}

/// The tables that wait, with the reason.
async fn held(target: &Connection) -> Vec<String> {
    let sql = "select table_schema || '.' || table_name || ': ' || reason
                 from lockstep.held_tables";
    let rows = target.query(sql, &[]).await.expect("read held tables");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_joins_and_leaves_the_publication_while_the_others_go_on() {
    let server = Server::start(&[]).await;
    let pipeline = Pipeline::between(server.database().await, database().await).await;
    let source = pipeline.source.client().await;
    let name = pipeline.name();
    let made = format!(
        "create table notes (id int primary key, text text);
         create table late (id int primary key, text text);
         insert into late select i, 'row ' || i from generate_series(1, 3000) i;
         create publication \"{name}\" for table notes"
    );
    source.batch_execute(&made).await.expect("make tables");
    pipeline.run(&["setup"]).await.well();
    let _services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let join = format!("alter publication \"{name}\" add table late");
    source.batch_execute(&join).await.expect("add a table");
    let more = "insert into late values (0, 'new'); insert into notes values (1, 'a');
                create table unpublished (id int primary key)";
    source.batch_execute(more).await.expect("write");
    let target = pipeline.target.client().await;
    wait::until("the table is there with all rows", async || {
        compare::tables(&source, &target, &["public.late", "public.notes"])
            .await
            .map_err(|error| format!("{error:#}"))
    })
    .await;
    let leave = format!("alter publication \"{name}\" drop table late");
    source.batch_execute(&leave).await.expect("drop a table");
    let more = "insert into late values (-1, 'unseen'); insert into notes values (2, 'b')";
    source.batch_execute(more).await.expect("write");
    wait::until("the other table goes on", async || {
        let rows: i64 = target
            .query_one("select count(*) from notes", &[])
            .await
            .unwrap()
            .get(0);
        if rows == 2 {
            Ok(())
        } else {
            Err(rows.to_string())
        }
    })
    .await;
    let schema = schema_of(&pipeline.target).expect("dump");
    assert!(!schema.contains("unpublished"), "{schema}");
    let late: i64 = target
        .query_one("select count(*) from late", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(late, 3001);
}
