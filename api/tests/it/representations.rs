//! Forms of the same answer: compressed or not, and whether the client has it already.

use reqwest::header::{self, HeaderName};
use serde_json::json;
use testkit::postgres::database;

use crate::fixture::{Answer, Api, answer, draft};

const ARTICLES: &str = "/api/v1/articles";

async fn ask(api: &Api, method: &str, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    let mut request = api.request(method, path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    answer(request.send().await.unwrap()).await
}

/// An article whose answer is worth compressing, and one whose answer is not.
async fn two_articles(api: &Api) -> (String, String) {
    let mut long = draft("long");
    long["content"] = json!("a sentence that comes again. ".repeat(10_000));
    let long = api.create(&long).await;
    let short = api.create(&draft("short")).await;
    let path = |article: &serde_json::Value| format!("{ARTICLES}/{}", article["id"]);
    (path(&long), path(&short))
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_takes_it() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let (long, short) = two_articles(&api).await;
    let gzip = (header::ACCEPT_ENCODING, "br, gzip");

    let plain = ask(&api, "GET", &long, &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(plain.header("vary").contains("accept-encoding"));
    assert_eq!(plain.header("etag"), "\"v1\"");

    let packed = ask(&api, "GET", &long, std::slice::from_ref(&gzip)).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.header("etag"), "\"v1-gzip\"");
    let bytes: usize = packed.header("content-length").parse().unwrap();
    assert!(
        bytes * 20 < plain.text.len(),
        "{bytes} of {}",
        plain.text.len()
    );

    // HEAD says what GET would, and sends nothing.
    let head = ask(&api, "HEAD", &long, std::slice::from_ref(&gzip)).await;
    for name in [
        "content-encoding",
        "etag",
        "vary",
        "content-type",
        "last-modified",
    ] {
        assert_eq!(head.header(name), packed.header(name), "{name}");
    }
    assert_eq!(head.text, "");

    let refused = [(header::ACCEPT_ENCODING, "gzip;q=0, *;q=0")];
    assert_eq!(
        ask(&api, "GET", &long, &refused)
            .await
            .header("content-encoding"),
        ""
    );
    let small = ask(&api, "GET", &short, std::slice::from_ref(&gzip)).await;
    assert_eq!(small.header("content-encoding"), "");
    assert_eq!(small.header("etag"), "\"v1\"");
    api.stop().await;
}

#[tokio::test]
async fn either_tag_names_the_version() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let (long, _) = two_articles(&api).await;
    let gzip = (header::ACCEPT_ENCODING, "gzip");
    for tag in ["\"v1\"", "\"v1-gzip\"", "W/\"v1-gzip\""] {
        let known = (header::IF_NONE_MATCH, tag);
        let same = ask(&api, "GET", &long, &[known, gzip.clone()]).await;
        assert_eq!((same.status, same.text.as_str()), (304, ""), "{tag}");
        assert_eq!(same.header("etag"), "\"v1-gzip\"");
        assert!(same.header("vary").contains("accept-encoding"));
        assert_eq!(same.header("content-length"), "");
    }
    let changed = api
        .send_if("\"v1-gzip\"", "PATCH", &long, &json!({"title": "new"}))
        .await;
    assert_eq!(changed.status, 200);
    let stale = api
        .send_if("\"v1-gzip\"", "PATCH", &long, &json!({"title": "newer"}))
        .await;
    stale.problem(412, "precondition-failed");
    api.stop().await;
}

#[tokio::test]
async fn dates_are_heeded_where_no_tag_is() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let (_, path) = two_articles(&api).await;
    let modified = ask(&api, "GET", &path, &[])
        .await
        .header("last-modified")
        .to_owned();
    let (past, future) = (
        "Thu, 01 Jan 2015 00:00:00 GMT",
        "Fri, 01 Jan 2100 00:00:00 GMT",
    );
    for (date, status) in [
        (modified.as_str(), 304),
        (future, 304),
        (past, 200),
        ("never", 200),
    ] {
        let since = [(header::IF_MODIFIED_SINCE, date)];
        let found = ask(&api, "GET", &path, &since).await;
        assert_eq!(found.status, status, "{date}");
        assert_eq!(found.header("last-modified"), modified);
        // A tag says more than a date.
        let tagged = [
            (header::IF_MODIFIED_SINCE, date),
            (header::IF_NONE_MATCH, "\"v0\""),
        ];
        assert_eq!(ask(&api, "GET", &path, &tagged).await.status, 200);
    }
    let unmodified = (header::IF_UNMODIFIED_SINCE, past);
    let refused = ask(&api, "DELETE", &path, std::slice::from_ref(&unmodified)).await;
    refused.problem(412, "precondition-failed");
    let tagged = [unmodified, (header::IF_MATCH, "\"v1\"")];
    assert_eq!(ask(&api, "DELETE", &path, &tagged).await.status, 204);
    api.stop().await;
}

#[tokio::test]
async fn json_that_says_two_things_is_refused() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for body in [
        r#"{"title": "a", "content": "c", "author": "a", "title": "b"}"#,
        r#"{"title": "a", "content": "c", "author": "a"} more"#,
        r#"{"title": "\ud800", "content": "c", "author": "a"}"#,
        &format!("{}1{}", "[".repeat(200), "]".repeat(200)),
    ] {
        let request = api.request("POST", ARTICLES);
        let request = request.header("content-type", "application/json");
        let refused = answer(request.body(body.to_owned()).send().await.unwrap()).await;
        refused.problem(400, "malformed");
    }
    assert_eq!(api.get(ARTICLES).await.body["total_items"], 0);
    api.stop().await;
}
