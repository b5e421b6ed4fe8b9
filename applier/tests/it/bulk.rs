//! Many rows: COPY, the stage, transactions larger than what is held at once.

use change::commit::CommitKind;

use crate::rig::{Record, Rig};

const WIDE: &str = "create table t (id int primary key, code char(5), flags bit(4), name varchar(20), \
     amount numeric(12,3), at timestamptz, tags text[], access aclitem)";
const ROWS: &str = "insert into t select n, 'c' || n % 90, (n % 16)::bit(4), 'name ' || n, n / 7.0, \
     'epoch'::timestamptz + n * interval '1 h', array['a', null, n::text], \
     case when n % 3 = 0 then '=r/postgres'::aclitem end from generate_series(1, 3000) n";
/// As capture sees it: a type that has no binary form comes as text.
const SELECT: &str = "select id, code, flags, name, amount, at, tags, access::text from t";

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_of_all_kinds_of_change_arrive() {
    let mut rig = Rig::start().await;
    rig.sql(WIDE).await;
    rig.sql(ROWS).await;
    let table = rig.table("t", 4).await;
    let applier = rig.apply();
    let created = rig.creates(&table, SELECT).await;
    rig.capture.commit(&created).await;
    rig.caught_up().await;
    rig.assert_equal_text("t").await;

    // Deletes, complete updates and two kinds of partial ones, each more than few.
    let gone = rig.rows(&format!("{SELECT} where id <= 500")).await;
    rig.sql(
        "delete from t where id <= 500; \
         update t set name = 'new', access = null where id between 501 and 1000; \
         update t set name = 'part' where id between 1001 and 1500; \
         update t set code = 'zzz', access = '=w/postgres' where id between 1501 and 2000",
    )
    .await;
    let mut changes: Vec<Record> = gone.into_iter().map(|row| table.delete(row)).collect();
    for (range, unchanged) in [
        ("501 and 1000", &[][..]),
        ("1001 and 1500", &["tags", "amount"]),
        ("1501 and 2000", &["tags"]),
    ] {
        let rows = rig
            .rows(&format!("{SELECT} where id between {range}"))
            .await;
        changes.extend(
            rows.into_iter()
                .map(|row| table.update(row).without(unchanged)),
        );
    }
    rig.capture.commit(&changes).await;
    rig.caught_up().await;
    rig.assert_equal_text("t").await;
    assert_eq!(applier.metric("applier_missing_rows_total"), 0.0);
    assert_eq!(applier.metric("applier_conflicts_total"), 0.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_that_are_there_already_are_overwritten() {
    let mut rig = Rig::start().await;
    let schema = "create table t (id int primary key, v text)";
    rig.sql(schema).await;
    rig.sql("insert into t select n, 'v' || n from generate_series(1, 1000) n")
        .await;
    rig.target.batch_execute(schema).await.unwrap();
    rig.target
        .batch_execute("insert into t select n, 'old' from generate_series(500, 700) n")
        .await
        .unwrap();
    let table = rig.table("t", 3).await;
    let created = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&created).await;
    let applier = rig.apply();
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    assert_eq!(applier.metric("applier_conflicts_total"), 1.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_equal_rows_without_a_key_are_counted() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (a int, j json, n numeric, access aclitem)")
        .await;
    let insert = "insert into t select n % 7, json_build_object('n', n % 3), \
                  case n % 2 when 0 then 1.0 else 1.00 end, \
                  case n % 5 when 0 then '=r/postgres'::aclitem end \
                  from generate_series(1, 2000) n";
    rig.sql(insert).await;
    let select = "select a, j, n, access::text from t";
    let table = rig.table("t", 3).await;
    let created = rig.creates(&table, select).await;
    rig.capture.commit(&created).await;
    let applier = rig.apply();
    rig.caught_up().await;
    let victims = "select ctid from (select ctid, row_number() over \
                   (partition by a, j::text, n::text, access::text) k from t) x where k <= 5";
    let where_victims = format!("{select} where ctid in ({victims})");
    let gone = rig.rows(&where_victims).await;
    assert!(gone.len() > 300, "{}", gone.len());
    rig.sql(&format!("delete from t where ctid in ({victims})"))
        .await;
    let changes: Vec<Record> = gone.into_iter().map(|row| table.delete(row)).collect();
    rig.capture.commit(&changes).await;
    rig.caught_up().await;
    rig.assert_equal_text("t").await;
    assert_eq!(applier.metric("applier_missing_rows_total"), 0.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_what_is_held_is_seen_whole() {
    let mut rig = Rig::start().await;
    rig.config.batch_rows = 100;
    let schema = "create table t (id int primary key, u int unique)";
    rig.sql(schema).await;
    rig.target.batch_execute(schema).await.unwrap();
    let table = rig.table("t", 5).await;
    rig.sql("insert into t select n, n from generate_series(1, 2500) n")
        .await;
    let mut changes = rig.creates(&table, "select * from t order by id").await;
    // Near the end two rows exchange a unique value, which must not undo what came before.
    for (id, u) in [(2490, -1), (2491, 2490), (2490, 2491)] {
        rig.sql(&format!("update t set u = {u} where id = {id}"))
            .await;
        changes.push(table.update(rig.row(&format!("select * from t where id = {id}")).await));
    }
    let applier = rig.apply();
    let mut seen = Vec::new();
    rig.capture.commit(&changes).await;
    testkit::wait::until("the whole transaction", async || {
        let exists = rig
            .count("select count(*) from pg_class where relname = 't'")
            .await;
        assert_eq!(exists, 1);
        let rows = rig.count("select count(*) from t").await;
        seen.push(rows);
        if rows == 2500 { Ok(()) } else { Err(rows) }
    })
    .await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    assert!(seen.iter().all(|rows| [0, 2500].contains(rows)), "{seen:?}");
    assert!(applier.metric("applier_conflicts_total") >= 1.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_many_tables_and_partitions_arrives() {
    let mut rig = Rig::start().await;
    rig.config.prefetch_megabytes = 1;
    let mut names = Vec::new();
    let mut tables = Vec::new();
    for at in 0..25 {
        rig.sql(&format!(
            "create table t{at} (id int primary key, body text); insert into t{at} \
             select n, repeat(md5(n::text), 10) from generate_series(1, 400) n"
        ))
        .await;
        names.push(format!("public.t{at}"));
        tables.push(rig.table(&format!("t{at}"), 4).await);
    }
    let applier = rig.apply();
    let lsn = rig.capture.next_lsn();
    // The first commits record covers one table, some rows of it, and the other one all that there is
    // beside: records of all partitions are merged, with little room.
    let mut first: Vec<Record> = Vec::new();
    let mut rest: Vec<Record> = Vec::new();
    for id in 0..4 {
        for (at, table) in tables.iter().enumerate() {
            let rows = rig
                .rows(&format!("select * from t{at} where id % 4 = {id}"))
                .await;
            let chunk = match (at, id) {
                (0, 0) => &mut first,
                _ => &mut rest,
            };
            chunk.extend(rows.into_iter().map(|row| table.read(row)));
        }
    }
    for chunk in [&first, &rest] {
        rig.capture
            .batch(CommitKind::SnapshotChunk, &[(lsn, chunk)])
            .await;
    }
    rig.capture.batch(CommitKind::SnapshotComplete, &[]).await;
    testkit::wait::until("the snapshot", async || {
        let phase = rig.progress().await.map(|progress| progress.phase);
        match phase {
            Some(applier::progress::Phase::Streaming) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    rig.assert_equal(&names).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_rows_of_one_transaction_are_held_in_part() {
    const ROWS: f64 = 200_000.0;
    let mut rig = Rig::start().await;
    rig.config.prefetch_megabytes = 4;
    rig.sql(
        "create table t (id int primary key, body text, n numeric(10,2)); \
         insert into t select n, md5(n::text), n from generate_series(1, 200000) n",
    )
    .await;
    let table = rig.table("t", 4).await;
    let created = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&created).await;
    drop(created);
    let applier = rig.apply();
    testkit::wait::until("the metrics are there", async || {
        let families = applier.monitor.metrics.gather();
        let mut names = families.iter().map(prometheus::proto::MetricFamily::name);
        match names.any(|name| name == "applier_prefetched_bytes") {
            true => Ok(()),
            false => Err("not yet"),
        }
    })
    .await;
    let mut prefetched: f64 = 0.0;
    testkit::wait::until("all rows are applied", async || {
        prefetched = prefetched.max(applier.metric("applier_prefetched_bytes"));
        match applier.metric("applier_batches_total") {
            0.0 => Err(applier.metric("applier_rows_total")),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(applier.metric("applier_rows_total"), ROWS);
    assert_eq!(applier.metric("applier_batches_total"), 1.0);
    // Three quarters of the setting wait here, and what one fetch of each partition may bring beyond it.
    assert!(prefetched < 4.0 * 1024.0 * 1024.0, "{prefetched}");
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}
