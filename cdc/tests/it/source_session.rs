//! Commands against a real server.

use cdc::source::{SlotLife, SourceError};
use change::Lsn;
use testkit::wait;

use crate::source_fixture::{Fixture, within};

#[tokio::test]
async fn the_system_identifies_itself() {
    let fixture = Fixture::new("").await;
    let mut session = fixture.session().await;
    let before = flush_lsn(&fixture).await;
    let system = within(session.identify_system()).await.unwrap();
    let row = fixture
        .client
        .query_one(
            "select system_identifier::text, timeline_id::text \
             from pg_control_system(), pg_control_checkpoint()",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(system.system_id.to_string(), row.get::<_, &str>(0));
    assert_eq!(system.timeline.to_string(), row.get::<_, &str>(1));
    assert_eq!(system.database, fixture.database.name());
    assert!(system.flush_lsn >= before);
}

#[tokio::test]
async fn a_new_slot_exports_the_state_that_its_stream_follows_on() {
    let fixture = Fixture::new("create table t (id int); insert into t values (1)").await;
    let mut session = fixture.session().await;
    let created = within(session.create_slot(&fixture.slot, SlotLife::Permanent))
        .await
        .unwrap();
    fixture
        .client
        .batch_execute("insert into t values (2)")
        .await
        .unwrap();

    let mut reader = fixture.database.client().await;
    let transaction = reader
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    let take = format!("set transaction snapshot '{}'", created.snapshot_name);
    transaction.batch_execute(&take).await.unwrap();
    let ids: Vec<i32> = transaction
        .query("select id from t", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(ids, [1]);
    assert!(created.consistent_point > Lsn::ZERO);
    assert!(created.consistent_point < flush_lsn(&fixture).await);
}

#[tokio::test]
async fn a_temporary_slot_goes_with_its_session_and_a_permanent_one_stays() {
    let fixture = Fixture::new("").await;
    fixture.create_slot().await;
    let temporary = testkit::name::unique().parse().unwrap();
    let mut session = fixture.session().await;
    within(session.create_slot(&temporary, SlotLife::Temporary))
        .await
        .unwrap();
    assert_eq!(slots(&fixture).await.len(), 2);
    drop(session);
    wait::until("the temporary slot is gone", async || {
        match slots(&fixture).await {
            slots if slots == [fixture.slot.to_string()] => Ok(()),
            slots => Err(slots),
        }
    })
    .await;
}

#[tokio::test]
async fn a_slot_is_dropped_once_and_the_session_lives_on() {
    let fixture = Fixture::new("").await;
    fixture.create_slot().await;
    let mut session = fixture.session().await;
    within(session.drop_slot(&fixture.slot)).await.unwrap();
    let again = within(session.drop_slot(&fixture.slot)).await;
    let Err(SourceError::SlotMissing { slot }) = again else {
        panic!("{again:?}");
    };
    assert_eq!(slot, fixture.slot);
    within(session.identify_system()).await.unwrap();
}

/// Settings of the database must not change the form of values, nor end an idle session.
#[tokio::test]
async fn the_sessions_own_settings_win() {
    let fixture = Fixture::new("").await;
    let name = fixture.database.name();
    for setting in [
        "DateStyle = 'SQL, DMY'",
        "idle_session_timeout = '1ms'",
        "statement_timeout = '1ms'",
        "client_encoding = 'LATIN1'",
    ] {
        let alter = format!("alter database {name} set {setting}");
        fixture.client.batch_execute(&alter).await.unwrap();
    }
    let mut session = fixture.session().await;
    within(session.create_slot(&fixture.slot, SlotLife::Temporary))
        .await
        .unwrap();
    within(session.identify_system()).await.unwrap();
}

async fn flush_lsn(fixture: &Fixture) -> Lsn {
    let sql = "select pg_current_wal_flush_lsn()::text";
    let row = fixture.client.query_one(sql, &[]).await.unwrap();
    row.get::<_, &str>(0).parse().unwrap()
}

async fn slots(fixture: &Fixture) -> Vec<String> {
    let sql =
        "select slot_name::text from pg_replication_slots where database = current_database()";
    let rows = fixture.client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
