//! Starting, refusing to start, stopping.

use std::net::SocketAddr;
use std::time::Duration;

use local::registry::{Config, Registry};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{registry, registry_on};

/// Tries to start on this address and returns why that failed.
async fn refused(listen: SocketAddr) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    match Registry::start(Config { file, listen }).await {
        Ok(registry) => panic!("started on {}", registry.addr()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_mend() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = holder.local_addr().unwrap();
    let message = refused(addr).await;
    assert!(message.contains(&addr.to_string()), "{message}");
    assert!(
        message.ends_with("stop what uses the port or choose another"),
        "{message}"
    );
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let message = refused("0.0.0.0:0".parse().unwrap()).await;
    assert!(
        message.contains("loopback only, not on 0.0.0.0:0"),
        "{message}"
    );
}

#[tokio::test]
async fn a_file_in_use_is_named_until_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let first = registry_on(&file).await;
    assert_eq!(first.register("s", "\"int\"").await, 1);
    let listen = "127.0.0.1:0".parse().unwrap();
    let second = Registry::start(Config {
        file: file.clone(),
        listen,
    })
    .await;
    let message = second.expect_err("two registries on one file").to_string();
    assert!(message.contains(&file.display().to_string()), "{message}");
    assert!(message.contains("locked by another process"), "{message}");

    first.registry.stop().await;
    let third = registry_on(&file).await;
    assert_eq!(third.register("s", "\"long\"").await, 2);
    assert_eq!(third.get("/subjects/s/versions").await.1, json!([1, 2]));
}

/// A client that never finishes its request must not keep the process from ending.
#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let client = registry().await;
    let mut idle = TcpStream::connect(client.registry.addr()).await.unwrap();
    let mut slow = TcpStream::connect(client.registry.addr()).await.unwrap();
    slow.write_all(b"POST /subjects/s HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        .await
        .unwrap();
    // An answer on another connection shows that the server has seen the two before.
    assert_eq!(client.get("/subjects").await.0, 200);
    tokio::time::timeout(Duration::from_secs(20), client.registry.stop())
        .await
        .unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn everything_outlives_a_restart_and_erased_ids_stay_gone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let first = registry_on(&file).await;
    assert_eq!(first.register("s", "\"int\"").await, 1);
    assert_eq!(first.register("s", "\"long\"").await, 2);
    assert_eq!(first.register("t", "\"string\"").await, 3);
    for (method, path, body) in [
        (
            Method::PUT,
            "/config",
            Some(json!({ "compatibility": "FULL" })),
        ),
        (
            Method::PUT,
            "/config/s",
            Some(json!({ "compatibility": "NONE" })),
        ),
        (Method::DELETE, "/subjects/s/versions/1", None),
        (Method::DELETE, "/subjects/t", None),
        (Method::DELETE, "/subjects/t?permanent=true", None),
    ] {
        let (status, answer) = first.send(method, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    let paths = [
        "/subjects?deleted=true",
        "/subjects/s/versions",
        "/subjects/s/versions?deleted=true",
        "/schemas/ids/1",
        "/schemas/ids/3",
        "/config",
        "/config/s",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(first.get(path).await);
    }
    first.registry.stop().await;

    let second = registry_on(&file).await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(second.get(path).await, before, "{path}");
    }
    // 3 was the highest, and nothing tells of it but the file's history.
    assert_eq!(second.register("t", "\"string\"").await, 4);
}
