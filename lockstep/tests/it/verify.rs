//! What `verify` takes for equal, what it names, and what it repairs.

use serde_json::Value;
use testkit::process::Process;

use crate::pipeline::Pipeline;

const TABLE: &str = "
    create table t (id int primary key, f8 float8, f4 float4, n numeric, t text, b bytea, j json,
                    at timestamptz, d date, i interval, m money, a float8[], r numrange);
    create table keyless (a text, b int); alter table keyless replica identity full;
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

struct Pair {
    pipeline: Pipeline,
    _services: [Process; 2],
}

/// Both sides with the same rows, which on the target lie in another order and, for one table, in
/// other columns.
async fn pair() -> Pair {
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
    pipeline.run(&["setup"]).await.well();
    let services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let elsewhere = "update t set t = t; delete from keyless where a = 'y';
                     insert into keyless (a, b) values ('y', null)";
    target.batch_execute(elsewhere).await.expect("move rows");
    Pair {
        pipeline,
        _services: services,
    }
}

#[tokio::test]
async fn equal_rows_are_equal_in_whatever_order_they_lie() {
    let Pair {
        pipeline,
        _services,
    } = pair().await;
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
async fn every_change_of_a_value_is_a_difference_and_is_named() {
    let Pair {
        pipeline,
        _services,
    } = pair().await;
    let target = pipeline.target.client().await;
    for (change, named) in [
        (
            "update t set f8 = 0.10000000000000002 where id = 2",
            "different: id = 2: f8",
        ),
        ("update t set f8 = '-0' where id = 3", "id = 3: f8"),
        ("update t set f4 = 0.10000001 where id = 2", "id = 2: f4"),
        ("update t set n = 1.5 where id = 3", "id = 3: n"),
        ("update t set t = '' where id = 2", "id = 2: t"),
        (
            "update t set t = null, b = '' where id = 1",
            "different: id = 1: t, b\n",
        ),
        (r#"update t set j = '{"a": 1, "a": 2}' where id = 1"#, ": j"),
        (
            "update t set at = '2026-02-28 23:59:59.999998+02' where id = 2",
            ": at",
        ),
        ("update t set i = '24:00:00' where id = 1", ": i"),
        ("update t set m = 12.51 where id = 1", ": m"),
        ("update t set a = '{1,nan}' where id = 1", ": a"),
        ("update t set r = '[1.5,2)' where id = 1", ": r"),
        (
            "update t set id = 4 where id = 3",
            "1 missing, 1 extra, 0 different",
        ),
        ("delete from t where id = 2", "missing: id = 2\n"),
        ("insert into t (id) values (9)", "extra: id = 9\n"),
        (
            "insert into keyless (a, b) values ('x', 1)",
            "0 missing, 1 extra, 0 different",
        ),
        (
            "delete from keyless where ctid in (select ctid from keyless where a = 'x' limit 1)",
            "1 missing, 0 extra, 0 different",
        ),
        (
            "update keyless set a = 'xx' where a = 'x'",
            "2 missing, 2 extra, 0 different",
        ),
        ("update named set c = 7654322::regclass", "id = 1: c"),
        ("truncate keyless", "4 missing, 0 extra, 0 different"),
        (
            "alter table keyless drop column b",
            "source 4 rows, target has no column b",
        ),
        (
            "drop table named",
            "source 1 rows, target has no such table",
        ),
    ] {
        target.batch_execute(KEEP).await.expect("keep a copy");
        target.batch_execute(change).await.expect(change);
        let ran = pipeline.run(&["verify"]).await;
        assert_eq!(ran.code, Some(1), "{change}: {ran:?}");
        assert!(ran.stdout.contains("DIFFERENT"), "{change}: {ran:?}");
        assert!(ran.stdout.contains(named), "{change}: {ran:?}");
        assert!(ran.stdout.contains("different at "), "{change}: {ran:?}");
        target.batch_execute(RESTORE).await.expect(change);
        pipeline.run(&["verify"]).await.well();
    }
}

/// Rows of every kind of value, all wrong, too many and too few; the target's own columns stay.
#[tokio::test]
async fn what_differs_is_repaired_to_the_byte() {
    let Pair {
        pipeline,
        _services,
    } = pair().await;
    let (source, target) = (
        pipeline.source.client().await,
        pipeline.target.client().await,
    );
    let wrong = "
        alter table t add own text; update t set own = 'kept';
        update t set f8 = 7, f4 = 7, n = 7, t = '7', b = '7', j = '7', at = now(), d = now(),
                     i = '7 days', m = 7, a = '{7}', r = '[7,8)';
        update t set id = 70 where id = 2; delete from t where id = 3;
        insert into t (id, t) select i, 'extra' from generate_series(1000, 1999) i;
        update named set c = 5::regclass, cs = null";
    target.batch_execute(wrong).await.expect("spoil rows");
    let said = pipeline
        .run(&[
            "verify",
            "--repair",
            "--limit=2000",
            "--who=ann",
            "--reason=why not",
        ])
        .await
        .well();
    for text in [
        "public.t: DIFFERENT, source 3 rows, target 1002 rows; 2 missing, 1001 extra, 1 different",
        "different: id = 1: f8, f4, n, t, b, j, at, d, i, m, a, r\n",
        "repaired 1005 rows; compared again:\n",
        "public.t: equal, 3 rows\n",
        "\nequal at ",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    target
        .batch_execute("alter table t rename own to tmp")
        .await
        .unwrap();
    let own = "select string_agg(tmp, ',') from t where id = 1";
    let own: String = target.query_one(own, &[]).await.unwrap().get(0);
    assert_eq!(own, "kept");
    target
        .batch_execute("alter table t drop tmp")
        .await
        .unwrap();
    testkit::compare::tables(&source, &target, &["public.t", "public.named"])
        .await
        .unwrap();
    let history = pipeline
        .run(&["verify", "--history", "--json"])
        .await
        .well();
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history[0]["equal"], true, "{history}");
    assert_eq!(history[0]["rows_different"], 1005, "{history}");
    assert_eq!(history[0]["rows_repaired"], 1005, "{history}");
    let said = pipeline.run(&["verify", "--history"]).await.well();
    assert!(said.contains("1005 different, 1005 repaired"), "{said}");
    let log = "select sum((details ->> 'rows')::int8)::int8 from lockstep.audit
                where who = 'ann' and reason = 'why not' and action = 'verify --repair'";
    let logged: i64 = target.query_one(log, &[]).await.unwrap().get(0);
    assert_eq!(logged, 1005);
}

#[tokio::test]
async fn rows_without_a_key_and_refused_rows_are_told() {
    let Pair {
        pipeline,
        _services,
    } = pair().await;
    let target = pipeline.target.client().await;
    let wrong = "
        insert into keyless (a, b) values ('x', 1);
        delete from t where id = 1; alter table t add check (id <> 1)";
    target.batch_execute(wrong).await.expect("spoil rows");
    let ran = pipeline.run(&["verify", "--repair"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for text in [
        "NOT REPAIRED: table public.keyless has no key",
        "NOT REPAIRED: table public.t: SQLSTATE 23514, table t, constraint t_id_check",
        "repaired 0 rows",
        "\ndifferent at ",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {ran:?}");
    }
}

#[tokio::test]
async fn tables_that_apply_leaves_behind_are_not_called_equal() {
    let Pair {
        pipeline,
        _services,
    } = pair().await;
    let target = pipeline.target.client().await;
    let hold = "
        with held as (insert into lockstep.held_tables
            (pipeline, table_schema, table_name, commit_lsn, commits_offset, cause, reason, held_by)
            select pipeline, 'public', 't', commit_lsn, commits_offset, 'operator', 'a test', 'ann'
              from lockstep.progress where pipeline = $1)
        update lockstep.progress set control = control + 1 where pipeline = $1";
    target.execute(hold, &[&pipeline.name()]).await.unwrap();
    let ran = pipeline.run(&["verify", "--json"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["equal"], false, "{report}");
    let table = &report["tables"][2];
    assert_eq!(table["table"], "public.t", "{report}");
    let why = table["not_compared"].as_str().unwrap();
    assert!(why.contains(" by ann: a test"), "{report}");
    assert_eq!(report["tables"][0]["equal"], true, "{report}");

    let pause = "
        with held as (insert into lockstep.control (pipeline, paused) values ($1, true)
            on conflict (pipeline) do update set paused = true)
        update lockstep.progress set control = control + 1 where pipeline = $1";
    target.execute(pause, &[&pipeline.name()]).await.unwrap();
    let ran = pipeline.run(&["verify"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("apply is paused"), "{ran:?}");
}

/// More blocks than are hashed at once: one row fills one.
#[tokio::test]
async fn a_large_table_is_compared_to_its_last_row() {
    let pipeline = Pipeline::new().await;
    let (source, target) = (
        pipeline.source.client().await,
        pipeline.target.client().await,
    );
    let create = "create table wide (id int primary key, filler text);
                  alter table wide alter filler set storage plain";
    for side in [&source, &target] {
        side.batch_execute(create).await.unwrap();
    }
    let rows = "insert into wide select i, repeat('x', 5000) from generate_series(1, 9000) i";
    source.batch_execute(rows).await.unwrap();
    let _services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.wide: equal, 9000 rows"), "{said}");
    // One on each side of where the ranges meet, and the two ends.
    for id in [1, 4096, 4097, 8192, 8193, 9000] {
        let change = "update wide set filler = 'y' || filler where id = $1";
        target.execute(change, &[&id]).await.unwrap();
        let ran = pipeline.run(&["verify", "--readers=3"]).await;
        let named = format!("different: id = {id}: filler\n");
        assert!(
            ran.stdout.contains("public.wide: DIFFERENT, 9000 rows") && ran.stdout.contains(&named),
            "{id}: {ran:?}"
        );
        let undo = "update wide set filler = substr(filler, 2) where id = $1";
        target.execute(undo, &[&id]).await.unwrap();
    }
    pipeline.run(&["verify"]).await.well();
}

#[tokio::test]
async fn partitioned_tables_are_compared_and_repaired() {
    let pipeline = Pipeline::new().await;
    let (source, target) = (
        pipeline.source.client().await,
        pipeline.target.client().await,
    );
    let create = "
        create table parted (a int, b text, primary key (a, b)) partition by list (a);
        create table parted_1 partition of parted for values in (1);
        create table parted_2 partition of parted for values in (2)";
    for side in [&source, &target] {
        side.batch_execute(create).await.unwrap();
    }
    let rows = "insert into parted select 1 + i % 2, i from generate_series(1, 500) i";
    source.batch_execute(rows).await.unwrap();
    let publication = format!(
        "create publication {} for table parted with (publish_via_partition_root = true)",
        pipeline.name()
    );
    source.batch_execute(&publication).await.unwrap();
    let _services = [pipeline.cdc(), pipeline.applier()];
    pipeline.streaming().await;
    let said = pipeline.run(&["verify"]).await.well();
    assert!(said.contains("public.parted: equal, 500 rows"), "{said}");
    let wrong = "delete from parted where b = '7'; insert into parted values (1, 'more')";
    target.batch_execute(wrong).await.unwrap();
    let said = pipeline.run(&["verify", "--repair"]).await.well();
    for text in [
        "1 missing, 1 extra, 0 different",
        "missing: a = 2, b = 7\n",
        "extra: a = 1, b = more\n",
        "repaired 2 rows",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
}
