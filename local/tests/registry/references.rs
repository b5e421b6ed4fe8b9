//! Schemas that use the types of other subjects.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, refused, registry, registry_on, schema};

const ADDRESS: &str = r#"{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"town","type":"string"}]}"#;
const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"to","type":"Address"},{"name":"from","type":["null","shop.Address"],"default":null}]}"#;
/// As Java prints it: inside its namespace a name needs none.
const ORDER_STORED: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"to","type":"Address"},{"name":"from","type":["null","Address"],"default":null}]}"#;
const ORDER_RESOLVED: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"to","type":{"type":"record","name":"Address","fields":[{"name":"town","type":"string"}]}},{"name":"from","type":["null","Address"],"default":null}]}"#;

fn reference(version: i32) -> Value {
    json!({ "name": "shop.Address", "subject": "address", "version": version })
}

fn order(version: i32) -> Option<Value> {
    Some(json!({ "schema": ORDER, "references": [reference(version)] }))
}

async fn register(client: &Client, subject: &str, body: Option<Value>) -> (u16, Value) {
    let path = format!("/subjects/{subject}/versions");
    client.send(Method::POST, &path, body).await
}

#[tokio::test]
async fn a_schema_may_use_the_types_of_another_subject() {
    let client = registry().await;
    refused(
        &client,
        Method::POST,
        "/subjects/order/versions",
        order(1),
        42201,
    )
    .await;
    assert_eq!(client.register("address", ADDRESS).await, 1);
    refused(
        &client,
        Method::POST,
        "/subjects/order/versions",
        order(2),
        42201,
    )
    .await;
    refused(
        &client,
        Method::POST,
        "/subjects/order/versions",
        order(0),
        42202,
    )
    .await;
    let without = schema(ORDER);
    refused(
        &client,
        Method::POST,
        "/subjects/order/versions",
        without,
        42201,
    )
    .await;

    assert_eq!(
        register(&client, "order", order(1)).await,
        (200, json!({ "id": 2 }))
    );
    assert_eq!(
        register(&client, "order", order(-1)).await,
        (200, json!({ "id": 2 }))
    );
    let described = json!({ "subject": "order", "version": 1, "id": 2,
        "schema": ORDER_STORED, "references": [reference(1)] });
    let latest = "/subjects/order/versions/latest";
    assert_eq!(client.get(latest).await, (200, described.clone()));
    let looked_up = client.send(Method::POST, "/subjects/order", order(1)).await;
    assert_eq!(looked_up, (200, described.clone()));
    assert_eq!(
        client.get("/schemas/ids/2").await,
        (
            200,
            json!({ "schema": ORDER_STORED, "references": [reference(1)] })
        )
    );
    let (_, all) = client.get("/schemas?subjectPrefix=order").await;
    assert_eq!(all, json!([described]));
}

/// With everything in one text, as serializers send it and as readers without a registry of types
/// want it.
#[tokio::test]
async fn a_schema_with_references_is_known_by_its_resolved_text_too() {
    let client = registry().await;
    client.register("address", ADDRESS).await;
    assert_eq!(register(&client, "order", order(1)).await.0, 200);
    let sent = client
        .send(Method::POST, "/subjects/order", schema(ORDER_RESOLVED))
        .await;
    assert_eq!((sent.0, &sent.1["id"]), (200, &json!(2)));
    assert_eq!(
        register(&client, "order", schema(ORDER_RESOLVED)).await.1,
        json!({ "id": 2 })
    );
    let (_, resolved) = client
        .get("/subjects/order/versions/latest?format=resolved")
        .await;
    assert_eq!(resolved["schema"], ORDER_RESOLVED);
    let raw = client.request(Method::GET, "/schemas/ids/2/schema?format=resolved");
    let raw = raw.send().await.unwrap().text().await.unwrap();
    assert_eq!(raw, ORDER_RESOLVED);
    // In another subject it is another schema: what it refers to is part of what a schema is.
    assert_eq!(
        register(&client, "other", schema(ORDER_RESOLVED)).await.1,
        json!({ "id": 3 })
    );
}

#[tokio::test]
async fn compatibility_looks_through_references() {
    let client = registry().await;
    client.register("address", ADDRESS).await;
    assert_eq!(register(&client, "order", order(1)).await.0, 200);
    let optional = r#"{"name":"code","type":["null","string"],"default":null}"#;
    let wider = ADDRESS.replace("\"string\"}]", &format!("\"string\"}},{optional}]"));
    client.register("address", &wider).await;
    let narrower = r#"{"compatibility":"NONE"}"#;
    let none = Some(serde_json::from_str(narrower).unwrap());
    client.send(Method::PUT, "/config/address", none).await;
    client
        .register("address", &ADDRESS.replace("\"town\"", "\"city\""))
        .await;

    let check = "/compatibility/subjects/order/versions/latest?verbose=true";
    let (_, answer) = client.send(Method::POST, check, order(2)).await;
    assert_eq!(answer, json!({ "is_compatible": true, "messages": [] }));
    let (_, answer) = client.send(Method::POST, check, order(3)).await;
    assert_eq!(answer["is_compatible"], false);
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(
        messages[0],
        "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'city' at path '/fields/0/type/fields/0' in the new schema has no default value and is missing in the old schema', additionalInfo:'city'}"
    );
    refused(
        &client,
        Method::POST,
        "/subjects/order/versions",
        order(3),
        409,
    )
    .await;
    // The same text with another reference is another version.
    assert_eq!(register(&client, "order", order(2)).await.0, 200);
    assert_eq!(
        client.get("/subjects/order/versions").await.1,
        json!([1, 2])
    );
}

#[tokio::test]
async fn what_is_referred_to_can_be_neither_deleted_nor_erased() {
    let client = registry().await;
    let delete = Method::DELETE;
    client.register("address", ADDRESS).await;
    assert_eq!(register(&client, "order", order(1)).await.0, 200);
    let referrers = "/subjects/address/versions/1/referencedby";
    assert_eq!(client.get(referrers).await, (200, json!([2])));
    assert_eq!(
        client
            .get("/subjects/order/versions/1/referencedby")
            .await
            .1,
        json!([])
    );
    refused(
        &client,
        Method::GET,
        "/subjects/address/versions/2/referencedby",
        None,
        40402,
    )
    .await;
    for path in [
        "/subjects/address",
        "/subjects/address/versions/1",
        "/subjects/address/versions/latest",
    ] {
        refused(&client, delete.clone(), path, None, 42206).await;
        refused(
            &client,
            delete.clone(),
            &format!("{path}?permanent=true"),
            None,
            42206,
        )
        .await;
    }

    assert_eq!(
        client.send(delete.clone(), "/subjects/order", None).await.0,
        200
    );
    assert_eq!(client.get(referrers).await.1, json!([]));
    assert_eq!(
        client.get(&format!("{referrers}?deleted=true")).await.1,
        json!([2])
    );
    assert_eq!(
        client
            .send(delete.clone(), "/subjects/address", None)
            .await
            .0,
        200
    );
    // Records written with the deleted order may still be read.
    refused(
        &client,
        delete.clone(),
        "/subjects/address?permanent=true",
        None,
        42206,
    )
    .await;
    let (_, by_id) = client.get("/schemas/ids/2?format=resolved").await;
    assert_eq!(by_id["schema"], ORDER_RESOLVED);

    for subject in ["order", "address"] {
        let path = format!("/subjects/{subject}?permanent=true");
        assert_eq!(
            client.send(delete.clone(), &path, None).await,
            (200, json!([1]))
        );
    }
    refused(&client, Method::GET, "/schemas/ids/2", None, 40403).await;
}

#[tokio::test]
async fn a_subject_that_refers_to_itself_goes_as_a_whole() {
    let client = registry().await;
    client.register("s", ADDRESS).await;
    let none = Some(json!({ "compatibility": "NONE" }));
    client.send(Method::PUT, "/config/s", none).await;
    let to_itself = json!([{ "name": "shop.Address", "subject": "s", "version": 1 }]);
    let body = json!({ "schema": ORDER, "references": to_itself });
    assert_eq!(register(&client, "s", Some(body)).await.0, 200);
    let delete = Method::DELETE;
    refused(&client, delete.clone(), "/subjects/s", None, 42206).await;
    for version in [2, 1] {
        let path = format!("/subjects/s/versions/{version}");
        assert_eq!(client.send(delete.clone(), &path, None).await.0, 200);
    }
    let erased = client
        .send(delete, "/subjects/s?permanent=true", None)
        .await;
    assert_eq!(erased, (200, json!([1, 2])));
}

#[tokio::test]
async fn references_through_references_outlive_a_restart_and_end_somewhere() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let first = registry_on(&file).await;
    first
        .register("t0", r#"{"type":"enum","name":"T0","symbols":["A"]}"#)
        .await;
    let mut refusal = None;
    for number in 1..=150 {
        let below = number - 1;
        let text = format!(
            r#"{{"type":"record","name":"T{number}","fields":[{{"name":"f","type":"T{below}"}}]}}"#
        );
        let to = json!([{ "name": "T", "subject": format!("t{below}"), "version": 1 }]);
        let body = json!({ "schema": text, "references": to });
        let (status, answer) = register(&first, &format!("t{number}"), Some(body)).await;
        if status != 200 {
            refusal = Some((status, answer["error_code"].clone()));
            break;
        }
    }
    assert_eq!(refusal, Some((422, json!(42201))));
    let path = "/schemas/ids/100?format=resolved";
    let before = first.get(path).await;
    assert!(
        before.1["schema"].as_str().unwrap().contains("T0"),
        "{}",
        before.1
    );
    first.registry.stop().await;
    let second = registry_on(&file).await;
    assert_eq!(second.get(path).await, before);
}
