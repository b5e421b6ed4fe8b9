//! Servers that are away, slow or no Postgres, and lists of servers.

use std::time::{Duration, Instant};

use service::postgres::{Dsn, connect};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::server::{Cluster, free_port};

#[tokio::test]
async fn a_closed_port_is_named_and_worth_another_try() {
    let port = free_port();
    let dsn: Dsn = format!("postgresql://ann:hunter2@127.0.0.1:{port}/app")
        .parse()
        .unwrap();
    let error = connect(&dsn, "test").await.unwrap_err();
    let shown = service::chain(&error);
    for word in [&format!("127.0.0.1:{port}"), "app", "ann", "refused"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for parameters in ["sslmode=disable", "sslmode=prefer"] {
        let text = format!("postgresql://ann@127.0.0.1:{port}/app?connect_timeout=1&{parameters}");
        let dsn: Dsn = text.parse().unwrap();
        let start = Instant::now();
        let error = connect(&dsn, "test").await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(service::chain(&error).contains("no answer within 1 s"));
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn what_is_no_postgres_is_called_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let web_server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream
    });
    let dsn: Dsn = format!("postgresql://ann@127.0.0.1:{port}/app")
        .parse()
        .unwrap();
    let error = connect(&dsn, "test").await.unwrap_err();
    assert!(service::chain(&error).contains("not a Postgres server"));
    web_server.await.unwrap();
}

#[tokio::test]
async fn the_first_fitting_server_of_a_list_is_taken() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    let (dead, alive) = (free_port(), server.port);
    let list = format!("host=127.0.0.1,127.0.0.1 port={dead},{alive} user=trusted dbname=postgres");
    connect(&list.parse().unwrap(), "test").await.unwrap();

    let writable = format!("{list} target_session_attrs=read-write");
    connect(&writable.parse().unwrap(), "test").await.unwrap();
    let read_only = format!("{writable} options='-c default_transaction_read_only=on'");
    let error = connect(&read_only.parse().unwrap(), "test")
        .await
        .unwrap_err();
    assert!(service::chain(&error).contains("target_session_attrs"));
}

#[tokio::test]
async fn a_dropped_connection_ends_its_session() {
    let cluster = Cluster::create().await;
    let server = cluster.start(None).await;
    let observer = connect(&server.dsn("postgres", ""), "observer")
        .await
        .unwrap();
    let sql = "select count(*) from pg_stat_activity where application_name = 'brief'";
    let brief = connect(&server.dsn("trusted", ""), "brief").await.unwrap();
    let sessions: i64 = observer.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(sessions, 1);
    drop(brief);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let sessions: i64 = observer.query_one(sql, &[]).await.unwrap().get(0);
        if sessions == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the session lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
