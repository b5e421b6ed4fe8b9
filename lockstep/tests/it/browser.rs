//! The web pages of a whole `lockstep up`, in a real browser: they work, ask no other server for
//! anything, and leave no error on the console. `make screenshots` keeps what they show.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::wait;

use crate::stack::Stack;

const TITLE: &str = "What a replication slot remembers";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_viewer_runs_an_operation() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    write_articles(&stack).await;
    let api = stack.api();

    let browser = Browser::start().await;
    browser.open(&format!("{api}/docs")).await;
    let list = "#operations-Articles-listArticles";
    browser.says(list, "/api/v1/articles").await;
    browser
        .says("#viewer", "/api/v1/articles/{id}/publish")
        .await;
    browser.scroll_to("#operations-tag-Articles").await;
    browser.keep("api-operations").await;
    browser
        .click(&format!("{list} .opblock-summary-control"))
        .await;
    browser.click(&format!("{list} .try-out__btn")).await;
    browser.click(&format!("{list} .execute")).await;
    let answer = format!("{list} .live-responses-table");
    browser
        .says(&format!("{answer} .response-col_status"), "200")
        .await;
    browser.says(&answer, TITLE).await;
    // No filter was filled in beforehand.
    let url = browser.text(&format!("{list} .request-url")).await;
    assert!(url.ends_with("/articles?page=1&per_page=10"), "{url}");
    browser.scroll_to(&format!("{list} .btn-group")).await;
    browser.keep("api-viewer").await;
    browser.assert_at_home(&[&api]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn graphiql_knows_the_schema_and_runs_a_query() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    write_articles(&stack).await;

    let browser = Browser::start().await;
    browser.open(&stack.graphql()).await;
    browser
        .click("[aria-label='Show Documentation Explorer']")
        .await;
    // Its types stand there when introspection was answered.
    let documentation = ".graphiql-doc-explorer";
    browser.says(documentation, "query: Query").await;
    browser
        .says(documentation, "subscription: Subscription")
        .await;
    operate(
        &browser,
        "Newest",
        "query Newest { articles(perPage: 3) { items { id title author status } \
         pageInfo { totalItems hasNext } } }",
    )
    .await;
    browser
        .says(RESULT, &format!("\"title\": \"{TITLE}\""))
        .await;
    browser.says(RESULT, "\"totalItems\": 3").await;
    browser.keep("graphiql").await;
    browser.assert_at_home(&[&stack.graphql()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_by_sql_and_one_through_rest_appear_in_graphiql_by_themselves() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let id = write_articles(&stack).await;
    let source = stack.source().await;

    let browser = Browser::start().await;
    browser.open(&stack.graphql()).await;
    operate(
        &browser,
        "Changes",
        "subscription Changes { articleChanged { operation position committedAt \
         article { id title author status } } }",
    )
    .await;
    // Nothing tells when the page listens, so the same is written until it was heard.
    let update = "update articles set title = 'Renamed by SQL' where id = $1";
    wait::until("an edit by SQL appears", async || {
        source
            .execute(update, &[&id])
            .await
            .expect("edit an article");
        let said = browser.text(RESULT).await;
        let appeared = said.contains("\"title\": \"Renamed by SQL\"");
        appeared.then_some(()).ok_or(said)
    })
    .await;
    browser.keep("subscription").await;

    let patch = json!({ "title": "Renamed through REST" });
    call(&stack, Method::PATCH, &format!("/{id}"), &patch).await;
    browser
        .says(RESULT, "\"title\": \"Renamed through REST\"")
        .await;
    browser.assert_at_home(&[&stack.graphql()]).await;
}

/// Where GraphiQL shows what was answered.
const RESULT: &str = ".graphiql-response";

/// Has GraphiQL run an operation of this name, as it would be typed.
async fn operate(browser: &Browser, name: &str, operation: &str) {
    browser.click(".graphiql-query-editor .CodeMirror").await;
    browser.control("a").await;
    browser.keys(operation).await;
    browser.click("[aria-label^='Prettify']").await;
    // It looks a moment later what the operation that it will run is called, and then notes it.
    let noted = format!("\"operationName\":\"{name}\"");
    wait::until("GraphiQL has read the operation", async || {
        let script = "return localStorage.getItem('graphiql:tabState')";
        let tabs = browser.run(script, Vec::new()).await;
        let read = tabs.as_str().is_some_and(|tabs| tabs.contains(&noted));
        read.then_some(()).ok_or(tabs)
    })
    .await;
    browser.click(".graphiql-execute-button").await;
}

/// Some articles to look at; returns the id of the newest, which is [`TITLE`].
async fn write_articles(stack: &Stack) -> i64 {
    // Several tests of this process may be the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut newest = 0;
    for (title, author, tag) in [
        ("Reading a log from its end", "Grace Hopper", "wal"),
        ("Why a tombstone is not a NULL", "Edgar Codd", "kafka"),
        (TITLE, "Ada Lovelace", "postgres"),
    ] {
        let content = format!("{title}: notes for the curious.");
        let article = json!({
            "title": title, "content": content, "author": author,
            "category": "engineering", "tags": [tag],
        });
        let created = call(stack, Method::POST, "", &article).await;
        newest = created["id"].as_i64().expect("an id");
    }
    newest
}

async fn call(stack: &Stack, method: Method, path: &str, body: &Value) -> Value {
    let url = format!("{}/api/v1/articles{path}", stack.api());
    let request = Client::new().request(method, url).json(body);
    let response = request.send().await.expect("reach the API");
    assert!(response.status().is_success(), "{response:?}");
    response.json().await.expect("an article")
}
