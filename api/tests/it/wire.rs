//! What no HTTP client would send.

use std::time::Duration;

use testkit::postgres::database;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::Api;

/// Sends bytes and reads until the server closes.
async fn exchange(api: &Api, request: &[u8]) -> String {
    let address = api.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

const POST: &str = "POST /api/v1/articles HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    content-type: application/json\r\n";

#[tokio::test]
async fn a_chunked_body_is_taken_and_limited() {
    let database = database().await;
    let api = Api::start(&database, &["--api-body-bytes", "1024"]).await;
    let chunked = |chunks: &[&str]| {
        let mut request = format!("{POST}transfer-encoding: chunked\r\n\r\n");
        for chunk in chunks {
            request.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        }
        request.push_str("0\r\n\r\n");
        request.into_bytes()
    };
    let parts = [r#"{"title":"t","con"#, r#"tent":"c","author":"a"}"#];
    let answer = exchange(&api, &chunked(&parts)).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let large = "x".repeat(1000);
    let answer = exchange(&api, &chunked(&[&large, &large])).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    api.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let database = database().await;
    let api = Api::start(&database, &["--api-timeout-seconds", "2"]).await;
    let answer = exchange(
        &api,
        format!("{POST}content-length: 10\r\n\r\n{{").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("/problems/request-timeout"), "{answer}");
    api.stop().await;
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let headers: String = (0..10_000)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let answer = exchange(&api, request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 431") || answer.is_empty(),
        "{answer}"
    );
    assert_eq!(api.get("/api/v1/health/live").await.status, 200);
    api.stop().await;
}

#[tokio::test]
async fn a_body_of_any_length_is_refused_by_its_length() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let request = format!("{POST}content-length: 1073741824\r\n\r\n{{");
    let answer = exchange(&api, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    api.stop().await;
}
