//! The target's tables are made as they are on the source, once.

use testkit::compare;
use testkit::postgres::Connection;

use crate::pipeline::Pipeline;

const SOURCE: &str = r#"
    create schema "other one";
    create type mood as enum ('sad', 'glad');
    create domain percent as int check (value between 0 and 100);
    create function double(int) returns int immutable language sql as 'select $1 * 2';
    create table "other one".parent (id bigint generated always as identity primary key);
    create table child (
        id serial primary key,
        parent bigint references "other one".parent,
        feeling mood not null default 'glad',
        share percent check (share <> 13),
        doubled int generated always as (double(5)) stored,
        note text
    );
    create unique index child_by_note on child (double(id), note) where note is not null;
    create table unrelated_view_base (a int primary key);
    create view not_a_table as select * from child;
    insert into "other one".parent default values;
    insert into child (parent, share, note) values (1, 50, 'a');"#;

#[tokio::test(flavor = "multi_thread")]
async fn tables_stand_on_the_target_as_on_the_source_and_rows_follow() {
    let pipeline = Pipeline::new().await;
    let source = pipeline.source.client().await;
    source.batch_execute(SOURCE).await.unwrap();

    let printed = pipeline.run(&["setup", "--print"]).await.well();
    assert!(printed.contains("create publication"), "{printed}");
    let target = pipeline.target.client().await;
    assert_eq!(
        relations(&target).await,
        Vec::<String>::new(),
        "--print changed something"
    );

    pipeline.run(&["setup"]).await.well();
    let mut expected = relations(&source).await;
    expected.retain(|relation| !relation.contains("not_a_table"));
    let made = relations(&target).await;
    let made: Vec<String> = made
        .into_iter()
        .filter(|it| !it.contains("lockstep"))
        .collect();
    assert_eq!(made, expected);
    assert_eq!(constraints(&target).await, constraints(&source).await);

    // Again: nothing is missing, so nothing is made.
    let again = pipeline.run(&["setup"]).await.well();
    assert!(!again.contains("public.child"), "{again}");

    let (_cdc, _applier) = (pipeline.cdc(), pipeline.applier());
    pipeline.streaming().await;
    source
        .batch_execute("update child set note = 'b'; insert into child (note) values ('c')")
        .await
        .unwrap();
    pipeline.run(&["verify"]).await.well();
    compare::databases(&source, &target).await.unwrap();
}

/// Tables, indexes, sequences and views that somebody made.
async fn relations(client: &Connection) -> Vec<String> {
    list(
        client,
        "select c.relkind::text || ' ' || n.nspname || '.' || c.relname
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where c.oid >= 16384 and n.nspname !~ '^pg_' and n.nspname <> 'lockstep' order by 1",
    )
    .await
}

async fn constraints(client: &Connection) -> Vec<String> {
    list(
        client,
        "select conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid)
           from pg_constraint where conrelid >= 16384
            and connamespace::regnamespace::text <> 'lockstep' order by 1",
    )
    .await
}

async fn list(client: &Connection, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.expect("read the catalog");
    rows.iter().map(|row| row.get(0)).collect()
}
