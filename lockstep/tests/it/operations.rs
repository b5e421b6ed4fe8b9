//! Ten thousand random operations over REST and GraphQL: what they leave is the same on both sides.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use testkit::compare;
use testkit::random::Random;

use crate::stack::Stack;

const OPERATIONS: usize = 10_000;
const CLIENTS: usize = 8;

/// One client with its own sequence of random operations.
struct Caller {
    http: Client,
    rest: String,
    graphql: String,
    random: Random,
    /// How often each outcome was seen, by what was asked.
    seen: BTreeMap<String, usize>,
}

/// Articles that the operations are about: few, so that they meet.
const ARTICLES: u64 = 150;

impl Caller {
    async fn operate(&mut self) {
        let id = self.random.below(ARTICLES) + 1;
        match self.random.below(20) {
            choice @ 0..14 => self.ask_rest(choice, id).await,
            choice => self.ask_graphql(choice, id).await,
        }
    }

    async fn ask_rest(&mut self, choice: u64, id: u64) {
        let path = format!("/{id}");
        let (what, method, path, body) = match choice {
            0..3 => ("create", Method::POST, String::new(), Some(self.fields())),
            3 | 4 => {
                let fields = json!({ "title": self.text(), "tags": ["a", self.text()] });
                ("patch", Method::PATCH, path, Some(fields))
            }
            5 => ("empty patch", Method::PATCH, path, Some(json!({}))),
            6 => ("put", Method::PUT, path, Some(self.fields())),
            7 => ("stale", Method::PATCH, path, Some(json!({"title": "?"}))),
            8 => ("publish", Method::POST, path + "/publish", None),
            9 => ("archive", Method::POST, path + "/archive", None),
            10 => ("delete", Method::DELETE, path, None),
            11 => ("read", Method::GET, path, None),
            12 => ("list", Method::GET, "?per_page=3".to_owned(), None),
            _ => ("search", Method::GET, "/search?q=lorem".to_owned(), None),
        };
        self.rest(what, method, &path, body).await;
    }

    async fn ask_graphql(&mut self, choice: u64, id: u64) {
        let mut variables = json!({ "id": id });
        let (what, query) = match choice {
            14 | 15 => {
                variables = json!({ "input": self.fields() });
                let mutation = "mutation($input: CreateArticleInput!) \
                                { createArticle(input: $input) { id } }";
                ("createArticle", mutation)
            }
            16 => {
                variables["input"] = json!({ "title": self.text(), "category": null });
                let mutation = "mutation($id: ID!, $input: UpdateArticleInput!) \
                                { updateArticle(id: $id, input: $input) { title category } }";
                ("updateArticle", mutation)
            }
            17 => (
                "deleteArticle",
                "mutation($id: ID!) { deleteArticle(id: $id) }",
            ),
            18 => {
                let mutation = "mutation($id: ID!) { publishArticle(id: $id) { status } }";
                ("publishArticle", mutation)
            }
            _ => {
                let query = "query($id: ID!) \
                             { article(id: $id) { title } articles { items { id } } }";
                ("query", query)
            }
        };
        self.graphql(what, query, variables).await;
    }

    async fn rest(&mut self, what: &str, method: Method, path: &str, body: Option<Value>) {
        let url = format!("{}/api/v1/articles{path}", self.rest);
        let mut request = self.http.request(method, url);
        if what == "stale" {
            request = request.header("if-match", "\"v999999\"");
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let (status, _) = answer(request).await;
        self.count(format!("{what} {status}"));
    }

    async fn graphql(&mut self, what: &str, query: &str, variables: Value) {
        let request = self.http.post(&self.graphql);
        let body = json!({ "query": query, "variables": variables });
        let (status, answer) = answer(request.json(&body)).await;
        assert_eq!(status, 200, "{what}: {answer}");
        let code = &answer["errors"][0]["extensions"]["code"];
        self.count(format!("{what} {}", code.as_str().unwrap_or("ok")));
    }

    fn count(&mut self, outcome: String) {
        *self.seen.entry(outcome).or_default() += 1;
    }

    fn fields(&mut self) -> Value {
        json!({ "title": self.text(), "content": self.text().repeat(50), "author": self.text() })
    }

    fn text(&mut self) -> String {
        let words = ["lorem", "ipsum", "Ünïcödé", "'quoted\\", "🦀", "a\nb"];
        let number = self.random.below(1000);
        format!("{} {number}", self.random.pick(&words))
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// What the operations may end with, and with each of it some do.
const EXPECTED: [&str; 29] = [
    "archive 200",
    "archive 404",
    "create 201",
    "createArticle ok",
    "delete 204",
    "delete 404",
    "deleteArticle NOT_FOUND",
    "deleteArticle ok",
    "empty patch 200",
    "empty patch 404",
    "list 200",
    "patch 200",
    "patch 404",
    "publish 200",
    "publish 404",
    "publish 409",
    "publishArticle CONFLICT",
    "publishArticle NOT_FOUND",
    "publishArticle ok",
    "put 200",
    "put 404",
    "query ok",
    "read 200",
    "read 404",
    "search 200",
    "stale 404",
    "stale 412",
    "updateArticle NOT_FOUND",
    "updateArticle ok",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_ten_thousand_operations_both_sides_are_equal() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    // The client wants a provider even where it speaks no TLS; another test may have set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = Client::new();
    let callers = (0..CLIENTS).map(|number| {
        let mut caller = Caller {
            http: http.clone(),
            rest: stack.api(),
            graphql: stack.graphql(),
            random: Random::new(number as u64),
            seen: BTreeMap::new(),
        };
        async move {
            for _ in 0..OPERATIONS / CLIENTS {
                caller.operate().await;
            }
            caller.seen
        }
    });
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (outcome, count) in join_all(callers).await.into_iter().flatten() {
        *seen.entry(outcome).or_default() += count;
    }
    assert_eq!(seen.values().sum::<usize>(), OPERATIONS);
    let outcomes: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(outcomes, EXPECTED, "{seen:?}");

    let (source, target) = (stack.source().await, stack.target().await);
    let tables = ["public.articles", "public.articles_migrations"];
    // Views are counted a second later; nothing else is under way.
    compare::until_tables_are_equal(&source, &target, &tables).await;
    let articles = "select count(*) from articles";
    let left: i64 = target.query_one(articles, &[]).await.unwrap().get(0);
    assert!(left > 1000, "{left} articles are left");
}
