//! GraphQL over HTTP: methods, media types, tokens, positions, the page.

use serde_json::{Value, json};
use service::{Monitor, Shutdown};

use crate::fixture::{Gateway, Rest, answer, config};

const QUERY: &str = "{ articles { pageInfo { totalItems } } }";

#[tokio::test]
async fn the_answers_type_decides_what_the_status_says() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let new = "application/graphql-response+json";
    for (accept, query, status, media_type) in [
        (new, QUERY, 200, new),
        (new, "{ nothing }", 400, new),
        (new, "{ articles(page: 0) { items { id } } }", 200, new),
        (new, "{", 400, new),
        ("application/json", "{ nothing }", 200, "application/json"),
        ("*/*", "{", 200, "application/json"),
    ] {
        let request = gateway
            .post(&json!({"query": query}))
            .header("accept", accept);
        let answer = answer(request.send().await.unwrap()).await;
        assert_eq!(answer.status, status, "{accept} {query}: {}", answer.text);
        assert_eq!(
            answer.header("content-type"),
            format!("{media_type}; charset=utf-8")
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let request = gateway
        .post(&json!({"query": QUERY}))
        .header("accept", "image/png");
    assert_eq!(request.send().await.unwrap().status(), 406);
    gateway.stop().await;
}

#[tokio::test]
async fn get_is_for_queries_only() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let get = async |query: &[(&str, &str)]| {
        let mut url = reqwest::Url::parse(&gateway.at("/graphql")).unwrap();
        url.query_pairs_mut().extend_pairs(query);
        answer(gateway.client.get(url).send().await.unwrap()).await
    };
    let found = get(&[("query", QUERY)]).await;
    assert_eq!(found.body["data"]["articles"]["pageInfo"]["totalItems"], 0);
    let variables = ("variables", r#"{"id": "1"}"#);
    let query = (
        "query",
        "query Q($id: ID!) { article(id: $id) { id } } mutation M { deleteArticle(id: 1) }",
    );
    let found = get(&[query, variables, ("operationName", "Q")]).await;
    assert_eq!(found.body["data"]["article"], Value::Null, "{}", found.text);
    for refused in [
        get(&[query, ("operationName", "M")]).await,
        get(&[("query", "mutation { deleteArticle(id: 1) }")]).await,
    ] {
        assert_eq!(refused.status, 405, "{}", refused.text);
        assert_eq!(refused.header("allow"), "POST");
    }
    for query in [
        &[][..],
        &[("query", "")],
        &[("query", QUERY), ("variables", "{")],
    ] {
        assert_eq!(get(query).await.status, 400, "{query:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_a_request_is_refused() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &["--gateway-body-bytes=4096"]).await;
    let post = async |media_type: &str, body: String| {
        let request = gateway.client.post(gateway.at("/graphql"));
        let request = request.header("content-type", media_type).body(body);
        answer(request.send().await.unwrap()).await
    };
    let query = json!({"query": QUERY}).to_string();
    for (media_type, body, status, code) in [
        ("application/json", "", 400, "BAD_REQUEST"),
        ("application/json", "{", 400, "BAD_REQUEST"),
        ("application/json", "[]", 400, "BAD_REQUEST"),
        ("application/json", "{}", 400, "BAD_REQUEST"),
        ("application/json", r#"{"query": 1}"#, 400, "BAD_REQUEST"),
        (
            "application/json",
            r#"{"query": "{a}", "variables": 1}"#,
            400,
            "BAD_REQUEST",
        ),
        ("text/plain", &query, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            "application/x-www-form-urlencoded",
            "query=x",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "multipart/form-data; boundary=x",
            "--x--",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "application/json; charset=latin1",
            &query,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "application/json",
            &"x".repeat(5000),
            413,
            "PAYLOAD_TOO_LARGE",
        ),
    ] {
        let refused = post(media_type, body.to_owned()).await;
        assert_eq!(refused.status, status, "{media_type} {body}");
        assert_eq!(refused.body["errors"][0]["extensions"]["code"], code);
    }
    assert_eq!(
        post("Application/JSON; charset=UTF-8", query).await.status,
        200
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    for (method, path, status, allow) in [
        ("PUT", "/graphql", 405, "GET, HEAD, OPTIONS, POST"),
        ("TRACE", "/graphql", 405, "GET, HEAD, OPTIONS, POST"),
        ("POST", "/metrics", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", "/graphql", 204, "GET, HEAD, OPTIONS, POST"),
        ("GET", "/", 404, ""),
        ("GET", "/graphql/", 404, ""),
    ] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = gateway.client.request(method, gateway.at(path));
        let refused = answer(request.send().await.unwrap()).await;
        assert_eq!(
            (refused.status, refused.header("allow")),
            (status, allow),
            "{path}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn ids_of_requests_go_through() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let query = json!({"query": "{ articles(page: 0) { items { id } } }"});
    let request = gateway.post(&query).header("x-request-id", "mine-1");
    let answer = answer(request.send().await.unwrap()).await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    let problem = &answer.body["errors"][0]["extensions"]["problem"];
    assert_eq!(problem["request_id"], "mine-1");
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_for_and_handed_on() {
    let rest = Rest::start(&["--api-token=secret"]).await;
    let open = Gateway::start(&rest.url, &[]).await;
    let delete = json!({"query": "mutation { deleteArticle(id: 1) }"});
    let code = async |gateway: &Gateway, token: Option<&str>| {
        let request = gateway.post(&delete);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = answer(request.send().await.unwrap()).await;
        (
            answer.status,
            answer.body["errors"][0]["extensions"]["code"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    assert_eq!(code(&open, None).await, (200, "UNAUTHENTICATED".to_owned()));
    assert_eq!(
        code(&open, Some("secret")).await,
        (200, "NOT_FOUND".to_owned())
    );
    let closed = Gateway::start(&rest.url, &["--gateway-token=secret"]).await;
    assert_eq!(
        code(&closed, None).await,
        (401, "UNAUTHENTICATED".to_owned())
    );
    assert_eq!(
        code(&closed, Some("guess")).await,
        (401, "UNAUTHENTICATED".to_owned())
    );
    assert_eq!(
        code(&closed, Some("secret")).await,
        (200, "NOT_FOUND".to_owned())
    );
    open.stop().await;
    closed.stop().await;
}

#[tokio::test]
async fn writes_tell_their_position() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let input = r#"{title: "t", content: "c", author: "a"}"#;
    let create = format!(
        "mutation {{ a: createArticle(input: {input}) {{ id }} b: createArticle(input: {input}) {{ id }} }}"
    );
    let created = answer(
        gateway
            .post(&json!({"query": create}))
            .send()
            .await
            .unwrap(),
    )
    .await;
    let position = created.header("lockstep-position");
    assert!(position.contains('/'), "{}", created.text);
    let cookie = format!("lockstep-position={position}; Path=/");
    assert!(created.header("set-cookie").starts_with(&cookie));
    let read = answer(gateway.post(&json!({"query": QUERY})).send().await.unwrap()).await;
    assert_eq!(read.header("lockstep-position"), "");
    let request = gateway.post(&json!({"query": QUERY}));
    let refused = request
        .header("lockstep-min-position", "x")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 400);
    gateway.stop().await;
}

#[tokio::test]
async fn browsers_get_a_page_that_needs_nobody_else() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let get = async |path: &str| {
        let request = gateway.client.get(gateway.at(path));
        let request = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        answer(request.send().await.unwrap()).await
    };
    let page = get("/graphql").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("http"),
        "{policy}"
    );
    assert!(!page.text.contains("http"), "the page names another server");
    let files: Vec<&str> = page
        .text
        .split(['"', '\''])
        .filter(|text| text.starts_with("/graphql/assets/"))
        .collect();
    assert_eq!(files.len(), 6, "{files:?}");
    for file in files {
        let found = get(file).await;
        assert_eq!(found.status, 200, "{file}");
        let etag = found.header("etag").to_owned();
        let request = gateway
            .client
            .get(gateway.at(file))
            .header("if-none-match", etag);
        assert_eq!(request.send().await.unwrap().status(), 304);
        let request = gateway
            .client
            .get(gateway.at(file))
            .header("accept-encoding", "gzip");
        let packed = answer(request.send().await.unwrap()).await;
        let gzip = found.text.len() < 1024 || packed.header("content-encoding") == "gzip";
        assert!(gzip, "{file}");
    }
    assert_eq!(get("/graphql/assets/../Cargo.toml").await.status, 404);
    // Who asks for data gets data.
    assert_eq!(
        gateway
            .client
            .get(gateway.at("/graphql"))
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    gateway.stop().await;

    let bare = Gateway::start(&rest.url, &["--gateway-no-graphiql"]).await;
    let page = bare
        .client
        .get(bare.at("/graphql"))
        .header("accept", "text/html");
    assert_eq!(page.send().await.unwrap().status(), 406);
    bare.stop().await;
}

#[tokio::test]
async fn an_open_port_and_a_wrong_url_are_refused() {
    let refused = async |flags: &[&str]| {
        let outcome = gateway::run(config(flags), Monitor::new(), Shutdown::new()).await;
        service::chain(&outcome.unwrap_err())
    };
    let shown = refused(&["--gateway-listen=0.0.0.0:0"]).await;
    assert!(shown.contains("--gateway-token"), "{shown}");
    let shown = refused(&[
        "--gateway-listen=127.0.0.1:0",
        "--gateway-rest=localhost:5000",
    ])
    .await;
    assert!(shown.contains("--gateway-rest"), "{shown}");
}

#[tokio::test]
async fn metrics_count_operations_and_calls() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    gateway.ask(QUERY).await;
    gateway.ask("{ nothing }").await;
    gateway.ask("mutation { deleteArticle(id: 1) }").await;
    for (line, count) in [
        (r#"graphql_operations_total{outcome="ok",type="query"}"#, 1),
        (
            r#"graphql_operations_total{outcome="refused",type="query"}"#,
            1,
        ),
        (
            r#"graphql_operations_total{outcome="errors",type="mutation"}"#,
            1,
        ),
        (r#"graphql_errors_total{code="NOT_FOUND"}"#, 1),
        (
            r#"graphql_errors_total{code="GRAPHQL_VALIDATION_FAILED"}"#,
            1,
        ),
        (
            r#"upstream_requests_total{outcome="ok",upstream="primary"}"#,
            1,
        ),
        (
            r#"http_requests_total{method="POST",route="/graphql",status="200"}"#,
            3,
        ),
    ] {
        assert_eq!(gateway.metric(line).await, count, "{line}");
    }
    gateway.stop().await;
}
