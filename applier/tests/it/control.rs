//! What operators tell a running applier.

use applier::control;
use change::Lsn;
use change::commit::CommitKind;
use testkit::wait;
use tokio_postgres::types::PgLsn;

use crate::rig::{Applier, Record, Rig, Table};

async fn rig_with_rows(count: u32) -> (Rig, Table, Vec<Record>) {
    let rig = Rig::start().await;
    rig.sql("create table t (id int primary key, v text)").await;
    let rows = format!("insert into t select n, 'v' || n from generate_series(1, {count}) n");
    rig.sql(&rows).await;
    let table = rig.table("t", 2).await;
    let rows = rig.creates(&table, "select * from t order by id").await;
    (rig, table, rows)
}

impl Rig {
    /// Changes the rules as an operator does: `sql` has the pipeline as its only parameter.
    async fn rule(&self, sql: &str) {
        let mut client = self.target_database.client().await;
        let transaction = client.transaction().await.unwrap();
        let pipeline = &self.config.pipeline;
        let progress = control::take(&transaction, pipeline).await.unwrap();
        assert!(progress.is_some(), "something was applied before");
        transaction.execute(sql, &[pipeline]).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn reaches(&self, lsn: Lsn) {
        wait::until("the target is there", async || {
            match self.progress().await {
                Some(progress) if progress.commit_lsn == lsn => Ok(()),
                other => Err(other.map(|progress| progress.commit_lsn)),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_applier_applies_nothing_until_it_is_resumed() {
    let (mut rig, _, rows) = rig_with_rows(3).await;
    let applier = rig.apply();
    rig.capture.commit(&rows[..1]).await;
    rig.caught_up().await;
    rig.rule("insert into lockstep.control (pipeline, paused) values ($1, true)")
        .await;
    let before = rig.progress().await.unwrap();
    rig.capture.commit(&rows[1..2]).await;
    is_paused(&applier).await;
    assert_eq!(rig.progress().await.unwrap(), before);
    // A new one reads the rules before it does anything.
    applier.stop().await;
    let applier = rig.apply();
    is_paused(&applier).await;
    assert_eq!(rig.progress().await.unwrap(), before);
    rig.rule("update lockstep.control set paused = false where pipeline = $1")
        .await;
    rig.capture.commit(&rows[2..]).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

async fn is_paused(applier: &Applier) {
    wait::until("apply knows that it is paused", async || {
        let families = applier.monitor.metrics.gather();
        let known = families
            .iter()
            .any(|family| family.name() == "applier_paused");
        match known && applier.metric("applier_paused") > 0.0 {
            true => Ok(()),
            false => Err("it does not"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_is_held_inside_a_commits_record_and_goes_on_there_after_a_crash() {
    let (mut rig, _, rows) = rig_with_rows(7).await;
    let applier = rig.apply();
    rig.capture.commit(&rows[..1]).await;
    rig.caught_up().await;
    let lsns: Vec<Lsn> = (0..3).map(|_| rig.capture.next_lsn()).collect();
    hold(&rig, lsns[1]).await;
    let transactions = [
        (lsns[0], &rows[1..3]),
        (lsns[1], &rows[3..5]),
        (lsns[2], &rows[5..6]),
    ];
    rig.capture.batch(CommitKind::Stream, &transactions).await;
    rig.reaches(lsns[1].just_before()).await;
    assert_eq!(rig.count("select count(*) from t").await, 3);
    let progress = rig.progress().await.unwrap();
    assert!(
        progress.chain_lsn < lsns[0],
        "the record is not applied whole"
    );
    // Who comes after a crash holds too, and does what is left of the record once.
    applier.kill().await;
    let applier = rig.apply();
    rig.capture.commit(&rows[6..]).await;
    rig.reaches(lsns[1].just_before()).await;
    rig.rule("update lockstep.control set hold_lsn = null, hold_until = null where pipeline = $1")
        .await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    let progress = rig.progress().await.unwrap();
    assert_eq!(progress.chain_lsn, progress.commit_lsn);
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_by_itself() {
    let (mut rig, _, rows) = rig_with_rows(3).await;
    let applier = rig.apply();
    rig.capture.commit(&rows[..1]).await;
    rig.caught_up().await;
    let lsn = rig.capture.next_lsn();
    hold(&rig, lsn).await;
    rig.capture
        .batch(CommitKind::Stream, &[(lsn, &rows[1..])])
        .await;
    rig.reaches(lsn.just_before()).await;
    rig.rule("update lockstep.control set hold_until = clock_timestamp() where pipeline = $1")
        .await;
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

async fn hold(rig: &Rig, lsn: Lsn) {
    let lsn = PgLsn::from(lsn.as_u64());
    rig.rule(&format!(
        "insert into lockstep.control (pipeline, hold_lsn, hold_until) \
         values ($1, '{lsn}', clock_timestamp() + '1 h')"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_applied_while_an_operators_transaction_is_open() {
    let (mut rig, _, rows) = rig_with_rows(2).await;
    let applier = rig.apply();
    rig.capture.commit(&rows[..1]).await;
    rig.caught_up().await;
    let mut operator = rig.target_database.client().await;
    let transaction = operator.transaction().await.unwrap();
    let pipeline = &rig.config.pipeline;
    control::take(&transaction, pipeline).await.unwrap();
    rig.capture.commit(&rows[1..]).await;
    let blocked = "select count(*) from pg_locks l join pg_stat_activity a using (pid) \
                   where not l.granted and a.application_name = 'lockstep applier' \
                   and a.datname = current_database()";
    wait::until("apply waits for the operator", async || {
        match rig.count(blocked).await {
            0 => Err("it does not"),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(rig.count("select count(*) from t").await, 1);
    transaction.commit().await.unwrap();
    rig.caught_up().await;
    rig.assert_equal(&["public.t"]).await;
    applier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_table_waits_while_the_others_go_on() {
    let (mut rig, _, rows) = rig_with_rows(2).await;
    rig.sql("create table u (id int primary key)").await;
    rig.sql("insert into u values (1)").await;
    let other = rig.table("u", 1).await;
    let others = rig.creates(&other, "select * from u").await;
    let applier = rig.apply();
    rig.capture.commit(&rows[..1]).await;
    rig.caught_up().await;
    rig.rule(
        "insert into lockstep.held_tables (pipeline, table_schema, table_name, commit_lsn, \
         commits_offset, cause, reason, held_by) \
         select pipeline, 'public', 't', commit_lsn, commits_offset, 'operator', 'a test', 'me' \
           from lockstep.progress where pipeline = $1",
    )
    .await;
    rig.capture.commit(&rows[1..]).await;
    rig.capture.commit(&others).await;
    rig.caught_up().await;
    rig.assert_equal(&["public.u"]).await;
    assert_eq!(rig.count("select count(*) from t").await, 1);
    assert_eq!(applier.metric("applier_held_tables"), 1.0);
    applier.stop().await;
}
