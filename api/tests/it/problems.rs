//! What is wrong is said in one form.

use serde_json::{Value, json};
use testkit::postgres::database;

use crate::fixture::{Api, answer, draft};

const ARTICLES: &str = "/api/v1/articles";

#[tokio::test]
async fn paths_and_methods() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    let one = format!("{ARTICLES}/{}", article["id"]);

    for path in [
        "/",
        "/api/v1/articles/",
        "/api/v1/articles/abc",
        "/api/v1/articles/-1",
        "/x%00",
    ] {
        api.get(path).await.problem(404, "not-found");
    }
    let collection = "GET, HEAD, OPTIONS, POST";
    let single = "DELETE, GET, HEAD, OPTIONS, PATCH, PUT";
    for (method, path, allow) in [
        ("PATCH", ARTICLES, collection),
        ("DELETE", ARTICLES, collection),
        ("TRACE", ARTICLES, collection),
        ("BREW", ARTICLES, collection),
        ("POST", one.as_str(), single),
        ("GET", &format!("{one}/publish"), "OPTIONS, POST"),
        ("POST", "/metrics", "GET, HEAD, OPTIONS"),
    ] {
        let refused = answer(api.request(method, path).send().await.unwrap()).await;
        refused.problem(405, "method-not-allowed");
        assert_eq!(refused.header("allow"), allow, "{method} {path}");
    }
    let options = answer(api.request("OPTIONS", &one).send().await.unwrap()).await;
    assert_eq!((options.status, options.header("allow")), (204, single));

    let get = api.get(&one).await;
    let head = answer(api.request("HEAD", &one).send().await.unwrap()).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    for name in ["content-type", "content-length", "etag", "last-modified"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    let absent = answer(
        api.request("HEAD", "/api/v1/articles/99")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!((absent.status, absent.text.as_str()), (404, ""));
    api.stop().await;
}

#[tokio::test]
async fn bodies() {
    let database = database().await;
    let api = Api::start(&database, &["--api-body-bytes", "2048"]).await;
    let article = api.create(&draft("one")).await;
    let one = format!("{ARTICLES}/{}", article["id"]);
    let post = async |content_type: &str, body: &str| {
        let request = api
            .request("POST", ARTICLES)
            .header("content-type", content_type);
        answer(request.body(body.to_owned()).send().await.unwrap()).await
    };
    let json = "application/json";
    for body in ["", "{", "{\"title\": }", "\"\\ud800\"", "nul"] {
        let refused = post(json, body).await;
        refused.problem(400, "malformed");
    }
    let deep = "[".repeat(1000);
    post(json, &deep).await.problem(400, "malformed");
    post("text/plain", "{}")
        .await
        .problem(415, "unsupported-media-type");
    post("application/json; charset=latin1", "{}")
        .await
        .problem(415, "unsupported-media-type");
    post("application/merge-patch+json", "{}")
        .await
        .problem(415, "unsupported-media-type");
    post(json, &"x".repeat(2049))
        .await
        .problem(413, "too-large");
    post(json, "[]").await.problem(422, "validation");

    let patch = api
        .request("PATCH", &one)
        .header("content-type", "text/plain")
        .body("{}");
    let refused = answer(patch.send().await.unwrap()).await;
    refused.problem(415, "unsupported-media-type");
    assert!(
        refused
            .header("accept-patch")
            .contains("application/merge-patch+json")
    );

    let invalid = api
        .send("PATCH", &one, &json!({"title": null, "tags": [1], "no": 1}))
        .await;
    invalid.problem(422, "validation");
    let errors = invalid.body["errors"].as_array().unwrap().iter();
    let pointers: Vec<&str> = errors
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/title", "/tags/0", "/no"]);
    let nul = api.send("POST", ARTICLES, &draft("a\0b")).await;
    nul.problem(422, "validation");
    api.stop().await;
}

#[tokio::test]
async fn preconditions() {
    let database = database().await;
    let api = Api::start(&database, &["--api-require-if-match"]).await;
    let article = api.create(&draft("one")).await;
    let one = format!("{ARTICLES}/{}", article["id"]);
    let two = json!({"title": "two"});

    api.send("PATCH", &one, &two)
        .await
        .problem(428, "precondition-required");
    api.send("DELETE", &one, &two)
        .await
        .problem(428, "precondition-required");
    let publish = format!("{one}/publish");
    api.send("POST", &publish, &Value::Null)
        .await
        .problem(428, "precondition-required");
    api.send_if("v1", "PATCH", &one, &two)
        .await
        .problem(400, "malformed");
    for stale in ["\"v0\"", "W/\"v1\"", "\"\""] {
        let refused = api.send_if(stale, "PATCH", &one, &two).await;
        refused.problem(412, "precondition-failed");
        assert_eq!(refused.header("etag"), "\"v1\"");
        api.send_if(stale, "DELETE", &one, &two)
            .await
            .problem(412, "precondition-failed");
        api.send_if(stale, "POST", &publish, &Value::Null)
            .await
            .problem(412, "precondition-failed");
    }
    let patched = api.send_if("\"v0\", \"v1\"", "PATCH", &one, &two).await;
    assert_eq!((patched.status, patched.header("etag")), (200, "\"v2\""));
    let published = api.send_if("*", "POST", &publish, &Value::Null).await;
    assert_eq!(published.status, 200);
    assert_eq!(
        api.send_if("\"v3\"", "DELETE", &one, &two).await.status,
        204
    );
    api.send_if("*", "PATCH", &one, &two)
        .await
        .problem(404, "not-found");
    api.stop().await;
}

#[tokio::test]
async fn what_the_client_accepts() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for (accept, status) in [("text/html", 406), ("text/html, */*;q=0.1", 200)] {
        let request = api.request("GET", ARTICLES).header("accept", accept);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    let request = api.request("POST", ARTICLES).header("accept", "text/html");
    let refused = answer(request.json(&draft("one")).send().await.unwrap()).await;
    refused.problem(406, "not-acceptable");
    assert_eq!(
        api.get(ARTICLES).await.body["total_items"],
        0,
        "nothing was created"
    );
    api.stop().await;
}

#[tokio::test]
async fn a_token_guards_changes() {
    let database = database().await;
    let api = Api::start(&database, &["--api-token", "s3cret"]).await;
    let post = async |authorization: Option<&str>| {
        let mut request = api.request("POST", ARTICLES).json(&draft("one"));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        answer(request.send().await.unwrap()).await
    };
    for wrong in [
        None,
        Some("Bearer s3cre"),
        Some("Bearer "),
        Some("Basic s3cret"),
        Some("s3cret"),
    ] {
        let refused = post(wrong).await;
        refused.problem(401, "unauthorized");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        assert!(!refused.text.contains("s3cret"));
    }
    assert_eq!(post(Some("Bearer s3cret")).await.status, 201);
    assert_eq!(post(Some("bearer s3cret")).await.status, 201);
    assert_eq!(api.get(ARTICLES).await.status, 200);
    api.stop().await;
}

#[tokio::test]
async fn every_problem_leads_to_its_page() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let problem = api.get("/nowhere").await;
    let page = api.get(problem.body["type"].as_str().unwrap()).await;
    assert_eq!(page.status, 200);
    for member in ["type", "title", "status"] {
        assert_eq!(page.body[member], problem.body[member]);
    }
    api.stop().await;
}
