//! A REST API that is away, slow, or late.

use serde_json::{Value, json};
use testkit::{port, wait};

use crate::fixture::{Gateway, Rest, code};

const QUERY: &str = "{ articles { pageInfo { totalItems } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_and_ends() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    assert_eq!(gateway.ask(QUERY).await["errors"], Value::Null);
    let stopped = rest.stop().await;
    let open = r#"upstream_circuit_open{upstream="primary"}"#;
    for _ in 0..5 {
        let refused = gateway.ask(QUERY).await;
        assert_eq!(code(&refused), "UPSTREAM_UNAVAILABLE");
        assert!(!refused.to_string().contains("127.0.0.1"), "{refused}");
    }
    assert_eq!(gateway.metric(open).await, 1);
    let held = r#"upstream_requests_total{outcome="circuit_open",upstream="primary"}"#;
    gateway.ask(QUERY).await;
    assert!(gateway.metric(held).await > 0);
    let health = gateway
        .client
        .get(gateway.at("/health"))
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 503);
    assert_eq!(
        gateway
            .client
            .get(gateway.at("/health/live"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );

    let _rest = stopped.start().await;
    wait::until("the circuit closes", async || {
        let answer = gateway.ask(QUERY).await;
        match answer["errors"].is_null() {
            true => Ok(()),
            false => Err(answer),
        }
    })
    .await;
    assert_eq!(gateway.metric(open).await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_api_is_not_waited_for() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &["--gateway-upstream-seconds=1"]).await;
    let client = rest.database.client().await;
    client
        .batch_execute("begin; lock table articles")
        .await
        .unwrap();
    let slow = gateway.ask(QUERY).await;
    assert_eq!(code(&slow), "TIMEOUT", "{slow}");
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(gateway.ask(QUERY).await["errors"], Value::Null);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_away_is_stood_in_for() {
    let rest = Rest::start(&[]).await;
    let away = format!("http://127.0.0.1:{}", port::free());
    let replica = format!("--gateway-replica={away}");
    let gateway = Gateway::start(&rest.url, &[&replica]).await;
    assert_eq!(gateway.ask(QUERY).await["errors"], Value::Null);
    assert!(gateway.metric("replica_fallbacks_total").await > 0);
    gateway.stop().await;
    let strict = Gateway::start(&rest.url, &[&replica, "--gateway-no-fallback"]).await;
    assert_eq!(strict.code(QUERY, json!({})).await, "UPSTREAM_UNAVAILABLE");
    strict.stop().await;
}
