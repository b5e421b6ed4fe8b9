//! Endpoints, codes and the order of checks.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, registry};

const R1: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
/// Readable with R1 and reads R1's data.
const R2: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}]}"#;
/// Cannot read what R1 writes.
const R3: &str = r#"{"type":"record","name":"R","fields":[{"name":"c","type":"string"}]}"#;

fn schema(text: &str) -> Option<Value> {
    Some(json!({ "schema": text }))
}

/// Asks and checks the status with the error code of the answer.
async fn refused(client: &Client, method: Method, path: &str, body: Option<Value>, code: u64) {
    let (status, answer) = client.send(method.clone(), path, body).await;
    assert_eq!(answer["error_code"], code, "{method} {path}: {answer}");
    let expected = if code > 999 { code / 100 } else { code };
    assert_eq!(u64::from(status), expected, "{method} {path}: {answer}");
    assert!(
        answer["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
}

#[tokio::test]
async fn a_registered_schema_is_found_by_id_version_and_text() {
    let client = registry().await;
    assert_eq!(client.register("t-value", R1).await, 1);
    assert_eq!(client.register("t-value", R1).await, 1);
    assert_eq!(client.register("t-value", R2).await, 2);
    assert_eq!(client.register("u-value", R2).await, 2);

    assert_eq!(
        client.get("/subjects").await,
        (200, json!(["t-value", "u-value"]))
    );
    assert_eq!(
        client.get("/subjects/t-value/versions").await,
        (200, json!([1, 2]))
    );
    assert_eq!(
        client.get("/schemas/ids/1?subject=t-value").await,
        (200, json!({ "schema": R1 }))
    );
    let described = json!({ "subject": "t-value", "version": 2, "id": 2, "schema": R2 });
    assert_eq!(
        client.get("/subjects/t-value/versions/latest").await,
        (200, described.clone())
    );
    assert_eq!(
        client.get("/subjects/t-value/versions/2").await,
        (200, described.clone())
    );
    let path = "/subjects/t-value?normalize=False&deleted=False";
    assert_eq!(
        client.send(Method::POST, path, schema(R2)).await,
        (200, described)
    );
}
