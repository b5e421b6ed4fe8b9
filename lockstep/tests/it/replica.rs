//! Reads from the replica: a client that has written sees its write there.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::stack::Stack;

/// A client of both sides that carries positions as the answers give them.
struct Reader {
    client: Client,
    primary: String,
    replica: String,
}

impl Reader {
    fn new(stack: &Stack) -> Self {
        // The client wants a provider even where it speaks no TLS; another test may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            client: Client::new(),
            primary: stack.api(),
            replica: stack.replica(),
        }
    }

    fn write(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("{}/api/v1/articles{path}", self.primary);
        self.client.request(method, url).json(body)
    }

    fn read(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}/api/v1{path}", self.replica))
    }

    /// Writes, and reads from the replica what was written.
    async fn round_trip(&self, method: Method, path: &str, body: &Value) -> (Value, Response) {
        let written = self
            .write(method, path, body)
            .send()
            .await
            .expect("an answer");
        assert!(written.status().is_success(), "{written:?}");
        let position = header(&written, "lockstep-position");
        let written: Value = written.json().await.expect("a body of JSON");
        let read = self.read(&format!("/articles/{}", written["id"]));
        let read = read.header("lockstep-min-position", &position);
        let read = read.send().await.expect("an answer");
        let status = read.status();
        if status != StatusCode::OK {
            let problem = read.text().await.expect("a body");
            panic!("{status} to who asked for {position}: {problem}");
        }
        (written, read)
    }
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value
        .unwrap_or_else(|| panic!("no {name} in {response:?}"))
        .to_str()
        .expect("text")
        .to_owned()
}

fn article(title: &str) -> Value {
    json!({"title": title, "content": "Text.", "author": "Ann"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wrote_reads_the_write_from_the_replica() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let reader = Reader::new(&stack);

    // Others hold a transaction open that writes on, and commit what nobody publishes.
    let busy = stack.source().await;
    busy.batch_execute(
        "create unlogged table noise (n int); begin; create table bulk (n int primary key)",
    )
    .await
    .unwrap();
    for n in 0..100 {
        let bulk = format!("insert into bulk select generate_series({n}000, {n}999)");
        busy.batch_execute(&bulk).await.unwrap();
        let (written, read) = reader.round_trip(Method::POST, "", &article("t")).await;
        assert!(!header(&read, "lockstep-position").is_empty());
        assert_eq!(read.json::<Value>().await.unwrap(), written);
        let path = format!("/{}", written["id"]);
        // Once with a change, once with the same again, which writes nothing.
        for _ in 0..2 {
            let change = json!({"title": format!("changed {n}")});
            let (written, read) = reader.round_trip(Method::PATCH, &path, &change).await;
            assert_eq!(
                read.json::<Value>().await.unwrap()["title"],
                written["title"]
            );
        }
    }
    busy.batch_execute("rollback").await.unwrap();

    // A cookie does the same as the header.
    let written = reader
        .write(Method::POST, "", &article("cookie"))
        .send()
        .await
        .unwrap();
    let cookie = header(&written, "set-cookie");
    let location = header(&written, "location");
    let path = location.strip_prefix("/api/v1").unwrap();
    let read = reader
        .read(path)
        .header("cookie", cookie.split(';').next().unwrap());
    assert_eq!(read.send().await.unwrap().status(), StatusCode::OK);

    // And SQL the same as HTTP.
    let source = stack.source().await;
    source
        .batch_execute("update articles set author = 'Bob' where title = 'cookie'")
        .await
        .unwrap();
    let position = "select (pg_current_wal_flush_lsn() - 1)::text";
    let position: String = source.query_one(position, &[]).await.unwrap().get(0);
    let target = stack.target().await;
    target
        .query_one(
            "select lockstep.wait_for($1::text::pg_lsn, '10 s')",
            &[&position],
        )
        .await
        .unwrap();
    let author = "select author from articles where title = 'cookie'";
    assert_eq!(
        target
            .query_one(author, &[])
            .await
            .unwrap()
            .get::<_, &str>(0),
        "Bob"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_says_how_far_it_is_and_takes_no_writes() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let reader = Reader::new(&stack);
    reader.round_trip(Method::POST, "", &article("t")).await;

    let beyond = reader
        .read("/articles")
        .header("lockstep-min-position", "FFFF/0");
    let refused = beyond.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&refused, "retry-after"), "1");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/behind");
    assert_eq!(problem["min_position"], "FFFF/0");
    assert!(
        problem["bytes_behind"].as_u64() > Some(1 << 40),
        "{problem}"
    );

    let malformed = reader
        .read("/articles")
        .header("lockstep-min-position", "x");
    assert_eq!(
        malformed.send().await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );

    let articles = format!("{}/api/v1/articles", reader.replica);
    for (method, path, allow) in [
        (Method::POST, "", "GET, HEAD, OPTIONS"),
        (Method::DELETE, "/1", "GET, HEAD, OPTIONS"),
        (Method::POST, "/1/publish", "OPTIONS"),
    ] {
        let write = reader.client.request(method, format!("{articles}{path}"));
        let refused = write.json(&article("no")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&refused, "allow"), allow);
    }

    let position: Value = reader
        .read("/position")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(position["role"], "replica");
    assert_eq!(position["phase"], "streaming");
    let primary = format!("{}/api/v1/position", reader.primary);
    let primary: Value = reqwest::get(primary).await.unwrap().json().await.unwrap();
    assert_eq!(primary["role"], "primary");
    let health: Value = reader
        .read("/health")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(health["checks"], json!({"db": "ok", "replication": "ok"}));
}

/// The gateway writes to the primary and reads from the replica, with what it has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wrote_through_graphql_reads_the_write() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let reader = Reader::new(&stack);
    let ask = async |query: &str, position: Option<&str>| {
        let request = reader.client.post(stack.graphql());
        let request = request.json(&json!({ "query": query }));
        let request = match position {
            Some(position) => request.header("cookie", format!("lockstep-position={position}")),
            None => request,
        };
        request.send().await.unwrap()
    };
    for n in 0..50 {
        let create = format!(
            "mutation {{ createArticle(input: {{title: \"{n}\", content: \"c\", author: \"a\"}}) {{ id }} }}"
        );
        let created = ask(&create, None).await;
        let position = header(&created, "lockstep-position");
        let created: Value = created.json().await.unwrap();
        let id = created["data"]["createArticle"]["id"].as_str().unwrap();
        let query = format!("{{ article(id: {id}) {{ title }} }}");
        let read: Value = ask(&query, Some(&position)).await.json().await.unwrap();
        assert_eq!(read["data"]["article"]["title"], n.to_string(), "{read}");
    }
    let gateway = stack.graphql().replace("/graphql", "/metrics");
    let metrics = reqwest::get(gateway).await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("replica_fallbacks_total 0"),
        "the primary had to stand in"
    );
    let calls = "upstream_requests_total{outcome=\"ok\",upstream=\"replica\"} ";
    let calls = metrics.lines().find_map(|line| line.strip_prefix(calls));
    assert!(calls.unwrap().parse::<u32>().unwrap() >= 50);
}
