//! What `verify` takes for equal. No capture runs: the target claims to have applied everything.

use crate::pipeline::Pipeline;

const APPLIED: &str = "
    insert into lockstep.progress (pipeline, epoch, commit_lsn, commits_offset, system_id, timeline,
                                   slot, phase, commit_time)
    values ($1, 1, 'FFFFFFFF/FFFFFFFF', 0, '', 1, '', 'streaming', now())";

const TABLE: &str = "
    create table t (id int primary key, f8 float8, f4 float4, n numeric, t text, b bytea, j json,
                    at timestamptz, d date, i interval, m money, a float8[], r numrange);
    create table keyless (a text, b int);
    create table named (id int primary key, c regclass, cs regclass[])";

const ROWS: &str = r#"
    insert into t values
        (1, 'nan', '-infinity', 'nan', '', '\x00ff', '{"a": 1,  "a": 2}', 'infinity',
         '0044-03-15 BC', '1 day', 12.5, '[2:3]={1,nan}', '[1.50,2)'),
        (2, 0.1, 0.1, 1e-300, null, null, null, '2026-02-28 23:59:59.999999+02', null, null, null,
         null, 'empty'),
        (3, 0, 0, 1.50, E'a\tb\\"(,)', '', '1', '1900-01-01', 'infinity', '-1 mon +3 days', 0, '{}',
         null);
    insert into keyless values ('x', 1), ('x', 1), ('y', null), ('', null);
    insert into named select 1, 7654321, '{7654321,-}'"#;

/// The command has sessions of its own, which see only what is committed; so a copy is what undoes a
/// change.
const KEEP: &str = "
    create schema kept;
    create table kept.t as table t; create table kept.keyless as table keyless;
    create table kept.named as table named";
const RESTORE: &str = "
    drop table t; drop table keyless; drop table if exists named;
    alter table kept.t set schema public; alter table kept.keyless set schema public;
    alter table kept.named set schema public; drop schema kept";

/// Both sides with the same rows, which on the target lie in another order and, for one table, in
/// other columns.
async fn pair() -> Pipeline {
    let pipeline = Pipeline::new().await;
    let (source, target) = (
        pipeline.source.client().await,
        pipeline.target.client().await,
    );
    source.batch_execute(TABLE).await.expect("create tables");
    target.batch_execute(TABLE).await.expect("create tables");
    let moved = "drop table keyless; create table keyless (own int, b int, a text)";
    target.batch_execute(moved).await.expect("create a table");
    source.batch_execute(ROWS).await.expect("insert rows");
    let other = ROWS.replace("into keyless values", "into keyless (a, b) values");
    target.batch_execute(&other).await.expect("insert rows");
    let elsewhere = "update t set t = t; delete from keyless where a = 'y';
                     insert into keyless (a, b) values ('y', null)";
    target.batch_execute(elsewhere).await.expect("move rows");
    pipeline.run(&["setup"]).await.well();
    target
        .execute(APPLIED, &[&pipeline.name()])
        .await
        .expect("claim progress");
    pipeline
}

#[tokio::test]
async fn equal_rows_are_equal_in_whatever_order_they_lie() {
    let pipeline = pair().await;
    // The settings of whoever asks do not matter.
    let target = pipeline.target.client().await;
    let odd = format!(
        "alter database {name} set timezone = 'Asia/Kolkata';
         alter database {name} set datestyle = 'German';
         alter database {name} set intervalstyle = 'iso_8601';
         alter database {name} set bytea_output = 'escape';
         alter database {name} set extra_float_digits = 0",
        name = pipeline.target.name()
    );
    target.batch_execute(&odd).await.unwrap();
    let said = pipeline.run(&["verify"]).await.well();
    for table in [
        "public.t: equal, 3 rows",
        "public.keyless: equal, 4 rows",
        "public.named: equal",
    ] {
        assert!(said.contains(table), "{said}");
    }
}

#[tokio::test]
async fn every_change_of_a_value_is_a_difference() {
    let pipeline = pair().await;
    let target = pipeline.target.client().await;
    for change in [
        "update t set f8 = 0.10000000000000002 where id = 2",
        "update t set f8 = '-0' where id = 3",
        "update t set f4 = 0.10000001 where id = 2",
        "update t set n = 1.5 where id = 3",
        "update t set t = '' where id = 2",
        "update t set t = null where id = 1",
        "update t set b = '' where id = 2",
        r#"update t set j = '{"a": 1, "a": 2}' where id = 1"#,
        "update t set at = '2026-02-28 23:59:59.999998+02' where id = 2",
        "update t set i = '24:00:00' where id = 1",
        "update t set m = 12.51 where id = 1",
        "update t set a = '{1,nan}' where id = 1",
        "update t set r = '[1.5,2)' where id = 1",
        "update t set id = 4 where id = 3",
        "delete from t where id = 2",
        "insert into keyless (a, b) values ('x', 1)",
        "delete from keyless where ctid in (select ctid from keyless where a = 'x' limit 1)",
        "update keyless set a = 'xx' where a = 'x'",
        "update named set c = 7654322::regclass",
        "truncate keyless",
        "alter table keyless drop column b",
        "drop table named",
    ] {
        target.batch_execute(KEEP).await.expect("keep a copy");
        target.batch_execute(change).await.expect(change);
        let ran = pipeline.run(&["verify"]).await;
        assert_eq!(ran.code, Some(1), "{change}: {ran:?}");
        assert!(ran.stdout.contains("DIFFERENT"), "{change}: {ran:?}");
        assert!(ran.stdout.contains("different at "), "{change}: {ran:?}");
        target.batch_execute(RESTORE).await.expect(change);
        pipeline.run(&["verify"]).await.well();
    }
}

/// More blocks than are hashed at once: one row fills one.
#[tokio::test]
async fn a_large_table_is_compared_to_its_last_row() {
    const ROWS: &str = "insert into wide select i, repeat('x', 5000) from generate_series";
    let pipeline = Pipeline::new().await;
    let (source, target) = (
        pipeline.source.client().await,
        pipeline.target.client().await,
    );
    for (side, order) in [(&source, "(1, 17000) i"), (&target, "(17000, 1, -1) i")] {
        let create = "create table wide (id int primary key, filler text);
                      alter table wide alter filler set storage plain";
        side.batch_execute(create).await.unwrap();
        side.batch_execute(&format!("{ROWS}{order}")).await.unwrap();
    }
    pipeline.run(&["setup"]).await.well();
    target.execute(APPLIED, &[&pipeline.name()]).await.unwrap();
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.wide: equal, 17000 rows"), "{said}");
    // One on each side of where the ranges meet, and the two ends.
    for id in [1, 616, 617, 17_000] {
        let change = "update wide set filler = 'y' || filler where id = $1";
        target.execute(change, &[&id]).await.unwrap();
        let ran = pipeline.run(&["verify"]).await;
        assert!(
            ran.stdout.contains("public.wide: DIFFERENT, 17000 rows"),
            "{id}: {ran:?}"
        );
        let undo = "update wide set filler = substr(filler, 2) where id = $1";
        target.execute(undo, &[&id]).await.unwrap();
    }
    pipeline.run(&["verify"]).await.well();
}
