//! What the applier does not skip: it stops and says why.

use change::Position;
use change::commit::CommitKind;
use change::framing::SchemaId;
use testkit::registry;

use crate::rig::{Record, Rig, Table, apply};

async fn rig_with_table() -> (Rig, Table) {
    let rig = Rig::start().await;
    rig.sql("create table t (id int primary key, v text)").await;
    rig.sql("insert into t select n, 'secret' || n from generate_series(1, 10) n")
        .await;
    let table = rig.table("t", 1).await;
    (rig, table)
}

async fn rows(rig: &Rig, table: &Table) -> Vec<Record> {
    rig.creates(table, "select * from t order by id").await
}

#[track_caller]
fn assert_says(failure: &str, words: &[&str]) {
    for word in words {
        assert!(failure.contains(word), "{word:?} is not in: {failure}");
    }
    assert!(!failure.contains("secret"), "row values in: {failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_and_a_dead_writers_records_are_no_part_of_anything() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    rig.capture.epoch = 2;
    // Half a batch whose writer died.
    let orphan = rig.capture.data(CommitKind::Stream, &[]).await;
    assert!(orphan.partitions.is_empty());
    let lsn = rig.capture.next_lsn();
    for (ordinal, row) in (0..).zip(&rows) {
        let position = Position {
            commit_lsn: lsn,
            ordinal,
        };
        rig.capture.send(row, 1, position).await;
    }
    rig.capture.commit(&rows[..4]).await;
    // Late records between those of the living writer, then a late commits record over them.
    let lsn = rig.capture.next_lsn();
    let first = rig
        .capture
        .send(
            &rows[4],
            2,
            Position {
                commit_lsn: lsn,
                ordinal: 0,
            },
        )
        .await;
    let late = Position {
        commit_lsn: lsn,
        ordinal: 1,
    };
    rig.capture.send(&rows[8], 1, late).await;
    rig.capture
        .send(
            &rows[4],
            2,
            Position {
                commit_lsn: lsn,
                ordinal: 0,
            },
        )
        .await;
    let last = rig.capture.send(&rows[5], 2, late).await;
    let mut record = rig.capture.data(CommitKind::Stream, &[(lsn, &[])]).await;
    record.partitions = vec![change::commit::PartitionRange {
        topic: table.topic.clone(),
        partition: 0,
        first_offset: first.2,
        end_offset: last.2 + 1,
        records: 2,
    }];
    let mut dead = record.clone();
    dead.epoch = 1;
    dead.commit_lsn = change::Lsn::new(5);
    rig.capture.announce(&dead).await;
    rig.capture.announce(&record).await;

    let applier = rig.apply();
    rig.caught_up().await;
    rig.sql("delete from t where id > 6").await;
    rig.assert_equal(&["public.t"]).await;
    assert_eq!(applier.metric("applier_ignored_commits_total"), 1.0);
    // What stands before the first covered offset is not even read.
    assert_eq!(applier.metric("applier_orphan_records_total"), 2.0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_records_stop() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    let lsn = rig.capture.next_lsn();
    let mut record = rig
        .capture
        .data(CommitKind::Stream, &[(lsn, &rows[..3])])
        .await;
    record.partitions[0].records += 1;
    rig.capture.announce(&record).await;
    // With a record behind the range, and without one.
    let silent = rig.apply();
    let failure = silent.failure().await;
    assert_says(
        &failure,
        &["missing", &table.topic, "partition 0", "offsets 0 to 3"],
    );
    rig.capture.commit(&rows[3..]).await;
    let failure = rig.apply().failure().await;
    assert_says(&failure, &["1 of 4 records", &table.topic]);
    assert!(rig.progress().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_and_forks_of_the_chain_stop() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows[..3]).await;
    let applied = rig.capture.previous;
    let applier = rig.apply();
    rig.caught_up().await;
    let lost = rig.capture.next_lsn();
    rig.capture.previous = lost;
    rig.capture.commit(&rows[3..5]).await;
    let failure = applier.failure().await;
    assert_says(
        &failure,
        &[&applied.to_string(), &lost.to_string(), "missing"],
    );
    assert_eq!(rig.progress().await.unwrap().commit_lsn, applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_source_stops() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows[..3]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    rig.capture.system_id = "7000000000000000002".to_owned();
    rig.capture.epoch = 2;
    rig.capture.commit(&rows[3..5]).await;
    let failure = applier.failure().await;
    assert_says(&failure, &["system identifier", "7000000000000000002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_records_stop_with_their_place() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows[..3]).await;
    let lsn = rig.capture.next_lsn();
    let mut record = rig.capture.data(CommitKind::Stream, &[(lsn, &[])]).await;
    let position = Position {
        commit_lsn: lsn,
        ordinal: 0,
    };
    let mut value = rows[3].encode(1, position);
    value.pop();
    let (_, _, offset) = rig.capture.produce(&table.topic, 0, Some(value)).await;
    record.partitions = vec![change::commit::PartitionRange {
        topic: table.topic.clone(),
        partition: 0,
        first_offset: offset,
        end_offset: offset + 1,
        records: 1,
    }];
    rig.capture.announce(&record).await;
    let failure = rig.apply().failure().await;
    assert_says(&failure, &["decode", &table.topic, "offset 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_table_is_refused() {
    let (mut rig, table) = rig_with_table().await;
    rig.sql("create table other (id int primary key, v text)")
        .await;
    let other = rig.table("other", 1).await;
    let stranger = Table {
        topic: table.topic.clone(),
        ..other
    };
    let rows = rig.creates(&stranger, "select * from t").await;
    rig.capture.commit(&rows).await;
    let failure = rig.apply().failure().await;
    assert_says(&failure, &[&table.topic, "public.other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_stops() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows).await;
    for (target, words) in [
        (
            "create table t (id int primary key)",
            &["public.t", "column v", "add it", "\"v\" text"][..],
        ),
        (
            "create table t (id int primary key, v int)",
            &["column v", "integer", "text"],
        ),
        ("create table t (id int, v text)", &["unique index", "(id)"]),
        (
            "create view t as select 1 as id",
            &["public.t", "not a table"],
        ),
    ] {
        rig.target.batch_execute(target).await.unwrap();
        let failure = rig.apply().failure().await;
        assert_says(&failure, words);
        let kind = if target.contains("view") {
            "view"
        } else {
            "table"
        };
        rig.target
            .batch_execute(&format!("drop {kind} t"))
            .await
            .unwrap();
    }
    let applier = rig.apply();
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_stops_with_its_place_and_without_values() {
    let (mut rig, table) = rig_with_table().await;
    rig.target
        .batch_execute(
            "create table t (id int primary key, v text unique); \
                        insert into t values (100, 'secret5')",
        )
        .await
        .unwrap();
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows).await;
    let failure = rig.apply().failure().await;
    assert_says(&failure, &["public.t", "offset 4", "23505", "t_v_key"]);
    assert_eq!(rig.count("select count(*) from t").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_schema_is_noticed() {
    let registry = registry::Server::start().await;
    let mut rig = Rig::with(testkit::kafka::bootstrap().await, registry.url()).await;
    rig.sql("create table t (id int primary key, v text)").await;
    rig.sql("insert into t values (1, 'a'), (2, 'b')").await;
    let table = rig.table("t", 1).await;
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows[..1]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    applier.stop().await;

    // Away: what the target has is enough.
    registry.stop().await;
    rig.capture.commit(&rows[1..]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;

    registry.wipe().await;
    registry.restart().await;
    let mut other = table.relation.clone();
    other.columns[1].not_null = true;
    let id = rig.capture.register(&other, &table.topic).await;
    assert_eq!(id, table.schema);
    rig.capture.commit(&rows[..1]).await;
    let failure = rig.apply().failure().await;
    assert_says(&failure, &["schema 1", "fingerprint", &table.topic]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_applier_is_fenced() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows[..2]).await;
    let mut first = rig.apply();
    rig.caught_up().await;
    let mut second = apply(rig.config.clone());
    // Once both see the same record, one of them finds the progress moved.
    for at in (2..10).cycle() {
        rig.capture.commit(&rows[at..=at]).await;
        rig.caught_up().await;
        if first.task.is_finished() || second.task.is_finished() {
            break;
        }
    }
    rig.capture.commit(&rows[2..]).await;
    rig.caught_up().await;
    let (lost, won) = tokio::select! {
        ended = &mut first.task => (ended, second),
        ended = &mut second.task => (ended, first),
    };
    let failure = service::chain(&lost.unwrap().unwrap_err());
    assert_says(&failure, &["another applier has taken over"]);
    rig.assert_equal(&["public.t"]).await;
    won.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_schema_is_waited_for_with_its_name() {
    let (mut rig, table) = rig_with_table().await;
    let unknown = Table {
        schema: SchemaId(4_000_000),
        ..table
    };
    let rows = rig.creates(&unknown, "select * from t").await;
    rig.capture.commit(&rows).await;
    let applier = rig.apply();
    testkit::wait::until("the registry is named", async || {
        let failing = applier.monitor.health.failing();
        let registry = failing.iter().find(|(name, _)| *name == "registry");
        match registry {
            Some((_, text)) if text.contains("4000000") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_stops() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    rig.capture.commit(&rows).await;
    rig.capture.delete_topic(&table.topic).await;
    let failure = rig.apply().failure().await;
    assert_says(&failure, &[&table.topic, "partition 0", "is gone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commits_topic_that_was_made_anew_stops() {
    let (mut rig, table) = rig_with_table().await;
    let rows = rows(&rig, &table).await;
    for at in 0..4 {
        rig.capture.commit(&rows[at..=at]).await;
    }
    let applier = rig.apply();
    rig.caught_up().await;
    applier.stop().await;
    let prefix = rig.capture.prefix().to_owned();
    rig.capture.delete_topic(&format!("{prefix}.commits")).await;
    rig.capture.rename(&prefix).await;
    rig.capture.commit(&rows[4..5]).await;
    let failure = rig.apply().failure().await;
    assert_says(&failure, &[&prefix, "ends at offset 1, before 4"]);
}
