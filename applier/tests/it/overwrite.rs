//! Conflicts that are resolved in the source's favour.

use applier::{Conflicts, Policy};
use serde_json::Value;
use testkit::wait;

use crate::rig::{Applier, Rig, Table, apply};

/// A table of the source, and one of the same name on the target with more to it.
async fn rig(source: &str, target: &str) -> (Rig, Table) {
    let mut rig = Rig::start().await;
    rig.sql(source).await;
    rig.target.batch_execute(target).await.unwrap();
    rig.config.conflicts = Conflicts {
        conflicts: Policy::Overwrite,
        table_conflicts: Vec::new(),
    };
    let table = rig.table("t", 2).await;
    (rig, table)
}

/// What stands in the audit log: constraint and rows.
async fn overwritten(rig: &Rig) -> Vec<(String, u64)> {
    let query = "select details from lockstep.audit \
                 where who = 'apply' and action = 'overwrite rows' and object = 'public.t' order by id";
    let rows = rig.target.query(query, &[]).await.unwrap();
    let entry = |details: Value| {
        let constraint = details["constraint"].as_str().unwrap().to_owned();
        (constraint, details["rows"].as_u64().unwrap())
    };
    rows.iter().map(|row| entry(row.get(0))).collect()
}

async fn is(rig: &Rig, applier: Applier, expected: &[(&str, u64)]) {
    rig.caught_up().await;
    let expected: Vec<(String, u64)> = expected
        .iter()
        .map(|(constraint, rows)| ((*constraint).to_owned(), *rows))
        .collect();
    assert_eq!(overwritten(rig).await, expected);
    let rows: u64 = expected.iter().map(|(_, rows)| rows).sum();
    let counted = applier.metric("applier_overwritten_rows_total");
    assert_eq!(counted, f64::from(u32::try_from(rows).unwrap()));
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_the_way_give_way_and_all_else_stays() {
    let table = "create table t (id int primary key, v text, w int, unique (v, w))";
    let (mut rig, table) = rig(table, table).await;
    rig.sql("insert into t select n, 'secret' || n, n from generate_series(1, 200) n")
        .await;
    // 1007 is in the way of 7; 1008 only looks like it; and who has no value is in nobody's.
    let foreign = "insert into t values (1007, 'secret7', 7), (1008, 'secret8', 7), \
                   (1009, 'secret9', null), (1100, 'secret100', 100)";
    rig.target.batch_execute(foreign).await.unwrap();
    let all = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&all).await;
    let applier = rig.apply();
    is(&rig, applier, &[("t_v_w_key", 1), ("t_v_w_key", 1)]).await;
    assert_eq!(rig.count("select count(*) from t where id > 1000").await, 2);
    rig.sql("insert into t values (1008, 'secret8', 7), (1009, 'secret9', null)")
        .await;
    rig.assert_equal(&["public.t"]).await;
    let audit = "select count(*) from lockstep.audit a where a::text like '%secret%'";
    assert_eq!(rig.count(audit).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_of_every_kind_says_which_rows_give_way() {
    let source = "create table t (id int primary key, v text, n int, r int4range)";
    let target = "create table t (id int primary key, v text, n int, r int4range, \
            twice int generated always as (n * 2) stored, tenant int default 5, \
            constraint apart exclude using gist (r with &&) where (id <> 50)); \
        create unique index folded on t (lower(v)) where n > 0; \
        create unique index one_null on t (twice, (n is null)) nulls not distinct; \
        create unique index tenants on t (tenant, v collate \"C\")";
    let (mut rig, table) = rig(source, target).await;
    rig.sql(
        "insert into t values (1, 'ADA', 1, '[1,5)'), (2, 'bob', -2, '[5,9)'), \
                              (3, 'cy', null, '[20,30)'), (4, 'dan', -4, null)",
    )
    .await;
    let foreign = "insert into t (id, v, n, r, tenant) values \
        (100, 'ada', 7, '[100,101)', 1), (101, 'ADA', -7, '[101,102)', 1), \
        (102, 'x', -8, '[6,7)', 1), (103, 'y', -9, '[8,9)', 1), (50, 'z', -10, '[5,9)', 1), \
        (104, 'u', null, '[104,105)', 1), \
        (105, 'dan', -11, '[105,106)', 5), (106, 'dan', -12, '[106,107)', 6)";
    rig.target.batch_execute(foreign).await.unwrap();
    for id in 1..=4 {
        let query = format!("select * from t where id = {id}");
        let rows = rig.creates(&table, &query).await;
        rig.capture.commit(&rows).await;
    }
    let applier = rig.apply();
    let expected = [("folded", 1), ("apart", 2), ("one_null", 1), ("tenants", 1)];
    is(&rig, applier, &expected).await;
    let left = "select count(*) from t where id in (101, 50, 106)";
    assert_eq!(rig.count(left).await, 3);
    assert_eq!(rig.count("select count(*) from t").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_and_moves_overwrite_and_keep_what_they_do_not_bring() {
    let source = "create table t (id int primary key, v text, big text)";
    let target = "create table t (id int primary key, v text, big text, own text default 'mine', \
                  unique (v), unique (big, own))";
    let (mut rig, table) = rig(source, target).await;
    rig.sql("insert into t values (1, 'a', 'large'), (2, 'b', 'larger')")
        .await;
    let all = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&all).await;
    let applier = rig.apply();
    rig.caught_up().await;
    applier.stop().await;
    let foreign = "update t set own = 'kept' where id = 1; \
                   insert into t values (8, 'c', 'x', 'y'), (9, 'd', 'z', 'y')";
    rig.target.batch_execute(foreign).await.unwrap();
    // One whose value is taken, without the column that it did not touch; and one that moves to a key
    // and to a value that are taken.
    rig.sql("update t set v = 'c' where id = 1").await;
    let first = table.update(rig.row("select * from t where id = 1").await);
    let before = rig.row("select * from t where id = 2").await;
    rig.sql("update t set id = 9, v = 'e' where id = 2").await;
    let moved = table.update(rig.row("select * from t where id = 9").await);
    let moved = moved.before(before);
    rig.capture.commit(&[first.without(&["big"]), moved]).await;
    let applier = rig.apply();
    is(&rig, applier, &[("t_v_key", 1), ("t_pkey", 1)]).await;
    let kept = "select count(*) from t where (id, v, big, own) = (1, 'c', 'large', 'kept')";
    assert_eq!(rig.count(kept).await, 1);
    let drop = "alter table t drop column own";
    rig.target.batch_execute(drop).await.unwrap();
    rig.assert_equal(&["public.t"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_partitions_and_of_tables_without_a_key_give_way() {
    let source = "create table t (id int, v text); alter table t replica identity full";
    let target = "create table t (id int, v text, unique (id, v)) partition by range (id); \
                  create table t_low partition of t for values from (0) to (10); \
                  create table t_high partition of t for values from (10) to (20)";
    let (mut rig, table) = rig(source, target).await;
    rig.sql("insert into t values (1, 'a'), (11, 'b')").await;
    let foreign = "insert into t values (1, 'a'), (11, 'b'), (12, 'b')";
    rig.target.batch_execute(foreign).await.unwrap();
    let all = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&all).await;
    let applier = rig.apply();
    let expected = [("t_low_id_v_key", 1), ("t_high_id_v_key", 1)];
    is(&rig, applier, &expected).await;
    assert_eq!(rig.count("select count(*) from t").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_row_is_in_the_way_of_stops() {
    let table = "create table t (id int primary key, v text)";
    let target = "create table t (id int primary key, v text, constraint no_third check (id <> 3))";
    let (mut rig, table) = rig(table, target).await;
    rig.sql("insert into t select n, 'secret' || n from generate_series(1, 4) n")
        .await;
    let all = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&all).await;
    let failure = rig.apply().failure().await;
    assert!(failure.contains("no_third"), "{failure}");
    assert!(!failure.contains("secret"), "{failure}");
    // Neither does what another table refuses, which a trigger writes to.
    let other = "alter table t drop constraint no_third; \
        create table log (v text unique); insert into log values ('secret2'); \
        create function note() returns trigger language plpgsql as \
            'begin insert into log values (new.v); return new; end'; \
        create trigger note after insert on t for each row execute function note(); \
        alter table t enable always trigger note";
    rig.target.batch_execute(other).await.unwrap();
    let failure = rig.apply().failure().await;
    assert!(failure.contains("log_v_key"), "{failure}");
    assert_eq!(rig.count("select count(*) from t").await, 0);
    assert!(overwritten(&rig).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_hand_a_value_on_do_not_push_each_other_out() {
    let table = "create table t (id int primary key, v int unique)";
    let (mut rig, table) = rig(table, table).await;
    rig.sql("insert into t values (1, 1), (2, 2), (3, 3)").await;
    let all = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&all).await;
    rig.target
        .batch_execute("insert into t values (9, 3)")
        .await
        .unwrap();
    let mut changes = Vec::new();
    for sql in [
        "update t set v = 0 where id = 1",
        "update t set v = 1 where id = 2",
        "update t set v = 2 where id = 1",
    ] {
        rig.sql(sql).await;
        let id = sql.rsplit(' ').next().unwrap();
        let row = rig.row(&format!("select * from t where id = {id}")).await;
        changes.push(table.update(row));
    }
    rig.capture.commit(&changes).await;
    let applier = rig.apply();
    is(&rig, applier, &[("t_v_key", 1)]).await;
    rig.assert_equal(&["public.t"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_rows_give_way_the_target_ends_as_the_source() {
    let table = "create table t (id int primary key, v int unique)";
    let (mut rig, table) = rig(table, table).await;
    rig.config.batch_rows = 7;
    rig.sql("insert into t select n, n from generate_series(1, 400) n")
        .await;
    let foreign = "insert into t select 1000 + n, n from generate_series(1, 400, 3) n";
    rig.target.batch_execute(foreign).await.unwrap();
    let all = rig.creates(&table, "select * from t order by id").await;
    for changes in all.chunks(40) {
        rig.capture.commit(changes).await;
    }
    // Each is killed when the one before has come a step further.
    let mut applier = rig.apply();
    for step in 1..=4 {
        wait::until("some transactions are applied", async || {
            match rig.count("select count(*) from t where id <= 1000").await {
                applied if applied >= step * 80 => Ok(()),
                applied => Err(applied),
            }
        })
        .await;
        applier.kill().await;
        applier = apply(rig.config.clone());
    }
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    let rows: u64 = overwritten(&rig).await.iter().map(|(_, rows)| rows).sum();
    assert_eq!(rows, 134);
    applier.stop().await;
}
