//! Articles through GraphQL, and the same through REST.

use futures_util::future::join_all;
use proptest::prelude::{Just, Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use proptest::{option, prop_oneof};
use serde_json::{Value, json};

use crate::fixture::{Gateway, Rest, code};

const FIELDS: &str = "id title content author category tags status viewsCount createdAt updatedAt \
                      publishedAt";

#[tokio::test]
async fn an_article_is_made_changed_published_archived_and_deleted() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let create = format!(
        "mutation($input: CreateArticleInput!) {{ createArticle(input: $input) {{ {FIELDS} etag }} }}"
    );
    let input = json!({"title": "One", "content": "Text.", "author": "Ann", "category": "c", "tags": ["a", "b"]});
    let created = &gateway.data(&create, json!({ "input": input })).await["createArticle"];
    assert_eq!(created["status"], "DRAFT");
    assert_eq!(created["tags"], json!(["a", "b"]));
    assert_eq!(created["publishedAt"], Value::Null);
    assert!(created["createdAt"].as_str().unwrap().ends_with('Z'));
    let id = created["id"].as_str().unwrap();
    let etag = created["etag"].as_str().unwrap();

    // Absent stays, null removes.
    let update = "mutation($id: ID!, $input: UpdateArticleInput!, $etag: String) \
                  { updateArticle(id: $id, input: $input, ifMatch: $etag) { title category tags etag } }";
    let change = |input: Value, etag: Option<&str>| json!({"id": id, "input": input, "etag": etag});
    let variables = change(json!({"title": "Two"}), Some(etag));
    let updated = &gateway.data(update, variables.clone()).await["updateArticle"];
    assert_eq!(
        (&updated["title"], &updated["category"]),
        (&json!("Two"), &json!("c"))
    );
    assert_eq!(gateway.code(update, variables).await, "PRECONDITION_FAILED");
    let variables = change(json!({"category": null, "tags": null}), None);
    let updated = &gateway.data(update, variables).await["updateArticle"];
    assert_eq!(
        (&updated["category"], &updated["tags"]),
        (&Value::Null, &json!([]))
    );
    let refused = gateway
        .ask_with(update, change(json!({"title": null}), None))
        .await;
    assert_eq!(code(&refused), "BAD_USER_INPUT");
    let problem = &refused["errors"][0]["extensions"]["problem"];
    assert_eq!(problem["errors"][0]["pointer"], "/title", "{refused}");
    assert_eq!(refused["errors"][0]["path"], json!(["updateArticle"]));

    let publish = "mutation($id: ID!) { publishArticle(id: $id) { status publishedAt } }";
    let published = &gateway.data(publish, json!({ "id": id })).await["publishArticle"];
    assert_eq!(published["status"], "PUBLISHED");
    assert!(published["publishedAt"].is_string());
    let archive = "mutation($id: ID!) { archiveArticle(id: $id) { status } }";
    let archived = &gateway.data(archive, json!({ "id": id })).await["archiveArticle"];
    assert_eq!(archived["status"], "ARCHIVED");
    assert_eq!(gateway.code(publish, json!({ "id": id })).await, "CONFLICT");

    let article = format!("query($id: ID!) {{ article(id: $id) {{ {FIELDS} }} }}");
    let read = &gateway.data(&article, json!({ "id": id })).await["article"];
    let (_, through_rest) = rest.get(&format!("/{id}")).await;
    assert_same(read, &through_rest);

    let delete = "mutation($id: ID!) { deleteArticle(id: $id) }";
    assert_eq!(
        gateway.data(delete, json!({ "id": id })).await["deleteArticle"],
        true
    );
    assert_eq!(gateway.code(delete, json!({ "id": id })).await, "NOT_FOUND");
    assert_eq!(
        gateway.data(&article, json!({ "id": id })).await["article"],
        Value::Null
    );
    gateway.stop().await;
}

/// GraphQL's article beside REST's: names and enums differ, nothing else.
#[track_caller]
fn assert_same(graphql: &Value, rest: &Value) {
    let text = |value: &Value| value.to_string().trim_matches('"').to_lowercase();
    for (ours, theirs) in [
        ("id", "id"),
        ("status", "status"),
        ("viewsCount", "views_count"),
        ("createdAt", "created_at"),
        ("updatedAt", "updated_at"),
        ("publishedAt", "published_at"),
    ] {
        assert_eq!(text(&graphql[ours]), text(&rest[theirs]), "{ours}");
    }
    for same in ["title", "content", "author", "category", "tags"] {
        assert_eq!(graphql[same], rest[same]);
    }
}

#[tokio::test]
async fn ids_that_no_article_has() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    for id in ["1", "0", "9223372036854775807", "99999999999999999999"] {
        let query = format!("{{ article(id: \"{id}\") {{ id }} }}");
        assert_eq!(
            gateway.data(&query, json!({})).await["article"],
            Value::Null
        );
        let delete = format!("mutation {{ deleteArticle(id: \"{id}\") }}");
        assert_eq!(gateway.code(&delete, json!({})).await, "NOT_FOUND", "{id}");
    }
    for id in ["", "x", "-1", "1.5", "+1"] {
        let query = format!("{{ article(id: \"{id}\") {{ id }} }}");
        assert_eq!(
            gateway.code(&query, json!({})).await,
            "BAD_USER_INPUT",
            "{id}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    for n in 0..5 {
        rest.create(&format!("Title {n}")).await;
    }
    let query = "query($page: Int, $status: ArticleStatus) { articles(page: $page, perPage: 2, status: $status) \
                 { items { title } pageInfo { page perPage totalPages totalItems hasNext hasPrevious } } }";
    let middle = &gateway
        .data(query, json!({"page": 2, "status": "DRAFT"}))
        .await["articles"];
    assert_eq!(
        middle["items"],
        json!([{"title": "Title 2"}, {"title": "Title 1"}])
    );
    let expected = json!({"page": 2, "perPage": 2, "totalPages": 3, "totalItems": 5, "hasNext": true, "hasPrevious": true});
    assert_eq!(middle["pageInfo"], expected);
    let none = &gateway
        .data(query, json!({"page": 1, "status": "ARCHIVED"}))
        .await["articles"];
    assert_eq!(none["items"], json!([]));
    assert_eq!(none["pageInfo"]["hasNext"], false);
    for arguments in ["page: 0", "perPage: 101", "perPage: -1", "category: \"\""] {
        let query = format!("{{ articles({arguments}) {{ items {{ id }} }} }}");
        let refused = gateway.ask(&query).await;
        assert_eq!(code(&refused), "BAD_USER_INPUT", "{arguments}");
        let problem = &refused["errors"][0]["extensions"]["problem"];
        assert_eq!(problem["type"], "/problems/malformed");
    }
    let search = "{ searchArticles(query: \"title -3\", perPage: 3) \
                  { items { article { title } rank snippet } pageInfo { totalItems } } }";
    let found = &gateway.data(search, json!({})).await["searchArticles"];
    assert_eq!(found["pageInfo"]["totalItems"], 4);
    assert!(found["items"][0]["rank"].as_f64() > Some(0.0));
    let snippet = &found["items"][0]["snippet"];
    assert!(snippet.is_string(), "{snippet}");
    gateway.stop().await;
}

#[tokio::test]
async fn many_aliases_are_one_call() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let made = join_all((0..9).map(|n| {
        let rest = &rest;
        async move { rest.create(&format!("{n}")).await }
    }))
    .await;
    let aliases: Vec<String> = made
        .iter()
        .chain(&[i64::MAX])
        .map(|id| format!("a{id}: article(id: {id}) {{ id title }}"))
        .collect();
    let query = format!("{{ {} }}", aliases.join(" "));
    let before = rest.answered("/api/v1/articles", "GET").await;
    let data = gateway.data(&query, json!({})).await;
    assert_eq!(rest.answered("/api/v1/articles", "GET").await - before, 1);
    assert_eq!(rest.answered("/api/v1/articles/{id}", "GET").await, 0);
    for id in made {
        assert_eq!(data[format!("a{id}")]["id"], id.to_string());
    }
    assert_eq!(data[format!("a{}", i64::MAX)], Value::Null);
    gateway.stop().await;
}

#[tokio::test]
async fn what_succeeded_beside_an_error_is_kept() {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    let id = rest.create("One").await;
    let query =
        format!("{{ one: article(id: {id}) {{ title }} bad: article(id: \"x\") {{ title }} }}");
    let answer = gateway.ask(&query).await;
    assert_eq!(answer["data"]["one"]["title"], "One");
    assert_eq!(answer["data"]["bad"], Value::Null);
    assert_eq!(answer["errors"][0]["path"], json!(["bad"]));
    gateway.stop().await;
}

/// What the two sides are asked for.
#[derive(Clone, Debug)]
enum Operation {
    Create(Value),
    Update(Value),
    Publish,
    Archive,
    Delete,
}

fn operation() -> impl Strategy<Value = (usize, Operation)> {
    let text = || {
        prop_oneof![
            8 => "[a-zA-Zäöü🦀'\"\\\\ ]{1,12}".prop_map(Value::from),
            1 => Just(json!("")),
            1 => any::<String>().prop_map(Value::from),
        ]
    };
    let status = || {
        option::of(prop_oneof![
            Just("draft"),
            Just("published"),
            Just("archived")
        ])
    };
    let tags = || option::of(proptest::collection::vec(text(), 0..4));
    let create = (text(), text(), text(), option::of(text()), tags(), status()).prop_map(
        |(title, content, author, category, tags, status)| {
            let mut body = json!({"title": title, "content": content, "author": author});
            put(&mut body, "category", category);
            put(&mut body, "tags", tags.map(Value::from));
            put(&mut body, "status", status.map(Value::from));
            Operation::Create(body)
        },
    );
    let update = (
        option::of(text()),
        option::of(option::of(text())),
        tags(),
        status(),
    )
        .prop_map(|(title, category, tags, status)| {
            let mut body = json!({});
            put(&mut body, "title", title);
            put(
                &mut body,
                "category",
                category.map(Option::unwrap_or_default),
            );
            put(&mut body, "tags", tags.map(Value::from));
            put(&mut body, "status", status.map(Value::from));
            Operation::Update(body)
        });
    let operation = prop_oneof![
        4 => create,
        6 => update,
        1 => Just(Operation::Publish),
        1 => Just(Operation::Archive),
        1 => Just(Operation::Delete),
    ];
    (0..8_usize, operation)
}

fn put(body: &mut Value, member: &str, value: Option<Value>) {
    if let Some(value) = value {
        body[member] = value;
    }
}

/// Runs an operation through REST; its status.
async fn through_rest(rest: &Rest, id: i64, operation: &Operation) -> u16 {
    let articles = format!("{}/api/v1/articles", rest.url);
    let request = match operation {
        Operation::Create(body) => rest.client.post(articles).json(body),
        Operation::Update(body) => rest.client.patch(format!("{articles}/{id}")).json(body),
        Operation::Publish => rest.client.post(format!("{articles}/{id}/publish")),
        Operation::Archive => rest.client.post(format!("{articles}/{id}/archive")),
        Operation::Delete => rest.client.delete(format!("{articles}/{id}")),
    };
    request.send().await.unwrap().status().as_u16()
}

/// The same through GraphQL; the code that REST's status would be.
async fn through_graphql(gateway: &Gateway, id: i64, operation: &Operation) -> u16 {
    let (query, body) = match operation {
        Operation::Create(body) => (
            "mutation($input: CreateArticleInput!) { createArticle(input: $input) { id } }",
            body.clone(),
        ),
        Operation::Update(body) => (
            "mutation($id: ID!, $input: UpdateArticleInput!) { updateArticle(id: $id, input: $input) { id } }",
            body.clone(),
        ),
        Operation::Publish => (
            "mutation($id: ID!) { publishArticle(id: $id) { id } }",
            json!({}),
        ),
        Operation::Archive => (
            "mutation($id: ID!) { archiveArticle(id: $id) { id } }",
            json!({}),
        ),
        Operation::Delete => ("mutation($id: ID!) { deleteArticle(id: $id) }", json!({})),
    };
    let mut input = body;
    if let Some(status) = input["status"].as_str() {
        input["status"] = json!(status.to_uppercase());
    }
    if let Some(members) = input.as_object_mut() {
        members.retain(|name, value| name != "status" || !value.is_null());
    }
    let answer = gateway
        .ask_with(query, json!({"id": id, "input": input}))
        .await;
    if answer["errors"].is_null() {
        return match operation {
            Operation::Create(_) => 201,
            Operation::Delete => 204,
            _ => 200,
        };
    }
    let status = &answer["errors"][0]["extensions"]["problem"]["status"];
    u16::try_from(status.as_u64().unwrap_or_default()).unwrap()
}

#[tokio::test]
async fn random_operations_leave_the_same_through_both() {
    let (left, right) = (Rest::start(&[]).await, Rest::start(&[]).await);
    let gateway = Gateway::start(&right.url, &[]).await;
    let mut runner = TestRunner::deterministic();
    let operation = operation();
    let mut changed = 0;
    for _ in 0..400 {
        let (id, operation) = operation.new_tree(&mut runner).unwrap().current();
        let id = i64::try_from(id).unwrap() + 1;
        let rest = through_rest(&left, id, &operation).await;
        let graphql = through_graphql(&gateway, id, &operation).await;
        assert_eq!(rest, graphql, "{operation:?} of {id}");
        changed += usize::from(rest < 300);
    }
    assert!(changed > 80, "{changed} changes tell little");
    let (_, left) = left.get("?per_page=100").await;
    let (_, right) = right.get("?per_page=100").await;
    assert_eq!(left["total_items"], right["total_items"]);
    let timeless = |page: &Value| {
        let mut items = page["items"].as_array().unwrap().clone();
        for item in &mut items {
            for time in ["created_at", "updated_at", "published_at"] {
                item[time] = json!(item[time].is_string());
            }
        }
        items
    };
    assert_eq!(timeless(&left), timeless(&right));
    gateway.stop().await;
}
