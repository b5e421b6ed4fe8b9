//! What goes wrong, and whether the message says what to do.

use std::net::TcpListener;

use cdc::source::{Session, SlotLife, SourceError};
use change::Lsn;
use service::postgres::Dsn;
use testkit::postgres::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::source_fixture::{Fixture, next_message, within};

#[tokio::test]
async fn a_port_without_a_server_is_transient_and_named() {
    let port = testkit::port::free();
    let error = connect(&format!("postgres://postgres@127.0.0.1:{port}/blog")).await;
    check(&error, &[&format!("127.0.0.1:{port}")]);
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_wrong_password_is_not_shown_and_not_tried_again() {
    let fixture = Fixture::new("").await;
    let secret = service::Secret::new("wrong-password");
    let dsn = fixture.dsn().with_user("postgres", &secret);
    let error = Session::connect(&dsn).await.err().unwrap();
    assert!(matches!(error, SourceError::Login { .. }), "{error:?}");
    check(&error, &["postgres", "28P01"]);
    assert!(!format!("{error:?}{error}").contains("wrong-password"));
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let fixture = Fixture::new("").await;
    let dsn = fixture.dsn().with_dbname("no_such_db");
    let error = Session::connect(&dsn).await.err().unwrap();
    assert!(
        matches!(error, SourceError::DatabaseMissing { .. }),
        "{error:?}"
    );
    check(&error, &["no_such_db"]);
}

#[tokio::test]
async fn a_role_without_replication_gets_the_mend() {
    let fixture = Fixture::new("").await;
    let role = testkit::name::unique();
    let create = format!("create role {role} login password 'pw'");
    fixture.client.batch_execute(&create).await.unwrap();
    let dsn = fixture.dsn().with_user(&role, &service::Secret::new("pw"));
    let error = match Session::connect(&dsn).await {
        Err(error) => error,
        // From 16 on only the slot asks for the right.
        Ok(mut session) => session
            .create_slot(&fixture.slot, SlotLife::Temporary)
            .await
            .unwrap_err(),
    };
    check(&error, &[&format!("alter role \"{role}\" replication")]);
    assert!(matches!(error, SourceError::ReplicationRight { .. }));
    let drop = format!("drop role {role}");
    fixture.client.batch_execute(&drop).await.unwrap();
}

#[tokio::test]
async fn a_slot_that_exists_or_does_not_is_named() {
    let fixture = Fixture::new("").await;
    let session = fixture.session().await;
    let missing = fixture.start(session).await.err().unwrap();
    assert!(
        matches!(missing, SourceError::SlotMissing { .. }),
        "{missing:?}"
    );
    check(&missing, &[fixture.slot.as_str(), "snapshot"]);

    fixture.create_slot().await;
    let mut session = fixture.session().await;
    let exists = session
        .create_slot(&fixture.slot, SlotLife::Permanent)
        .await
        .unwrap_err();
    assert!(
        matches!(exists, SourceError::SlotExists { .. }),
        "{exists:?}"
    );
    check(&exists, &[fixture.slot.as_str()]);
}

#[tokio::test]
async fn a_taken_slot_names_who_has_it() {
    let fixture = Fixture::new("").await;
    fixture.create_slot().await;
    let holder = fixture.stream().await;
    let session = fixture.session().await;
    let error = fixture.start(session).await.err().unwrap();
    let sql = "select active_pid from pg_replication_slots where slot_name = $1";
    let row = fixture
        .client
        .query_one(sql, &[&fixture.slot.as_str()])
        .await
        .unwrap();
    let pid: i32 = row.get(0);
    check(
        &error,
        &[
            fixture.slot.as_str(),
            &format!("process {pid}"),
            "pg_terminate_backend",
        ],
    );
    let SourceError::SlotTaken { pid: named, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(named, Some(pid));

    let mut session = fixture.session().await;
    let error = session.drop_slot(&fixture.slot).await.unwrap_err();
    assert!(matches!(error, SourceError::SlotTaken { .. }), "{error:?}");
    drop(holder);
}

#[tokio::test]
async fn a_missing_publication_is_named() {
    let fixture = Fixture::new("create table t (id int primary key)").await;
    fixture.create_slot().await;
    let session = fixture.session().await;
    let publications = ["no_such_pub".to_owned()];
    let mut stream = session
        .start_replication(&fixture.slot, Lsn::ZERO, &publications)
        .await
        .unwrap();
    let insert = "insert into t values (1)";
    fixture.client.batch_execute(insert).await.unwrap();
    let error = loop {
        if let Err(error) = next_message(&mut stream).await {
            break error;
        }
    };
    assert!(
        matches!(error, SourceError::PublicationMissing { .. }),
        "{error:?}"
    );
    check(&error, &["no_such_pub", "before the slot"]);
}

#[tokio::test]
async fn a_reader_that_is_ended_may_come_back() {
    let fixture = Fixture::new("create table t (id int primary key)").await;
    fixture.create_slot().await;
    let mut stream = fixture.stream().await;
    let sql =
        "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1";
    fixture
        .client
        .query(sql, &[&fixture.slot.as_str()])
        .await
        .unwrap();
    let error = loop {
        if let Err(error) = next_message(&mut stream).await {
            break error;
        }
    };
    assert!(error.is_transient(), "{error:?}");
    assert!(
        matches!(error, SourceError::Unavailable { .. }),
        "{error:?}"
    );
    check(&error, &["57P01"]);
}

#[tokio::test]
async fn a_server_that_stops_or_dies_is_transient() {
    let server = Server::start(&[]).await;
    let fixture = Fixture::on(server.database().await, "").await;
    fixture.create_slot().await;
    let mut stream = fixture.stream().await;
    let stopped = async {
        loop {
            if let Err(error) = next_message(&mut stream).await {
                break error;
            }
        }
    };
    let (error, ()) = tokio::join!(stopped, server.kill());
    assert!(error.is_transient(), "{error:?}");
    let error = Session::connect(&fixture.dsn()).await.err().unwrap();
    assert!(error.is_transient(), "{error:?}");
    server.restart().await;
    drop(fixture.stream().await);
}

#[tokio::test]
async fn wal_level_replica_gets_the_mend() {
    let server = Server::start(&[("wal_level", "replica")]).await;
    let fixture = Fixture::on(server.database().await, "").await;
    let mut session = fixture.session().await;
    let error = session
        .create_slot(&fixture.slot, SlotLife::Permanent)
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::WalLevel { .. }), "{error:?}");
    check(&error, &["alter system set wal_level = logical", "restart"]);
}

#[tokio::test]
async fn limits_of_the_server_are_named() {
    let server = Server::start(&[("max_wal_senders", "1"), ("max_replication_slots", "1")]).await;
    let fixture = Fixture::on(server.database().await, "").await;
    // The only session there can be: of one that was dropped the server may not know yet.
    let mut session = fixture.session().await;
    session
        .create_slot(&fixture.slot, SlotLife::Permanent)
        .await
        .unwrap();
    let full = session
        .create_slot(
            &testkit::name::unique().parse().unwrap(),
            SlotLife::Permanent,
        )
        .await
        .unwrap_err();
    assert!(matches!(full, SourceError::SlotsFull { .. }), "{full:?}");
    check(&full, &["max_replication_slots"]);

    let error = Session::connect(&fixture.dsn()).await.err().unwrap();
    assert!(
        matches!(error, SourceError::Unavailable { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
    check(&error, &["53300"]);
}

#[tokio::test]
async fn a_slot_that_lost_its_wal_gets_the_mend() {
    let server = Server::start(&[("max_slot_wal_keep_size", "0"), ("min_wal_size", "32MB")]).await;
    let fixture = Fixture::on(server.database().await, "create table t (v text)").await;
    fixture.create_slot().await;
    for _ in 0..3 {
        for sql in [
            "insert into t values ('x')",
            "select pg_switch_wal()",
            "checkpoint",
        ] {
            fixture.client.simple_query(sql).await.unwrap();
        }
    }
    let session = fixture.session().await;
    let error = fixture.start(session).await.err().unwrap();
    assert!(matches!(error, SourceError::WalRemoved { .. }), "{error:?}");
    check(
        &error,
        &[fixture.slot.as_str(), "max_slot_wal_keep_size", "snapshot"],
    );
}

/// A server that speaks from a script.
async fn scripted(answer: &'static [u8]) -> SourceError {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        let mut startup = vec![0; usize::try_from(length).unwrap() - 4];
        stream.read_exact(&mut startup).await.unwrap();
        stream.write_all(answer).await.unwrap();
    });
    let error = connect(&format!("postgres://u@{address}/d?sslmode=disable")).await;
    server.await.unwrap();
    error
}

#[tokio::test]
async fn a_server_that_starts_up_is_transient() {
    let error =
        scripted(b"E\0\0\0\x3bSFATAL\0VFATAL\0C57P03\0Mthe database system is starting\0\0").await;
    assert!(
        matches!(error, SourceError::Unavailable { .. }),
        "{error:?}"
    );
    check(&error, &["57P03", "starting"]);
}

#[tokio::test]
async fn an_old_server_is_refused() {
    let error =
        scripted(b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\x0013.9\0Z\0\0\0\x05I").await;
    assert!(matches!(error, SourceError::Version { .. }), "{error:?}");
    check(&error, &["13.9", "14 or newer"]);
}

#[tokio::test]
async fn a_server_that_makes_no_sense_is_an_error() {
    let error = scripted(b"R\x7f\xff\xff\xff\0\0\0\0").await;
    assert!(matches!(error, SourceError::Lost { .. }), "{error:?}");
    let error = scripted(b"Z\0\0\0\x05I").await;
    assert!(matches!(error, SourceError::Unexpected { .. }), "{error:?}");
    let error = scripted(b"R\0\0").await;
    assert!(matches!(error, SourceError::Lost { .. }), "{error:?}");
    let error = scripted(b"R\0\0\0\x08\0\0\0\x03").await;
    assert!(
        matches!(error, SourceError::Authentication { .. }),
        "{error:?}"
    );
}

async fn connect(dsn: &str) -> SourceError {
    let dsn: Dsn = dsn.parse().unwrap();
    within(Session::connect(&dsn)).await.err().unwrap()
}

/// The error with all its causes says each of these.
#[track_caller]
fn check(error: &SourceError, says: &[&str]) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    for part in says {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}
