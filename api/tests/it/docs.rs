//! The description and its viewer, as they are served.

use testkit::postgres::database;

use crate::fixture::{Answer, Api, answer};

const DOCUMENT: &str = "/api/v1/openapi.json";

#[tokio::test]
async fn the_viewer_comes_whole_from_here() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let page = api.get("/docs").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    let links = page.text.split('"').filter(|part| part.starts_with('/'));
    let mut links: Vec<&str> = links.collect();
    links.sort_unstable();
    links.dedup();
    assert_eq!(links.len(), 5, "{links:?}");
    for path in links.into_iter().chain(["/docs"]) {
        let file = api.get(path).await;
        assert_eq!(file.status, 200, "{path}");
        if path != DOCUMENT {
            let policy = file.header("content-security-policy");
            let sources = policy.split(';').map(str::trim);
            for source in sources.filter(|source| source.contains("-src ")) {
                let (_, from) = source.split_once(' ').unwrap();
                assert!(
                    ["'none'", "'self'", "'self' data:"].contains(&from),
                    "{source}"
                );
            }
            assert!(policy.contains("script-src 'self'"), "{policy}");
        }
        let vendored = path.contains("-5.");
        let is_kept = file.header("cache-control").contains("immutable");
        assert_eq!(is_kept, vendored, "{path}");

        let etag = file.header("etag");
        let request = api.request("GET", path).header("if-none-match", etag);
        let known = answer(request.send().await.unwrap()).await;
        assert_eq!((known.status, known.text.as_str()), (304, ""), "{path}");
        for name in ["etag", "cache-control", "content-security-policy"] {
            assert_eq!(known.header(name), file.header(name), "{path}");
        }
        let head = answer(api.request("HEAD", path).send().await.unwrap()).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-length"), file.header("content-length"));
    }
    api.get("/docs/").await.problem(404, "not-found");
    api.get("/docs/else.js").await.problem(404, "not-found");
    api.get("/docs?x=1").await.problem(400, "malformed");
    let request = api.request("GET", "/docs").header("accept", "text/plain");
    let refused = answer(request.send().await.unwrap()).await;
    refused.problem(406, "not-acceptable");
    api.stop().await;
}

#[tokio::test]
async fn the_description_fits_the_settings() {
    let database = database().await;
    let open = Api::start(&database, &[]).await;
    let guarded = Api::start(&database, &["--api-token", "s3cret"]).await;
    let (one, other) = (open.get(DOCUMENT).await, guarded.get(DOCUMENT).await);
    assert_eq!(one.header("content-type"), "application/json");
    assert_eq!(one.body["openapi"], "3.1.0");
    assert_ne!(one.header("etag"), other.header("etag"));
    let create = |described: &Answer| {
        described.body["paths"]["/api/v1/articles"]["post"]["security"].clone()
    };
    assert!(create(&one).is_null());
    assert_eq!(create(&other)[0]["bearer"], serde_json::json!([]));
    open.stop().await;
    guarded.stop().await;
}
