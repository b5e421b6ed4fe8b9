//! Records that cannot be decoded, set aside.

use applier::dead_letters::{self, Redriven};
use applier::{Conflicts, Policy};
use change::Position;
use change::commit::{CommitKind, PartitionRange};
use testkit::{kafka, registry, wait};

use crate::rig::{Record, Rig, Table, apply};

/// Two tables of the source with rows, whose changes are set aside.
async fn rig(kafka: &str, registry: &str) -> (Rig, Table, Table) {
    let mut rig = Rig::with(kafka, registry).await;
    rig.sql("create table t (id int primary key, v text); create table u (like t including all)")
        .await;
    for table in ["t", "u"] {
        let rows = "select n, 'secret' || n from generate_series(1, 8) n";
        rig.sql(&format!("insert into {table} {rows}")).await;
    }
    rig.config.conflicts = Conflicts {
        conflicts: Policy::DeadLetter,
        table_conflicts: Vec::new(),
    };
    let (t, u) = (rig.table("t", 1).await, rig.table("u", 1).await);
    (rig, t, u)
}

/// A transaction of one record, cut short.
async fn damaged(rig: &mut Rig, table: &Table, row: &Record) -> Vec<u8> {
    let lsn = rig.capture.next_lsn();
    let mut record = rig.capture.data(CommitKind::Stream, &[(lsn, &[])]).await;
    let position = Position {
        commit_lsn: lsn,
        ordinal: 0,
    };
    let mut value = row.encode(rig.capture.epoch, position);
    value.pop();
    let sent = rig
        .capture
        .produce(&table.topic, 0, Some(value.clone()))
        .await;
    let (topic, partition, first_offset) = sent;
    record.partitions = vec![PartitionRange {
        topic,
        partition,
        first_offset,
        end_offset: first_offset + 1,
        records: 1,
    }];
    rig.capture.announce(&record).await;
    value
}

async fn letters(rig: &Rig) -> Vec<(i64, String)> {
    let query = "select id, op || ' ' || error_class || ' ' || state from lockstep.dead_letters \
                 order by commit_lsn, ordinal";
    let rows = rig.target.query(query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_holds_its_table_and_nothing_else_until_it_is_discarded() {
    let (mut rig, t, u) = rig(kafka::bootstrap().await, registry::url().await).await;
    let of_t = rig.creates(&t, "select * from t order by id").await;
    let of_u = rig.creates(&u, "select * from u order by id").await;
    rig.capture.commit(&of_t[..3]).await;
    let value = damaged(&mut rig, &t, &of_t[3]).await;
    rig.capture.commit(&of_u[..4]).await;
    rig.capture.commit(&of_t[4..6]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    // A new one knows it, too.
    applier.stop().await;
    let applier = apply(rig.config.clone());
    rig.capture.commit(&of_t[6..]).await;
    rig.capture.commit(&of_u[4..]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.u"]).await;
    assert_eq!(rig.count("select count(*) from t").await, 3);
    let found = letters(&rig).await;
    let kinds: Vec<&str> = found.iter().map(|(_, kind)| kind.as_str()).collect();
    let follows = ["insert follows open"; 4];
    assert_eq!(kinds[0], "unknown undecodable open");
    assert_eq!(kinds[1..], follows);
    let kept = "select record, error from lockstep.dead_letters where key is null";
    let kept = rig.target.query_one(kept, &[]).await.unwrap();
    assert_eq!(kept.get::<_, Vec<u8>>(0), value);
    let error: &str = kept.get(1);
    assert!(
        error.contains("decode") && error.contains("offset 3"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");

    // It is as damaged as before, whatever is asked for.
    let refused = Redriven {
        applied: 0,
        refused: 1,
        waiting: 4,
    };
    assert_eq!(rig.redrive(&[found[4].0]).await, refused);
    let (target, pipeline) = (&rig.config.target, &rig.config.pipeline);
    let sides = dead_letters::sides(target, pipeline, found[0].0)
        .await
        .unwrap();
    assert!(sides.is_some_and(|sides| sides.is_empty()));
    // Without it, the others are of their keys.
    let discard = "begin; update lockstep.progress set control = control + 1; \
                   update lockstep.dead_letters set state = 'discarded' where key is null; commit";
    rig.target.batch_execute(discard).await.unwrap();
    let applied = Redriven {
        applied: 1,
        refused: 0,
        waiting: 0,
    };
    assert_eq!(rig.redrive(&[found[1].0]).await, applied);
    let rest: Vec<i64> = found[2..].iter().map(|(id, _)| *id).collect();
    assert_eq!(rig.redrive(&rest).await.applied, 3);
    rig.sql("update t set v = 'other' where id = 5; delete from t where id = 4")
        .await;
    let row = rig.row("select * from t where id = 5").await;
    rig.capture.commit(&[t.update(row)]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_published_as_it_is() {
    let (mut rig, t, _) = rig(kafka::bootstrap().await, registry::url().await).await;
    let rows = rig.creates(&t, "select * from t where id = 3").await;
    let value = damaged(&mut rig, &t, &rows[0]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    let (bootstrap, topic) = (rig.config.kafka.clone(), rig.config.prefix.dead_letters());
    let published = wait::until("the letter is published", async || {
        let (bootstrap, topic) = (bootstrap.clone(), topic.clone());
        let read = tokio::task::spawn_blocking(move || kafka::records(&bootstrap, &topic));
        read.await.unwrap().pop().ok_or("nothing")
    })
    .await;
    assert_eq!(published.value, Some(value));
    assert_eq!(published.headers["lockstep.error_class"], "undecodable");
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_waited_for_and_one_that_knows_nothing_is_not() {
    let registry = registry::Server::start().await;
    let (mut rig, t, u) = rig(kafka::bootstrap().await, registry.url()).await;
    let of_u = rig.creates(&u, "select * from u").await;
    rig.capture.commit(&of_u[..4]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    registry.stop().await;
    let of_t = rig.creates(&t, "select * from t order by id").await;
    rig.capture.commit(&of_t[..4]).await;
    wait::until("the registry is missed", async || {
        let failing = applier.monitor.health.failing();
        match failing.iter().any(|(name, _)| *name == "registry") {
            true => Ok(()),
            false => Err(failing),
        }
    })
    .await;
    assert!(letters(&rig).await.is_empty());
    // It lost all, and says so.
    registry.wipe().await;
    registry.restart().await;
    rig.capture.commit(&of_t[4..]).await;
    rig.capture.commit(&of_u[4..]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.u"]).await;
    let found = letters(&rig).await;
    assert_eq!(found.len(), 8);
    let unknown = found
        .iter()
        .all(|(_, kind)| kind == "unknown undecodable open");
    assert!(unknown, "{found:?}");
    // It gets back what it had: ids are given in order.
    assert_eq!(rig.redrive(&[found[0].0]).await.waiting, 7);
    assert_eq!(rig.capture.register(&t.relation, &t.topic).await, t.schema);
    let ids: Vec<i64> = found.iter().map(|(id, _)| *id).collect();
    let applied = Redriven {
        applied: 8,
        refused: 0,
        waiting: 0,
    };
    assert_eq!(rig.redrive(&ids).await, applied);
    rig.sql("delete from t where id = 1").await;
    let row = rig.row("select 1, null::text").await;
    rig.capture.commit(&[t.delete(row)]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_ends_what_a_damaged_record_began() {
    let (mut rig, t, _) = rig(kafka::bootstrap().await, registry::url().await).await;
    let rows = rig.creates(&t, "select * from t order by id").await;
    damaged(&mut rig, &t, &rows[0]).await;
    rig.capture.commit(&rows[1..4]).await;
    rig.capture.commit(&[t.truncate()]).await;
    rig.capture.commit(&rows[4..]).await;
    let applier = rig.apply();
    rig.caught_up().await;
    rig.sql("delete from t where id < 5").await;
    rig.assert_equal(&["public.t"]).await;
    let closed = "select count(*) from lockstep.dead_letters where state <> 'discarded'";
    assert_eq!(rig.count(closed).await, 0);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_place_cannot_be_read_stops() {
    let (mut rig, t, _) = rig(kafka::bootstrap().await, registry::url().await).await;
    let rows = rig.creates(&t, "select * from t where id = 1").await;
    let lsn = rig.capture.next_lsn();
    let mut record = rig.capture.data(CommitKind::Stream, &[(lsn, &rows)]).await;
    let (_, _, offset) = rig.capture.produce(&t.topic, 0, Some(vec![7; 3])).await;
    record.partitions[0].end_offset = offset + 1;
    record.partitions[0].records += 1;
    rig.capture.announce(&record).await;
    let failure = rig.apply().failure().await;
    assert!(failure.contains("wire format"), "{failure}");
    assert!(letters(&rig).await.is_empty());
}
