//! What is configured for subjects besides their level, and contexts.

use reqwest::Method;
use serde_json::json;

use crate::client::{refused, registry, registry_on, schema};

const ONE: &str = r#"{"type":"int","b":1,"a":2}"#;
const OTHER: &str = r#"{"type":"int","a":2,"b":1}"#;

#[tokio::test]
async fn normalizing_may_be_configured() {
    let client = registry().await;
    let on = json!({ "normalize": true });
    let answer = client
        .send(Method::PUT, "/config/s", Some(on.clone()))
        .await;
    assert_eq!(answer, (200, on.clone()));
    assert_eq!(client.get("/config/s").await, (200, on));
    assert_eq!(
        client.get("/config/s?defaultToGlobal=true").await.1,
        json!({ "normalize": true, "compatibilityLevel": "BACKWARD" })
    );
    assert_eq!(client.register("s", ONE).await, 1);
    assert_eq!(client.register("s", OTHER).await, 1);
    let (status, _) = client.send(Method::POST, "/subjects/s", schema(ONE)).await;
    assert_eq!(status, 200);
    assert_eq!(client.register("t", ONE).await, 2);

    // A level that is set leaves it as it is, and so the other way round.
    let full = Some(json!({ "compatibility": "FULL" }));
    assert_eq!(client.send(Method::PUT, "/config/s", full).await.0, 200);
    let both = json!({ "normalize": true, "compatibilityLevel": "FULL" });
    assert_eq!(client.get("/config/s").await.1, both);
    let all = Some(json!({ "normalize": true }));
    assert_eq!(client.send(Method::PUT, "/config", all).await.0, 200);
    assert_eq!(client.register("t", OTHER).await, 1);
    let off = Some(json!({ "normalize": false }));
    assert_eq!(client.send(Method::PUT, "/config/s", off).await.0, 200);
    assert_eq!(client.register("s", ONE).await, 2);
    assert_eq!(
        client.send(Method::DELETE, "/config/s", None).await.1,
        json!({ "normalize": false, "compatibilityLevel": "FULL" })
    );
    refused(&client, Method::GET, "/config/s", None, 40408).await;
}

#[tokio::test]
async fn an_alias_is_another_name_of_a_subject() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let client = registry_on(&file).await;
    let alias = |alias: &str| Some(json!({ "alias": alias }));
    client.register("orders-value", "\"int\"").await;
    assert_eq!(
        client
            .send(Method::PUT, "/config/short", alias("orders-value"))
            .await
            .0,
        200
    );
    let (_, latest) = client.get("/subjects/short/versions/latest").await;
    assert_eq!(latest["subject"], "orders-value");
    assert_eq!(client.register("short", "\"long\"").await, 2);
    assert_eq!(
        client.get("/subjects/orders-value/versions").await.1,
        json!([1, 2])
    );
    let check = "/compatibility/subjects/short/versions/latest";
    let answer = client.send(Method::POST, check, schema("\"int\"")).await;
    assert_eq!(answer.1, json!({ "is_compatible": false }));
    assert_eq!(client.get("/subjects").await.1, json!(["orders-value"]));
    // One step only, and never for what is configured.
    client
        .send(Method::PUT, "/config/shorter", alias("short"))
        .await;
    refused(
        &client,
        Method::GET,
        "/subjects/shorter/versions",
        None,
        40401,
    )
    .await;
    assert_eq!(
        client.get("/config/shorter").await.1,
        json!({ "alias": "short" })
    );
    refused(&client, Method::PUT, "/config", alias("short"), 422).await;

    client.registry.stop().await;
    let again = registry_on(&file).await;
    assert_eq!(again.get("/subjects/short/versions").await.1, json!([1, 2]));
    assert_eq!(
        again.send(Method::PUT, "/config/short", alias("")).await.0,
        200
    );
    refused(&again, Method::GET, "/subjects/short/versions", None, 40401).await;
}

#[tokio::test]
async fn what_is_not_supported_is_refused_and_not_passed_over() {
    let client = registry().await;
    for body in [
        json!({ "compatibility": "FULL", "compatibilityGroup": "major" }),
        json!({ "defaultMetadata": { "properties": { "owner": "x" } } }),
        json!({ "overrideRuleSet": { "domainRules": [] } }),
        json!({ "validateFields": true }),
    ] {
        refused(&client, Method::PUT, "/config/s", Some(body), 422).await;
    }
    refused(&client, Method::GET, "/config/s", None, 40408).await;
    // The key that GET answers with, and one that nobody knows.
    for body in [json!({ "compatibilityLevel": "FULL" }), json!({ "x": 1 })] {
        refused(&client, Method::PUT, "/config/s", Some(body), 42203).await;
    }
    let body =
        json!({ "compatibility": "FULL", "compatibilityGroup": null, "validateFields": false });
    assert_eq!(
        client.send(Method::PUT, "/config/s", Some(body)).await,
        (200, json!({ "compatibility": "FULL" }))
    );
}

#[tokio::test]
async fn the_default_context_is_the_only_one() {
    let client = registry().await;
    assert_eq!(client.register(":.:s", "\"int\"").await, 1);
    assert_eq!(client.get("/subjects").await.1, json!(["s"]));
    assert_eq!(client.get("/subjects/:.:s/versions").await.1, json!([1]));
    assert_eq!(
        client.get("/subjects?subjectPrefix=:.:").await.1,
        json!(["s"])
    );
    let path = "/subjects/:.other:s";
    let versions = format!("{path}/versions");
    refused(&client, Method::POST, &versions, schema("\"int\""), 42208).await;
    refused(&client, Method::POST, path, schema("\"int\""), 42208).await;
    refused(&client, Method::GET, &versions, None, 40401).await;
    let level = Some(json!({ "compatibility": "FULL" }));
    refused(&client, Method::PUT, "/config/:.other:s", level, 42208).await;
    refused(&client, Method::DELETE, "/contexts/other", None, 404).await;
}
