//! What each operation does to the target.

use change::commit::{CommitKind, PartitionRange};

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_created_updated_and_deleted() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key, body text not null, n numeric(10,2))")
        .await;
    let table = rig.table("t", 3).await;
    let applier = rig.apply();

    rig.sql("insert into t select n, 'row ' || n, n * 1.5 from generate_series(1, 20) n")
        .await;
    let created = rig.creates(&table, "select * from t order by id").await;
    rig.capture.commit(&created).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;

    let gone = rig.rows("select * from t where id <= 5").await;
    rig.sql("delete from t where id <= 5; update t set body = 'new', n = null where id > 15")
        .await;
    let mut changes: Vec<_> = gone.into_iter().map(|row| table.delete(row)).collect();
    let updated = rig.rows("select * from t where id > 15").await;
    changes.extend(updated.into_iter().map(|row| table.update(row)));
    rig.capture.commit(&changes).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;

    let not_null = "select count(*) from pg_attribute where attrelid = 't'::regclass \
                    and attname in ('id', 'body') and attnotnull";
    assert_eq!(rig.count(not_null).await, 2);
    assert!(applier.metric("applier_rows_total") >= 30.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_toasted_value_stays() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key, big text, small int)")
        .await;
    rig.sql("insert into t select n, repeat(n::text, 9000), n from generate_series(1, 3) n")
        .await;
    let table = rig.table("t", 2).await;
    let created = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&created).await;
    let applier = rig.apply();
    rig.caught_up().await;

    // Alone; then within one transaction with a change of the value before it.
    rig.sql("update t set small = 10 where id = 1").await;
    let update = table.update(rig.row("select * from t where id = 1").await);
    rig.capture.commit(&[update.without(&["big"])]).await;
    rig.sql("update t set big = 'now short' where id = 2").await;
    let first = table.update(rig.row("select * from t where id = 2").await);
    rig.sql("update t set small = null where id = 2").await;
    let second = table.update(rig.row("select * from t where id = 2").await);
    rig.capture.commit(&[first, second.without(&["big"])]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_moves_to_another_key_keeps_what_did_not_travel() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key, big text, small int)")
        .await;
    rig.sql("insert into t select n, repeat(n::text, 9000), n from generate_series(1, 3) n")
        .await;
    let table = rig.table("t", 4).await;
    let created = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&created).await;
    let applier = rig.apply();
    rig.caught_up().await;

    let old = rig
        .row("select id, null::text, null::int from t where id = 1")
        .await;
    rig.sql("update t set id = 11 where id = 1").await;
    let moved = table.update(rig.row("select * from t where id = 11").await);
    let moved = moved.without(&["big"]).before(old.clone());
    rig.capture.commit(&[moved, table.delete(old)]).await;
    // A complete row travels as a delete and a create.
    let old = rig
        .row("select id, null::text, null::int from t where id = 2")
        .await;
    rig.sql("update t set id = 12, big = 'x' where id = 2")
        .await;
    let new = table.create(rig.row("select * from t where id = 12").await);
    rig.capture.commit(&[table.delete(old), new]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_rows_without_a_key_exactly_one_goes() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (a int, b json, c numeric)").await;
    rig.sql(
        r#"insert into t values (1, '{"x":1}', 1.0), (1, '{"x":1}', 1.0), (1, '{"x":1}', 1.00),
           (null, null, null), (null, null, null), (2, null, 'NaN')"#,
    )
    .await;
    let table = rig.table("t", 2).await;
    let created = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&created).await;
    let applier = rig.apply();
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;

    let one = rig
        .row("select * from t where c::text = '1.0' limit 1")
        .await;
    let null = rig.row("select * from t where a is null limit 1").await;
    rig.sql(
        "delete from t where ctid in ((select min(ctid) from t where a is null), \
             (select min(ctid) from t where c::text = '1.0'))",
    )
    .await;
    let changes = [table.delete(one), table.delete(null)];
    rig.capture.commit(&changes).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    assert_eq!(applier.metric("applier_missing_rows_total"), 0.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncates_keep_their_place_and_take_referring_tables_together() {
    let mut rig = Rig::start().await;
    let schema = "create table parent (id int primary key); \
                  create table child (id int primary key, parent int references parent)";
    rig.sql(schema).await;
    rig.target.batch_execute(schema).await.unwrap();
    let (parent, child) = (rig.table("parent", 2).await, rig.table("child", 2).await);
    let row = rig.row("select 1").await;
    let child_row = rig.row("select 1, 1").await;
    let later = rig.row("select 2").await;
    let applier = rig.apply();
    rig.capture
        .commit(&[parent.create(row.clone()), child.create(child_row)])
        .await;
    rig.capture
        .commit(&[
            parent.create(later.clone()),
            parent.truncate(),
            child.truncate(),
            parent.create(row),
        ])
        .await;
    rig.sql("insert into parent values (1)").await;
    rig.caught_up().await;
    rig.assert_equal(&["public.parent", "public.child"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_value_may_go_from_row_to_row() {
    let mut rig = Rig::start().await;
    let schema = "create table t (id int primary key, u int unique)";
    rig.sql(schema).await;
    rig.target.batch_execute(schema).await.unwrap();
    rig.sql("insert into t values (1, 10), (2, 20)").await;
    let table = rig.table("t", 2).await;
    let created = rig.creates(&table, "select * from t").await;
    rig.capture.commit(&created).await;
    let applier = rig.apply();
    rig.caught_up().await;

    let mut swap = Vec::new();
    for (id, u) in [(1, 30), (2, 10), (1, 20)] {
        rig.sql(&format!("update t set u = {u} where id = {id}"))
            .await;
        let row = rig.row(&format!("select * from t where id = {id}")).await;
        swap.push(table.update(row));
    }
    rig.capture.commit(&swap).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    assert!(applier.metric("applier_conflicts_total") >= 1.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_starts_again_starts_from_nothing() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key, v text)").await;
    let table = rig.table("t", 2).await;
    rig.sql("insert into t values (1, 'a'), (2, 'b')").await;
    let chunk = |rows: Vec<_>| rows.into_iter().map(|row| table.read(row));
    let first: Vec<_> = [table.truncate()]
        .into_iter()
        .chain(chunk(rig.rows("select * from t").await))
        .collect();
    let lsn = rig.capture.next_lsn();
    rig.capture
        .batch(CommitKind::SnapshotChunk, &[(lsn, &first)])
        .await;
    let applier = rig.apply();
    rig.caught_up().await;
    let phase = rig.progress().await.unwrap().phase;
    assert_eq!(phase, applier::progress::Phase::Snapshotting);

    // The row that the first try read is gone when the second one starts.
    rig.capture.epoch = 2;
    rig.sql("delete from t where id = 1; insert into t values (3, 'c')")
        .await;
    let second: Vec<_> = [table.truncate()]
        .into_iter()
        .chain(chunk(rig.rows("select * from t").await))
        .collect();
    let lsn = rig.capture.next_lsn();
    rig.capture
        .batch(CommitKind::SnapshotChunk, &[(lsn, &second)])
        .await;
    rig.capture.batch(CommitKind::SnapshotComplete, &[]).await;
    rig.sql("insert into t values (4, 'd')").await;
    let created = rig.creates(&table, "select * from t where id = 4").await;
    rig.capture.commit(&created).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    let progress = rig.progress().await.unwrap();
    assert_eq!(progress.phase, applier::progress::Phase::Streaming);
    assert_eq!(progress.epoch, 2);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_passed_over() {
    let mut rig = Rig::start().await;
    rig.sql("create table t (id int primary key); insert into t values (1)")
        .await;
    let table = rig.table("t", 1).await;
    let rows = rig.creates(&table, "select * from t").await;
    let lsn = rig.capture.next_lsn();
    let mut record = rig
        .capture
        .data(CommitKind::Stream, &[(lsn, &rows[..])])
        .await;
    // There is no such topic: fetching it would not end.
    record.partitions.push(PartitionRange {
        topic: format!("{}.messages", rig.capture.prefix()),
        partition: 0,
        first_offset: 0,
        end_offset: 3,
        records: 3,
    });
    rig.capture.announce(&record).await;
    let applier = rig.apply();
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}
