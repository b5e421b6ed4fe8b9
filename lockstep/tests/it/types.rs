//! Domains, enums and composite types that change while rows of them flow.

use crate::schema_changes::{same, started};

/// Each a transaction of its own, with rows between that only the type of then takes.
const TYPES: &[&str] = &[
    "create schema shop",
    "create domain shop.percent as numeric(5, 2) default 50 not null
        constraint in_range check (value between 0 and 100)",
    "create domain code as text collate \"C\"",
    "create type mood as enum ('sad', 'glad')",
    "create domain feeling as mood default 'sad'",
    // Postgres lets nobody change the constraints of a domain that is a part of another type.
    "create domain word as text collate \"C\" check (value <> '')",
    "create type price as (amount numeric, currency word)",
    "create table goods (id int primary key, share shop.percent, code code, feeling feeling,
        price price, words word[])",
    "insert into goods values (1, 5, 'a', 'glad', (1.5, 'EUR'), '{a,b}')",
    "alter domain code set default 'none'",
    "alter domain code add constraint is_short check (length(value) < 9) not valid",
    "alter domain code validate constraint is_short",
    "alter domain code rename constraint is_short to short",
    "insert into goods (id, code) values (2, 'b')",
    "alter domain shop.percent drop not null",
    "insert into goods (id, share) values (3, null)",
    "begin; delete from goods where share is null; alter domain shop.percent set not null; commit",
    "alter domain shop.percent drop default",
    "alter domain shop.percent drop constraint in_range",
    "insert into goods (id, share) values (4, 200)",
    "alter domain shop.percent rename to part",
    "insert into goods (id, share) values (5, 7)",
    "alter schema shop rename to store",
    "insert into goods (id, share) values (6, 8)",
    "alter domain store.part set schema public",
    "insert into goods (id, share) values (7, 9)",
    "alter type mood rename to spirit",
    "alter type spirit add value 'wild'",
    "insert into goods (id, share, feeling) values (8, 9, 'wild')",
    "alter type price rename attribute amount to sum",
    "alter type price add attribute at date",
    "insert into goods (id, share, price) values (9, 9, (2, 'EUR', '2026-01-01'))",
    "alter type price drop attribute currency",
    "alter type price rename to cost",
    "insert into goods (id, share, price) values (10, 9, (3, '2026-02-02'))",
    "alter table goods rename constraint goods_pkey to goods_key",
    "alter table goods add constraint a check (id > 0) not valid",
    "alter table goods validate constraint a",
    "begin; alter table goods drop column feeling; drop domain feeling; drop type spirit; commit",
    "create domain one as int",
    "create domain two as one check (value > 2)",
    "create domain three as two",
    "drop domain one cascade",
    // What is in it depends on what else is in it, in a circle, and has others that depend on it.
    "create schema full_one; create table full_one.a (id int primary key);
     create domain full_one.one as int; create domain full_one.two as full_one.one;
     create table full_one.b (id int primary key, a int references full_one.a, two full_one.two);
     alter table full_one.a add column b int references full_one.b;
     create table outside (id int primary key, b int references full_one.b, two full_one.two);
     insert into outside values (1, null, 2)",
    "drop schema full_one cascade",
    "insert into outside values (2)",
    "drop schema store",
];

#[tokio::test(flavor = "multi_thread")]
async fn types_change_at_their_places() {
    let (_server, pipeline, _services) = started(&[]).await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    for change in TYPES {
        // Capture finds no type in the catalog that is gone from there.
        if change.contains("drop ") {
            pipeline.caught_up(&source, &target).await;
        }
        let changed = source.batch_execute(change).await;
        changed.unwrap_or_else(|error| panic!("{change}: {error:?}"));
    }
    same(&pipeline).await;
    pipeline.run(&["verify"]).await.well();
}

/// The catalog of now does not have it; records before have told what it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_gone_when_capture_comes_to_its_rows_is_what_it_was() {
    let (_server, pipeline, mut services) = started(&[]).await;
    let source = pipeline.source.client().await;
    let target = pipeline.target.client().await;
    let made = "create type mood as enum ('sad', 'glad');
                create table goods (id int primary key, mood mood);
                insert into goods values (1, 'sad')";
    source.batch_execute(made).await.expect("make a table");
    pipeline.caught_up(&source, &target).await;
    services[0].kill_9();
    for change in [
        "insert into goods values (2, 'glad'); delete from goods where id = 1",
        "alter table goods drop column mood; drop type mood",
        "insert into goods values (3)",
    ] {
        let changed = source.batch_execute(change).await;
        changed.unwrap_or_else(|error| panic!("{change}: {error:?}"));
    }
    services[0].restart();
    same(&pipeline).await;
}
