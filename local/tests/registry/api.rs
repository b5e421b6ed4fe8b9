//! Endpoints, codes and the order of checks.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{refused, registry, schema};

const R1: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
/// Readable with R1 and reads R1's data.
const R2: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}]}"#;
/// Cannot read what R1 writes.
const R3: &str = r#"{"type":"record","name":"R","fields":[{"name":"c","type":"string"}]}"#;

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

#[tokio::test]
async fn text_is_stored_in_canonical_form_and_found_by_it() {
    let client = registry().await;
    let written = r#"{ "fields": [], "name": "com.x.R", "type": "record", "doc": "d" }"#;
    let canonical = r#"{"type":"record","name":"R","namespace":"com.x","doc":"d","fields":[]}"#;
    assert_eq!(client.register("s", written).await, 1);
    assert_eq!(
        client.get("/schemas/ids/1").await,
        (200, json!({ "schema": canonical }))
    );
    assert_eq!(client.register("s", canonical).await, 1);
    assert_eq!(
        client
            .send(Method::POST, "/subjects/s", schema(written))
            .await
            .0,
        200
    );
    // Doc is part of what a schema is.
    assert_eq!(
        client
            .register("s", &written.replace("\"d\"", "\"e\""))
            .await,
        2
    );
    for path in ["/schemas/ids/1/schema", "/subjects/s/versions/1/schema"] {
        let response = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), canonical, "{path}");
    }
}

#[tokio::test]
async fn normalizing_sorts_properties_only_when_asked() {
    let client = registry().await;
    let (one, other) = (
        r#"{"type":"int","b":1,"a":2}"#,
        r#"{"type":"int","a":2,"b":1}"#,
    );
    let normalized = "/subjects/s/versions?normalize=True";
    let (_, answer) = client.send(Method::POST, normalized, schema(one)).await;
    assert_eq!(answer, json!({ "id": 1 }));
    let (_, answer) = client.send(Method::POST, normalized, schema(other)).await;
    assert_eq!(answer, json!({ "id": 1 }));
    assert_eq!(client.register("s", one).await, 2);
}

#[tokio::test]
async fn what_does_not_exist_has_its_own_code() {
    let client = registry().await;
    client.register("s", R1).await;
    let get = Method::GET;
    refused(&client, get.clone(), "/subjects/none/versions", None, 40401).await;
    refused(
        &client,
        get.clone(),
        "/subjects/none/versions/1",
        None,
        40401,
    )
    .await;
    refused(
        &client,
        get.clone(),
        "/subjects/none/versions/0",
        None,
        42202,
    )
    .await;
    refused(&client, get.clone(), "/subjects/s/versions/2", None, 40402).await;
    refused(
        &client,
        get.clone(),
        "/subjects/s/versions/first",
        None,
        42202,
    )
    .await;
    refused(&client, get.clone(), "/schemas/ids/9", None, 40403).await;
    refused(&client, get.clone(), "/schemas/ids/x", None, 404).await;
    refused(&client, get.clone(), "/config/s", None, 40408).await;
    refused(&client, get.clone(), "/mode/s", None, 40409).await;
    refused(&client, Method::POST, "/subjects/none", schema(R1), 40401).await;
    refused(&client, Method::POST, "/subjects/s", schema(R2), 40403).await;
    refused(&client, Method::DELETE, "/subjects/none", None, 40401).await;
    refused(&client, Method::DELETE, "/config/s", None, 40401).await;
}

/// Newer clients ask for associations before each first use and take only a 404 for "none".
#[tokio::test]
async fn unknown_paths_are_404_and_unknown_methods_405_in_the_apis_shape() {
    let client = registry().await;
    let not_found = (
        404,
        json!({ "error_code": 404, "message": "HTTP 404 Not Found" }),
    );
    for path in [
        "/associations/resources/-/rows?resourceType=topic&associationType=value",
        "/nothing",
        "/subjects/s/versions/1/nothing",
        "/contexts/:.other:/subjects",
        "/schemas/guids/6a2f41a3-c54c-fce8-32d2-0324e1c32e22",
        "/subjects/%FF/versions",
    ] {
        assert_eq!(client.get(path).await, not_found, "{path}");
    }
    refused(&client, Method::PATCH, "/subjects", None, 405).await;
    refused(&client, Method::PUT, "/subjects/s", schema(R1), 405).await;
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_refused() {
    let client = registry().await;
    let path = "/subjects/s/versions";
    let post = |content_type: &'static str, body: &'static str| {
        let request = client
            .request(Method::POST, path)
            .header("content-type", content_type);
        async move {
            let answer: Value = request
                .body(body)
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            answer["error_code"].as_u64().unwrap()
        }
    };
    const V1: &str = "application/vnd.schemaregistry.v1+json; charset=utf-8";
    assert_eq!(post(V1, "").await, 422);
    assert_eq!(post(V1, "{").await, 400);
    assert_eq!(post(V1, r#"{"schema":7}"#).await, 400);
    assert_eq!(post("text/plain", r#"{"schema":"\"int\""}"#).await, 415);
    for body in [
        json!({}),
        json!({ "schema": "" }),
        json!({ "schema": "{" }),
        json!({ "schema": "\"unknown\"" }),
        json!({ "schema": R1, "schemaType": "PROTOBUF" }),
        json!({ "schema": R1, "references": [{ "name": "x", "subject": "x", "version": 1 }] }),
        json!({ "schema": R1, "references": [{ "name": "x", "subject": "x" }] }),
        json!({ "schema": R1, "ruleSet": { "domainRules": [{ "name": "x" }] } }),
        json!({ "schema": R1, "version": 2 }),
        json!({ "schema": r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"# }),
    ] {
        refused(&client, Method::POST, path, Some(body), 42201).await;
    }
    let with_id = json!({ "schema": R1, "id": 7 });
    refused(&client, Method::POST, path, Some(with_id), 42205).await;
    refused(
        &client,
        Method::POST,
        "/subjects/:.ctx:s/versions",
        schema(R1),
        42208,
    )
    .await;
    refused(
        &client,
        Method::PUT,
        "/config",
        Some(json!({ "compatibility": "NO" })),
        42203,
    )
    .await;
    refused(&client, Method::PUT, "/config", Some(json!({})), 42203).await;

    // Nothing of all that left a trace, and what says nothing is no reason to refuse.
    assert_eq!(client.get("/subjects").await, (200, json!([])));
    let body = json!({ "schema": R1, "schemaType": "AVRO", "references": [], "version": 1,
        "id": -1, "metadata": null, "ruleSet": { "domainRules": [] }, "unknown": true });
    let answer = client.send(Method::POST, path, Some(body)).await;
    assert_eq!(answer, (200, json!({ "id": 1 })));
}

#[tokio::test]
async fn a_body_without_content_type_is_json_and_one_without_end_is_refused() {
    let client = registry().await;
    let path = "/subjects/s/versions";
    let body = json!({ "schema": R1 }).to_string();
    let response = client
        .request(Method::POST, path)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let body = " ".repeat(9 << 20);
    let response = client
        .request(Method::POST, path)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn the_answers_type_is_the_one_asked_for() {
    let client = registry().await;
    let ask = |accept: Option<&'static str>| {
        let mut request = client.request(Method::GET, "/subjects");
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        async move { request.send().await.unwrap().headers()["content-type"].clone() }
    };
    assert_eq!(ask(None).await, "application/vnd.schemaregistry.v1+json");
    assert_eq!(
        ask(Some("application/json, text/plain, */*")).await,
        "application/json"
    );
    assert_eq!(
        ask(Some(
            "text/html, application/vnd.schemaregistry+json; q=0.9"
        ))
        .await,
        "application/vnd.schemaregistry+json"
    );
    assert_eq!(
        ask(Some("application/json; q=0.5, */*")).await,
        "application/json"
    );
    assert_eq!(
        ask(Some("*/*")).await,
        "application/vnd.schemaregistry.v1+json"
    );
    let none = client
        .request(Method::GET, "/subjects")
        .header("accept", "text/html, application/json; q=0");
    let response = none.send().await.unwrap();
    assert_eq!(response.status(), 406);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        answer,
        json!({ "error_code": 406, "message": "HTTP 406 Not Acceptable" })
    );
}

#[tokio::test]
async fn an_incompatible_schema_is_a_conflict_that_names_the_reason() {
    let client = registry().await;
    client.register("s", R1).await;
    let (status, answer) = client
        .send(Method::POST, "/subjects/s/versions", schema(R3))
        .await;
    assert_eq!((status, &answer["error_code"]), (409, &json!(409)));
    let message = answer["message"].as_str().unwrap();
    for part in [
        "incompatible with an earlier schema for subject \"s\"",
        "READER_FIELD_MISSING_DEFAULT_VALUE",
        "/fields/0",
        "{oldSchemaVersion: 1}",
        "compatibility: 'BACKWARD'",
    ] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    assert_eq!(client.get("/subjects/s/versions").await, (200, json!([1])));
}

/// `R1`, `R2`, `R1` again with a doc: what each level lets follow them.
#[tokio::test]
async fn each_level_compares_with_the_versions_it_should() {
    const FIRST: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    const SECOND: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}"#;
    const WIDER: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"double"}]}"#;
    const TEXT: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}"#;
    let client = registry().await;
    client.register("s", FIRST).await;
    client.register("s", SECOND).await;
    for (level, schema_text, compatible) in [
        ("NONE", TEXT, true),
        ("BACKWARD", WIDER, true),
        ("BACKWARD", TEXT, false),
        // The first version is readable as well as the second.
        ("BACKWARD_TRANSITIVE", WIDER, true),
        ("FORWARD", WIDER, false),
        // The second can read it, the first cannot read the second anyway.
        ("FORWARD", FIRST, true),
        ("FORWARD", SECOND, true),
        ("FORWARD_TRANSITIVE", SECOND, false),
        ("FULL", SECOND, true),
        ("FULL", FIRST, false),
        ("FULL_TRANSITIVE", SECOND, false),
    ] {
        let set = Some(json!({ "compatibility": level.to_lowercase() }));
        let answer = client.send(Method::PUT, "/config/s", set).await;
        assert_eq!(answer, (200, json!({ "compatibility": level })));
        let path = "/compatibility/subjects/s/versions";
        let answer = client.send(Method::POST, path, schema(schema_text)).await;
        assert_eq!(
            answer,
            (200, json!({ "is_compatible": compatible })),
            "{level} {schema_text}"
        );
    }
}

#[tokio::test]
async fn compatibility_with_one_version_and_why_not() {
    let client = registry().await;
    client.register("s", R1).await;
    let path = |version: &str| format!("/compatibility/subjects/s/versions/{version}");
    let yes = (200, json!({ "is_compatible": true }));
    assert_eq!(
        client.send(Method::POST, &path("latest"), schema(R2)).await,
        yes
    );
    assert_eq!(client.send(Method::POST, &path("1"), schema(R2)).await, yes);
    refused(&client, Method::POST, &path("2"), schema(R2), 40402).await;
    refused(&client, Method::POST, &path("0"), schema(R2), 42202).await;
    refused(&client, Method::POST, &path("1"), schema("{"), 42201).await;

    let verbose = format!("{}?verbose=true", path("latest"));
    let (_, answer) = client.send(Method::POST, &verbose, schema(R3)).await;
    assert_eq!(answer["is_compatible"], false);
    assert_eq!(
        answer["messages"].as_array().map(Vec::len),
        Some(4),
        "{answer}"
    );
    let (status, answer) = client.send(Method::POST, &verbose, schema("{")).await;
    assert_eq!((status, &answer["is_compatible"]), (200, &json!(false)));
    let (_, answer) = client.send(Method::POST, &verbose, schema(R2)).await;
    assert_eq!(answer, json!({ "is_compatible": true, "messages": [] }));

    let unknown = "/compatibility/subjects/none/versions";
    assert_eq!(client.send(Method::POST, unknown, schema(R2)).await, yes);
    let latest = format!("{unknown}/latest");
    assert_eq!(client.send(Method::POST, &latest, schema(R2)).await, yes);
    refused(
        &client,
        Method::POST,
        &format!("{unknown}/1"),
        schema(R2),
        40402,
    )
    .await;
}

#[tokio::test]
async fn levels_are_set_read_and_cleared() {
    let client = registry().await;
    let level = |level: &str| (200, json!({ "compatibilityLevel": level }));
    let set = |level: &str| Some(json!({ "compatibility": level }));
    assert_eq!(client.get("/config").await, level("BACKWARD"));
    assert_eq!(
        client.send(Method::PUT, "/config", set("FULL")).await.0,
        200
    );
    assert_eq!(client.get("/config").await, level("FULL"));
    assert_eq!(
        client.get("/config/s?defaultToGlobal=true").await,
        level("FULL")
    );
    assert_eq!(
        client.send(Method::PUT, "/config/s", set("NONE")).await.0,
        200
    );
    assert_eq!(client.get("/config/s").await, level("NONE"));
    assert_eq!(
        client.send(Method::DELETE, "/config/s", None).await,
        level("NONE")
    );
    refused(&client, Method::GET, "/config/s", None, 40408).await;
    assert_eq!(
        client.send(Method::DELETE, "/config", None).await,
        level("FULL")
    );
    assert_eq!(client.get("/config").await, level("BACKWARD"));

    assert_eq!(client.get("/schemas/types").await, (200, json!(["AVRO"])));
    assert_eq!(client.get("/contexts").await, (200, json!(["."])));
    assert_eq!(client.get("/").await, (200, json!({})));
    let (_, release) = client.get("/v1/metadata/version").await;
    assert_eq!(release["version"], "7.9.0");
    let (_, cluster) = client.get("/v1/metadata/id").await;
    assert!(cluster["scope"]["clusters"].is_object(), "{cluster}");
}

#[tokio::test]
async fn a_deleted_version_is_hidden_then_erased_and_its_number_goes_on() {
    let client = registry().await;
    let delete = Method::DELETE;
    client.register("s", R1).await;
    client.register("s", R2).await;
    let erase = "/subjects/s/versions/2?permanent=true";
    refused(&client, delete.clone(), erase, None, 40407).await;
    let latest = "/subjects/s/versions/latest";
    assert_eq!(
        client.send(delete.clone(), latest, None).await,
        (200, json!(2))
    );
    refused(
        &client,
        delete.clone(),
        "/subjects/s/versions/2",
        None,
        40406,
    )
    .await;
    refused(
        &client,
        delete.clone(),
        "/subjects/s/versions/3",
        None,
        40402,
    )
    .await;
    refused(&client, Method::GET, "/subjects/s/versions/2", None, 40402).await;
    assert_eq!(
        client.get("/subjects/s/versions/2?deleted=true").await.0,
        200
    );
    assert_eq!(client.get("/subjects/s/versions").await, (200, json!([1])));
    assert_eq!(
        client.get("/subjects/s/versions?deleted=true").await,
        (200, json!([1, 2]))
    );
    assert_eq!(
        client.get("/subjects/s/versions?deletedOnly=true").await,
        (200, json!([2]))
    );
    assert_eq!(
        client
            .get("/subjects/s/versions?deletedAsNegative=true")
            .await,
        (200, json!([1, -2]))
    );
    // Records written with it can still be read.
    assert_eq!(client.get("/schemas/ids/2").await.0, 200);
    refused(&client, Method::POST, "/subjects/s", schema(R2), 40403).await;

    // The same schema again is a new version with the id it has.
    assert_eq!(client.register("s", R2).await, 2);
    assert_eq!(
        client.get("/subjects/s/versions").await,
        (200, json!([1, 3]))
    );
    assert_eq!(
        client.send(delete.clone(), erase, None).await,
        (200, json!(2))
    );
    assert_eq!(
        client.get("/subjects/s/versions?deleted=true").await,
        (200, json!([1, 3]))
    );
}

#[tokio::test]
async fn a_deleted_subject_loses_its_level_and_an_erased_one_its_ids() {
    let client = registry().await;
    let delete = Method::DELETE;
    client.register("s", R1).await;
    client.register("s", R2).await;
    client.register("t", R2).await;
    let none = Some(json!({ "compatibility": "NONE" }));
    assert_eq!(client.send(Method::PUT, "/config/s", none).await.0, 200);
    refused(
        &client,
        delete.clone(),
        "/subjects/s?permanent=true",
        None,
        40405,
    )
    .await;
    let deleted = client.send(delete.clone(), "/subjects/s", None).await;
    assert_eq!(deleted, (200, json!([1, 2])));
    refused(&client, delete.clone(), "/subjects/s", None, 40404).await;
    refused(&client, Method::GET, "/subjects/s/versions", None, 40401).await;
    refused(&client, Method::GET, "/config/s", None, 40408).await;
    assert_eq!(client.get("/subjects").await, (200, json!(["t"])));
    assert_eq!(
        client.get("/subjects?deleted=true").await,
        (200, json!(["s", "t"]))
    );
    assert_eq!(
        client.get("/subjects?deletedOnly=true").await,
        (200, json!(["s"]))
    );
    // No live version is left to be compatible with.
    assert_eq!(client.register("s", R3).await, 3);
    assert_eq!(client.get("/subjects/s/versions").await, (200, json!([3])));
    client.send(delete.clone(), "/subjects/s", None).await;

    let erased = client
        .send(delete, "/subjects/s?permanent=true", None)
        .await;
    assert_eq!(erased, (200, json!([1, 2, 3])));
    assert_eq!(
        client.get("/subjects?deleted=true").await,
        (200, json!(["t"]))
    );
    refused(&client, Method::GET, "/schemas/ids/1", None, 40403).await;
    assert_eq!(client.get("/schemas/ids/2").await.0, 200);
    // Versions start again, ids never do.
    assert_eq!(client.register("s", R1).await, 4);
    assert_eq!(client.get("/subjects/s/versions").await, (200, json!([1])));
}

#[tokio::test]
async fn schemas_are_listed_by_page_prefix_and_use() {
    let client = registry().await;
    client.register("a-key", R1).await;
    client.register("a-value", R1).await;
    client.register("a-value", R2).await;
    client.register("b-value", R2).await;
    assert_eq!(
        client.get("/subjects?subjectPrefix=a").await.1,
        json!(["a-key", "a-value"])
    );
    assert_eq!(
        client.get("/subjects?subjectPrefix=:*:b").await.1,
        json!(["b-value"])
    );
    assert_eq!(
        client.get("/subjects?offset=1&limit=1").await.1,
        json!(["a-value"])
    );
    assert_eq!(
        client.get("/schemas/ids/1/subjects").await.1,
        json!(["a-key", "a-value"])
    );
    assert_eq!(
        client.get("/schemas/ids/2/versions").await.1,
        json!([{ "subject": "a-value", "version": 2 }, { "subject": "b-value", "version": 1 }])
    );
    let ids = |answer: Value| -> Vec<u64> {
        answer
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["id"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(ids(client.get("/schemas").await.1), [1, 1, 2, 2]);
    assert_eq!(
        ids(client.get("/schemas?latestOnly=true").await.1),
        [1, 2, 2]
    );
    assert_eq!(
        ids(client.get("/schemas?subjectPrefix=a-v&limit=1").await.1),
        [1]
    );
    let with_max = client.get("/schemas/ids/1?fetchMaxId=true").await.1;
    assert_eq!(with_max, json!({ "schema": R1, "maxId": 2 }));
    let (_, latest) = client.get("/subjects/a-value/metadata").await;
    assert_eq!(latest["version"], 2);
    let with_key = "/subjects/a-value/metadata?key=owner&value=x";
    refused(&client, Method::GET, with_key, None, 40403).await;
    let of_none = "/subjects/none/metadata?key=owner&value=x";
    refused(&client, Method::GET, of_none, None, 40401).await;
}
