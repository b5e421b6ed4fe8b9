//! Changes that the target refuses, set aside.

use applier::dead_letters::{self, Redriven};
use applier::{Conflicts, Policy};
use change::commit::CommitKind;

use crate::rig::{Applier, Rig, Table, apply};

/// A table whose rows of id 3 the target refuses, with an applier that sets them aside.
struct Refusing {
    rig: Rig,
    table: Table,
    applier: Applier,
}

impl Refusing {
    async fn start() -> Self {
        let mut rig = Rig::start().await;
        rig.sql("create table t (id int primary key, v text)").await;
        rig.sql("insert into t select n, 'secret' || n from generate_series(1, 8) n")
            .await;
        let table = rig.table("t", 2).await;
        rig.config.conflicts = Conflicts {
            conflicts: Policy::DeadLetter,
            table_conflicts: Vec::new(),
        };
        rig.target
            .batch_execute(
                "create table t (id int primary key, v text, constraint no_third check (id <> 3))",
            )
            .await
            .unwrap();
        let applier = rig.apply();
        Self {
            rig,
            table,
            applier,
        }
    }

    async fn letters(&self) -> Vec<(i64, String, String)> {
        let query =
            "select id, op || ' ' || error_class, state from lockstep.dead_letters order by id";
        let rows = self.rig.target.query(query, &[]).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }

    async fn redrive(&self) -> Redriven {
        let first = self.letters().await[0].0;
        self.rig.redrive(&[first]).await
    }

    async fn allow(&self) {
        let allow = "alter table t drop constraint no_third";
        self.rig.target.batch_execute(allow).await.unwrap();
    }
}

/// Many changes are written by way of a stage, which outlives what the target refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_few_that_are_refused_are_found_among_many() {
    let mut refusing = Refusing::start().await;
    let rig = &mut refusing.rig;
    rig.sql("insert into t select n, 'more' || n from generate_series(9, 600) n")
        .await;
    let all = rig
        .creates(&refusing.table, "select * from t where id <> 3 order by id")
        .await;
    rig.capture.commit(&all).await;
    rig.caught_up().await;
    let check = "alter table t add constraint no_change check (v <> 'new' or id not in (70, 333))";
    rig.target.batch_execute(check).await.unwrap();
    rig.sql("update t set v = 'new' where id <> 3").await;
    let rows = rig.rows("select * from t where id <> 3 order by id").await;
    let updates: Vec<_> = rows
        .into_iter()
        .map(|row| refusing.table.update(row))
        .collect();
    rig.capture.commit(&updates).await;
    rig.caught_up().await;
    let new = "select count(*) from t where v = 'new'";
    assert_eq!(rig.count(new).await, 597);
    assert_eq!(refusing.letters().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_is_set_aside_with_all_that_follow_it_until_it_is_redriven() {
    let mut refusing = Refusing::start().await;
    let rig = &mut refusing.rig;
    let all = rig
        .creates(&refusing.table, "select * from t order by id")
        .await;
    rig.capture.commit(&all[..5]).await;
    rig.caught_up().await;
    assert_eq!(rig.count("select count(*) from t").await, 4);
    // A new one knows what is held, and other keys go on.
    refusing.applier.stop().await;
    refusing.applier = apply(rig.config.clone());
    rig.sql("update t set v = 'other' where id in (2, 3)").await;
    let rows = rig
        .rows("select * from t where id in (2, 3) order by id")
        .await;
    let updates: Vec<_> = rows
        .into_iter()
        .map(|row| refusing.table.update(row))
        .collect();
    rig.capture.commit(&updates).await;
    rig.capture.commit(&all[5..]).await;
    rig.caught_up().await;
    assert_eq!(
        rig.count("select count(*) from t where v = 'other'").await,
        1
    );
    let kinds: Vec<String> = refusing
        .letters()
        .await
        .into_iter()
        .map(|(_, kind, _)| kind)
        .collect();
    assert_eq!(kinds, ["insert conflict", "update follows"]);
    // It is refused again as long as the target is as it was.
    let refused = Redriven {
        applied: 0,
        refused: 1,
        waiting: 1,
    };
    assert_eq!(refusing.redrive().await, refused);
    refusing.allow().await;
    let applied = Redriven {
        applied: 2,
        refused: 0,
        waiting: 0,
    };
    assert_eq!(refusing.redrive().await, applied);
    refusing.rig.assert_equal(&["public.t"]).await;
    // And the key flows again.
    let rig = &mut refusing.rig;
    rig.sql("update t set v = 'again' where id = 3").await;
    let row = rig.row("select * from t where id = 3").await;
    rig.capture.commit(&[refusing.table.update(row)]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    assert!(
        refusing
            .letters()
            .await
            .iter()
            .all(|(_, _, state)| state == "applied")
    );
    refusing.applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_letter_wants_stands_beside_what_is_there() {
    let mut refusing = Refusing::start().await;
    let rig = &mut refusing.rig;
    let rows = rig
        .creates(&refusing.table, "select * from t where id = 3")
        .await;
    rig.capture.commit(&rows).await;
    rig.caught_up().await;
    let id = refusing.letters().await[0].0;
    refusing.allow().await;
    refusing
        .rig
        .target
        .batch_execute("insert into t values (3, 'mine')")
        .await
        .unwrap();
    let (target, pipeline) = (&refusing.rig.config.target, &refusing.rig.config.pipeline);
    let sides = dead_letters::sides(target, pipeline, id).await.unwrap();
    let sides = sides.expect("a letter");
    assert_eq!(sides[1].column, "v");
    assert_eq!(sides[1].wanted.as_deref(), Some("secret3"));
    assert_eq!(sides[1].present.as_deref(), Some("mine"));
    assert!(sides[0].is_key && !sides[1].is_key);
    let none = dead_letters::sides(target, pipeline, id + 1).await.unwrap();
    assert!(none.is_none());
    refusing.applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_closes_what_was_set_aside_before() {
    let mut refusing = Refusing::start().await;
    let rig = &mut refusing.rig;
    let all = rig
        .creates(&refusing.table, "select * from t order by id")
        .await;
    rig.capture.commit(&all[..3]).await;
    rig.capture.commit(&[refusing.table.truncate()]).await;
    rig.capture.commit(&all[5..]).await;
    rig.caught_up().await;
    let letters = refusing.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].2, "discarded");
    assert_eq!(refusing.rig.count("select count(*) from t").await, 3);
    refusing.applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_applied_in_parts_sets_aside_as_well() {
    let mut refusing = Refusing::start().await;
    let rig = &mut refusing.rig;
    refusing.applier.stop().await;
    rig.config.batch_rows = 2;
    refusing.applier = apply(rig.config.clone());
    let all = rig
        .creates(&refusing.table, "select * from t order by id")
        .await;
    let (first, second) = (rig.capture.next_lsn(), rig.capture.next_lsn());
    let transactions = [(first, &all[..7]), (second, &all[7..])];
    rig.capture.batch(CommitKind::Stream, &transactions).await;
    rig.caught_up().await;
    assert_eq!(rig.count("select count(*) from t").await, 7);
    assert_eq!(refusing.letters().await.len(), 1);
    refusing.applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_name_no_value() {
    let mut refusing = Refusing::start().await;
    let rig = &mut refusing.rig;
    let rows = rig
        .creates(&refusing.table, "select * from t where id = 3")
        .await;
    rig.capture.commit(&rows).await;
    rig.caught_up().await;
    let query = "select error || coalesce(constraint_name, '') from lockstep.dead_letters";
    let text: String = rig.target.query_one(query, &[]).await.unwrap().get(0);
    assert!(text.contains("no_third"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    refusing.applier.stop().await;
}
