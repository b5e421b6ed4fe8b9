//! The service around the articles: health, metrics, ids, port.

use serde_json::Value;
use service::{Monitor, Shutdown};
use testkit::postgres::database;

use crate::fixture::{Api, answer, config, draft};

#[tokio::test]
async fn health_and_headers() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let health = api.get("/api/v1/health").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.body["status"], "ok");
    assert_eq!(health.body["checks"]["db"], "ok");
    assert!(health.body["version"].is_string());
    assert_eq!(health.header("cache-control"), "no-store");
    assert_eq!(health.header("x-content-type-options"), "nosniff");
    assert_eq!(api.get("/api/v1/health/live").await.status, 200);
    assert!(api.monitor.health.is_ready());

    let request = api
        .request("GET", "/nowhere")
        .header("x-request-id", "my-id");
    let echoed = answer(request.send().await.unwrap()).await;
    assert_eq!(echoed.header("x-request-id"), "my-id");
    let made = api.get("/nowhere").await.header("x-request-id").to_owned();
    assert_ne!(made, api.get("/nowhere").await.header("x-request-id"));
    api.stop().await;
}

#[tokio::test]
async fn metrics_count_by_template() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for title in ["one", "two"] {
        let article = api.create(&draft(title)).await;
        let path = format!("/api/v1/articles/{}", article["id"]);
        api.get(&path).await;
    }
    api.send("POST", "/api/v1/articles/1/publish", &Value::Null)
        .await;
    api.get("/api/v1/articles/999").await;
    api.get("/any/path/at/all").await;
    let page = api.get("/metrics").await;
    assert!(page.header("content-type").starts_with("text/plain"));
    for line in [
        r#"http_requests_total{method="POST",route="/api/v1/articles",status="201"} 2"#,
        r#"http_requests_total{method="GET",route="/api/v1/articles/{id}",status="200"} 2"#,
        r#"http_requests_total{method="GET",route="/api/v1/articles/{id}",status="404"} 1"#,
        r#"http_requests_total{method="GET",route="unknown",status="404"} 1"#,
        r#"http_request_duration_seconds_count{method="POST",route="/api/v1/articles",status="201"} 2"#,
        r#"articles_total{status="draft"} 1"#,
        r#"articles_total{status="published"} 1"#,
        r#"articles_total{status="archived"} 0"#,
    ] {
        assert!(
            page.text.lines().any(|found| found == line),
            "{line}\n{}",
            page.text
        );
    }
    api.stop().await;
}

async fn refused(source: &str, flags: &[&str]) -> String {
    let outcome = api::run(config(source, flags), Monitor::new(), Shutdown::new()).await;
    service::chain(&outcome.unwrap_err())
}

#[tokio::test]
async fn a_taken_port_and_an_open_one_are_refused() {
    let database = database().await;
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let shown = refused(database.dsn(), &["--api-listen", &address]).await;
    let port = holder.local_addr().unwrap().port();
    assert!(shown.contains(&format!("port {port}")), "{shown}");
    assert!(shown.contains("--api-listen"), "{shown}");

    let shown = refused(database.dsn(), &["--api-listen", "0.0.0.0:0"]).await;
    assert!(shown.contains("--api-token"), "{shown}");
}

#[tokio::test]
async fn a_database_that_refuses_us_ends_the_service() {
    let database = database().await;
    let nobody = database.dsn().replace("postgres:", "nobody:");
    let shown = refused(&nobody, &["--api-listen", "127.0.0.1:0"]).await;
    assert!(shown.contains("nobody"), "{shown}");
    assert!(shown.contains("password authentication failed"), "{shown}");
}
