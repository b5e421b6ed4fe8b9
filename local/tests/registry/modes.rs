//! Read-only registries and imports.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, refused, registry, registry_on, schema};

const INT: &str = "\"int\"";
const LONG: &str = "\"long\"";

fn mode(mode: &str) -> Option<Value> {
    Some(json!({ "mode": mode }))
}

async fn set(client: &Client, path: &str, name: &str) {
    let answer = client.send(Method::PUT, path, mode(name)).await;
    let told = name.to_uppercase();
    assert_eq!(answer, (200, json!({ "mode": told })), "{path}");
}

/// Registers with numbers of the client's own.
async fn import(client: &Client, subject: &str, text: &str, id: u32, version: u32) -> (u16, Value) {
    let body = json!({ "schema": text, "id": id, "version": version });
    let path = format!("/subjects/{subject}/versions");
    client.send(Method::POST, &path, Some(body)).await
}

#[tokio::test]
async fn modes_are_set_read_and_cleared() {
    let client = registry().await;
    let told = |mode: &str| (200, json!({ "mode": mode }));
    assert_eq!(client.get("/mode").await, told("READWRITE"));
    refused(&client, Method::GET, "/mode/s", None, 40409).await;
    refused(&client, Method::DELETE, "/mode/s", None, 40401).await;
    assert_eq!(
        client.get("/mode/s?defaultToGlobal=true").await,
        told("READWRITE")
    );
    for wrong in [mode("FORWARD"), mode("WRITE"), mode(""), Some(json!({}))] {
        refused(&client, Method::PUT, "/mode", wrong, 42204).await;
    }
    refused(
        &client,
        Method::PUT,
        "/mode/:.other:s",
        mode("READONLY"),
        42208,
    )
    .await;

    set(&client, "/mode", "readonly").await;
    set(&client, "/mode/s", "READWRITE").await;
    set(&client, "/mode/t", "IMPORT").await;
    assert_eq!(client.get("/mode").await, told("READONLY"));
    assert_eq!(client.get("/mode/:.:s").await, told("READWRITE"));
    assert_eq!(
        client.get("/mode/u?defaultToGlobal=True").await,
        told("READONLY")
    );
    assert_eq!(
        client.send(Method::DELETE, "/mode/s", None).await,
        told("READWRITE")
    );
    assert_eq!(
        client.get("/mode/s?defaultToGlobal=true").await,
        told("READONLY")
    );
    assert_eq!(
        client
            .send(Method::DELETE, "/mode?recursive=true", None)
            .await,
        told("READONLY")
    );
    assert_eq!(client.get("/mode").await, told("READWRITE"));
    refused(&client, Method::GET, "/mode/t", None, 40409).await;
}

#[tokio::test]
async fn what_is_read_only_is_read_and_not_changed() {
    let client = registry().await;
    client.register("s", INT).await;
    client.register("gone", INT).await;
    client.send(Method::DELETE, "/subjects/gone", None).await;
    set(&client, "/mode", "READONLY").await;

    let none = || Some(json!({ "compatibility": "NONE" }));
    for (method, path, body) in [
        (Method::POST, "/subjects/s/versions", schema(LONG)),
        (Method::POST, "/subjects/t/versions", schema(INT)),
        (Method::DELETE, "/subjects/s", None),
        (Method::DELETE, "/subjects/s/versions/1", None),
        (Method::DELETE, "/subjects/gone?permanent=true", None),
        (
            Method::DELETE,
            "/subjects/gone/versions/1?permanent=true",
            None,
        ),
        (Method::PUT, "/config", none()),
        (Method::PUT, "/config/s", none()),
        (Method::DELETE, "/config", None),
    ] {
        refused(&client, method, path, body, 42205).await;
    }
    // What does not exist, or is no schema, is told first.
    refused(&client, Method::DELETE, "/subjects/none", None, 40401).await;
    refused(
        &client,
        Method::DELETE,
        "/subjects/s/versions/2",
        None,
        40402,
    )
    .await;
    refused(&client, Method::DELETE, "/subjects/gone", None, 40404).await;
    refused(
        &client,
        Method::POST,
        "/subjects/s/versions",
        schema("{"),
        42201,
    )
    .await;

    // A producer that registers what is there already goes on.
    assert_eq!(client.register("s", INT).await, 1);
    assert_eq!(client.get("/schemas/ids/1").await.0, 200);
    let check = "/compatibility/subjects/s/versions/latest";
    let answer = client.send(Method::POST, check, schema(LONG)).await;
    assert_eq!(answer, (200, json!({ "is_compatible": true })));

    // A subject's own mode goes before the registry's, unless that one overrides.
    set(&client, "/mode/s", "READWRITE").await;
    assert_eq!(client.register("s", LONG).await, 2);
    set(&client, "/mode", "READONLY_OVERRIDE").await;
    refused(&client, Method::DELETE, "/subjects/s", None, 42205).await;
    set(&client, "/mode", "READWRITE").await;
    set(&client, "/mode/s", "READONLY").await;
    refused(&client, Method::DELETE, "/subjects/s", None, 42205).await;
    assert_eq!(client.register("t", INT).await, 1);
}

#[tokio::test]
async fn an_import_brings_ids_and_versions_of_its_own() {
    let client = registry().await;
    refused(
        &client,
        Method::POST,
        "/subjects/s/versions",
        Some(json!({ "schema": INT, "id": 7 })),
        42205,
    )
    .await;
    set(&client, "/mode", "IMPORT").await;
    // In any order, and not compared with each other.
    assert_eq!(
        import(&client, "s", "\"string\"", 9, 3).await,
        (200, json!({ "id": 9 }))
    );
    assert_eq!(
        import(&client, "s", INT, 7, 1).await,
        (200, json!({ "id": 7 }))
    );
    assert_eq!(
        import(&client, "s", INT, 7, 1).await,
        (200, json!({ "id": 7 }))
    );
    assert_eq!(
        import(&client, "t", INT, 7, 1).await,
        (200, json!({ "id": 7 }))
    );
    assert_eq!(
        import(&client, "t", "\"null\"", 0, 2).await,
        (200, json!({ "id": 0 }))
    );
    // One content under two ids: in another subject, since here it has one.
    assert_eq!(
        import(&client, "u", INT, 8, 1).await,
        (200, json!({ "id": 8 }))
    );
    let path = "/subjects/s/versions";
    let with = |text: &str, id: i64, version: i64| {
        Some(json!({ "schema": text, "id": id, "version": version }))
    };
    refused(&client, Method::POST, path, with(INT, 10, 5), 42207).await;
    refused(&client, Method::POST, path, with(LONG, 9, 5), 42205).await;
    refused(&client, Method::POST, path, with(LONG, 10, 3), 42205).await;
    refused(&client, Method::POST, path, with(LONG, 1 << 31, 5), 400).await;
    refused(
        &client,
        Method::POST,
        path,
        with(LONG, (1 << 31) - 1, 5),
        400,
    )
    .await;
    // Without an id it is no import.
    refused(&client, Method::POST, path, schema(LONG), 42205).await;

    assert_eq!(client.get("/subjects/s/versions").await.1, json!([1, 3]));
    assert_eq!(
        client.get("/schemas/ids/9").await.1,
        json!({ "schema": "\"string\"" })
    );
    assert_eq!(
        client.get("/schemas/ids/0").await.1,
        json!({ "schema": "\"null\"" })
    );
    let (_, looked_up) = client.send(Method::POST, "/subjects/u", schema(INT)).await;
    assert_eq!(looked_up["id"], 8);

    // Afterwards ids and versions go on behind the highest.
    set(&client, "/mode", "READWRITE").await;
    assert_eq!(client.register("v", LONG).await, 10);
    assert_eq!(client.register("v", "\"double\"").await, 11);
    assert_eq!(client.register("s", "\"bytes\"").await, 12);
    assert_eq!(client.get("/subjects/s/versions").await.1, json!([1, 3, 4]));
    assert_eq!(client.register("w", INT).await, 7);
}

#[tokio::test]
async fn an_import_begins_with_an_empty_registry_unless_forced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let client = registry_on(&file).await;
    assert_eq!(client.register("s", INT).await, 1);
    assert_eq!(client.register("t", LONG).await, 2);
    refused(&client, Method::PUT, "/mode", mode("IMPORT"), 42205).await;
    refused(&client, Method::PUT, "/mode/s", mode("IMPORT"), 42205).await;
    set(&client, "/mode/u", "IMPORT").await;
    set(&client, "/mode/s?force=true", "IMPORT").await;
    assert_eq!(import(&client, "s", "\"double\"", 5, 2).await.0, 200);

    client.send(Method::DELETE, "/subjects/s", None).await;
    // A deleted subject has no mode of its own any more, and what is left of it makes room.
    refused(&client, Method::GET, "/mode/s", None, 40409).await;
    set(&client, "/mode/s", "IMPORT").await;
    assert_eq!(client.get("/subjects?deleted=true").await.1, json!(["t"]));
    // Its ids stand for what they stood for, and for nothing else.
    refused(
        &client,
        Method::POST,
        "/subjects/s/versions",
        Some(json!({ "schema": "\"bytes\"", "id": 1 })),
        42205,
    )
    .await;
    assert_eq!(
        import(&client, "s", INT, 1, 1).await,
        (200, json!({ "id": 1 }))
    );
    client.send(Method::DELETE, "/subjects/s", None).await;

    client.send(Method::DELETE, "/subjects/t", None).await;
    set(&client, "/mode", "IMPORT").await;
    assert_eq!(client.get("/subjects?deleted=true").await.1, json!([]));
    refused(&client, Method::GET, "/schemas/ids/2", None, 40403).await;
    assert_eq!(
        import(&client, "x", LONG, 2, 1).await,
        (200, json!({ "id": 2 }))
    );

    client.registry.stop().await;
    let again = registry_on(&file).await;
    assert_eq!(again.get("/mode").await.1, json!({ "mode": "IMPORT" }));
    assert_eq!(again.get("/subjects").await.1, json!(["x"]));
    set(&again, "/mode", "READWRITE").await;
    assert_eq!(again.register("y", "\"float\"").await, 6);
}

/// Ids, subjects and texts are what a target keeps of the schemas that its records came with.
#[tokio::test]
async fn a_lost_registry_gets_its_schemas_back_under_their_ids() {
    let lost = registry().await;
    let mut kept = Vec::new();
    for number in 1..=20 {
        let text = format!(r#"{{"type":"fixed","name":"F{number}","size":{number}}}"#);
        let subject = format!("t{}-value", number % 3);
        let none = Some(json!({ "compatibility": "NONE" }));
        lost.send(Method::PUT, "/config", none).await;
        let id = u32::try_from(lost.register(&subject, &text).await).unwrap();
        // The target has not seen all of them.
        if number % 4 != 0 {
            kept.push((id, subject, text));
        }
    }
    let new = registry().await;
    set(&new, "/mode", "IMPORT").await;
    for (id, subject, text) in kept.iter().rev() {
        let body = json!({ "schema": text, "id": id });
        let path = format!("/subjects/{subject}/versions");
        let answer = new.send(Method::POST, &path, Some(body)).await;
        assert_eq!(answer, (200, json!({ "id": id })));
    }
    set(&new, "/mode", "READWRITE").await;
    for (id, subject, text) in &kept {
        let by_id = new.get(&format!("/schemas/ids/{id}")).await;
        assert_eq!(by_id, (200, json!({ "schema": text })));
        assert_eq!(new.register(subject, text).await, u64::from(*id));
    }
    let highest = kept.iter().map(|(id, ..)| *id).max().unwrap();
    assert_eq!(new.register("other", LONG).await, u64::from(highest + 1));

    // An operator who does not know how many are unknown has it leave out more.
    set(&new, "/mode/left-out", "IMPORT").await;
    let left_out = Some(json!({ "schema": "\"null\"", "id": 100_000 }));
    let path = "/subjects/left-out/versions";
    let answer = new.send(Method::POST, path, left_out).await;
    assert_eq!(answer, (200, json!({ "id": 100_000 })));
    assert_eq!(new.register("other", "\"double\"").await, 100_001);
}

#[tokio::test]
async fn the_last_id_is_an_error_and_not_the_end_of_the_file() {
    const LAST: u32 = i32::MAX.unsigned_abs() - 1;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let client = registry_on(&file).await;
    set(&client, "/mode", "IMPORT").await;
    assert_eq!(
        import(&client, "s", INT, LAST, LAST).await,
        (200, json!({ "id": LAST }))
    );
    set(&client, "/mode", "READWRITE").await;
    refused(
        &client,
        Method::POST,
        "/subjects/t/versions",
        schema(LONG),
        50001,
    )
    .await;
    refused(
        &client,
        Method::POST,
        "/subjects/s/versions",
        schema(LONG),
        50001,
    )
    .await;
    assert_eq!(client.register("t", INT).await, u64::from(LAST));
    client.registry.stop().await;
    let again = registry_on(&file).await;
    assert_eq!(again.get("/subjects").await.1, json!(["s", "t"]));
}
