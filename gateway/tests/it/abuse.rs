//! What those try who mean harm: the twelve tests of graphql-cop, and some more.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::fixture::{Gateway, Rest, answer, code};

/// The introspection that GraphiQL sends, with all that its settings may add.
const INTROSPECTION: &str = include_str!("introspection.graphql");

async fn gateway() -> (Rest, Gateway) {
    let rest = Rest::start(&[]).await;
    let gateway = Gateway::start(&rest.url, &[]).await;
    (rest, gateway)
}

#[tokio::test]
async fn overloading_with_aliases_is_refused() {
    let (_rest, gateway) = gateway().await;
    let aliases = |count: usize| -> String {
        let aliases = (0..count).map(|n| format!("a{n}: __typename "));
        format!(
            "{{ articles(perPage: 1) {{ {} }} }}",
            aliases.collect::<String>()
        )
    };
    assert_eq!(gateway.ask(&aliases(30)).await["errors"], Value::Null);
    assert_eq!(
        gateway.code(&aliases(31), json!({})).await,
        "TOO_MANY_ALIASES"
    );
    // Neither do fragments hide them.
    let hidden: String = (0..16).map(|n| format!("a{n}: __typename ")).collect();
    let hidden = format!("{{ articles {{ ...f ...f }} }} fragment f on ArticlePage {{ {hidden} }}");
    assert_eq!(gateway.code(&hidden, json!({})).await, "TOO_MANY_ALIASES");
    let roots: String = (0..11)
        .map(|n| format!("a{n}: article(id: {n}) {{ id }} "))
        .collect();
    assert_eq!(
        gateway.code(&format!("{{ {roots} }}"), json!({})).await,
        "TOO_MANY_ROOT_FIELDS"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn overloading_with_a_batch_is_refused() {
    let (_rest, gateway) = gateway().await;
    let batch = |count: usize| json!(vec![json!({"query": "{ __typename }"}); count]);
    let few = answer(gateway.post(&batch(5)).send().await.unwrap()).await;
    assert_eq!(few.body.as_array().map(Vec::len), Some(5), "{}", few.text);
    for count in [0, 6, 1000] {
        let refused = answer(gateway.post(&batch(count)).send().await.unwrap()).await;
        assert_eq!(
            (refused.status, code(&refused.body).as_str()),
            (400, "BAD_REQUEST")
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn overloading_with_directives_is_refused() {
    let (_rest, gateway) = gateway().await;
    let many = format!("{{ __typename {} }}", "@include(if: true) ".repeat(51));
    assert_eq!(gateway.code(&many, json!({})).await, "TOO_MANY_DIRECTIVES");
    let unknown = format!("{{ articles {} {{ __typename }} }}", "@aa".repeat(10));
    assert_eq!(
        gateway.code(&unknown, json!({})).await,
        "GRAPHQL_VALIDATION_FAILED"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn overloading_with_repeated_fields_is_refused() {
    let (_rest, gateway) = gateway().await;
    let repeated = format!("{{ articles {{ items {{ {} }} }} }}", "title ".repeat(500));
    assert_eq!(
        gateway.code(&repeated, json!({})).await,
        "QUERY_TOO_COMPLEX"
    );
    let repeated = format!("{{ articles {{ items {{ {} }} }} }}", "id ".repeat(6000));
    assert_eq!(gateway.code(&repeated, json!({})).await, "QUERY_TOO_LARGE");
    gateway.stop().await;
}

#[tokio::test]
async fn circular_introspection_is_refused_and_graphiqls_is_not() {
    let (_rest, gateway) = gateway().await;
    let mut circle = "name".to_owned();
    for _ in 0..10 {
        circle = format!("name fields {{ type {{ {circle} }} }}");
    }
    let circle = format!("{{ __schema {{ types {{ {circle} }} }} }}");
    assert_eq!(gateway.code(&circle, json!({})).await, "QUERY_TOO_DEEP");
    let schema = gateway.data(INTROSPECTION, json!({})).await;
    assert!(schema["__schema"]["types"].as_array().unwrap().len() > 15);
    gateway.stop().await;
}

#[tokio::test]
async fn introspection_suggestions_and_the_page_can_be_switched_off() {
    let rest = Rest::start(&[]).await;
    let flags = ["--gateway-no-introspection", "--gateway-no-graphiql"];
    let gateway = Gateway::start(&rest.url, &flags).await;
    let schema = gateway.ask(INTROSPECTION).await;
    assert_eq!(schema["data"]["__schema"], Value::Null);
    let typo = gateway.ask("{ artcles { items { id } } }").await;
    assert!(!typo.to_string().contains("articles\""), "{typo}");
    assert!(!typo.to_string().contains("Did you mean"), "{typo}");
    gateway.stop().await;
}

#[tokio::test]
async fn forgery_by_forms_and_links_is_refused() {
    let (_rest, gateway) = gateway().await;
    let url = gateway.at("/graphql");
    let mutation = "mutation { deleteArticle(id: 1) }";
    let form = gateway
        .client
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(
        form.body(format!("query={mutation}"))
            .send()
            .await
            .unwrap()
            .status(),
        415
    );
    let text = gateway
        .client
        .post(&url)
        .header("content-type", "text/plain");
    let body = json!({"query": mutation}).to_string();
    assert_eq!(text.body(body.clone()).send().await.unwrap().status(), 415);
    assert_eq!(
        gateway
            .client
            .post(&url)
            .body(body)
            .send()
            .await
            .unwrap()
            .status(),
        415
    );
    let link = format!("{url}?query=mutation%7BdeleteArticle(id%3A1)%7D");
    assert_eq!(gateway.client.get(link).send().await.unwrap().status(), 405);
    gateway.stop().await;
}

#[tokio::test]
async fn neither_traces_nor_stacks_are_shown() {
    let (_rest, gateway) = gateway().await;
    for query in [
        "{ articles { items { id } } }",
        "{ nothing }",
        "{ article(id: \"x\") { id } }",
    ] {
        let answer = gateway.ask(query).await;
        let text = answer.to_string().to_lowercase();
        assert_eq!(answer["extensions"], Value::Null, "{text}");
        for word in ["tracing", "stack", "127.0.0.1", "reqwest", "panicked"] {
            assert!(!text.contains(word), "{text}");
        }
    }
    gateway.stop().await;
}

/// A document whose walk would outlast the universe is refused before anything walks it.
#[tokio::test]
async fn fragments_that_multiply_cost_nothing() {
    let (_rest, gateway) = gateway().await;
    let mut doubling = "query { ...f0 } ".to_owned();
    for n in 0..100 {
        let next = n + 1;
        doubling += &format!("fragment f{n} on Query {{ ...f{next} ...f{next} }} ");
    }
    let start = Instant::now();
    for (last, expected) in [
        ("fragment f100 on Query { __typename }", "QUERY_TOO_DEEP"),
        ("", "QUERY_TOO_DEEP"),
    ] {
        assert_eq!(
            gateway.code(&format!("{doubling}{last}"), json!({})).await,
            expected
        );
    }
    let mut doubling = "query { ...f0 } ".to_owned();
    for n in 0..30 {
        let next = n + 1;
        doubling += &format!("fragment f{n} on Query {{ ...f{next} ...f{next} }} ");
    }
    for last in ["fragment f30 on Query { __typename }", ""] {
        let code = gateway.code(&format!("{doubling}{last}"), json!({})).await;
        assert_eq!(code, "QUERY_TOO_LARGE");
    }
    for circle in [
        "query { ...f } fragment f on Query { ...f }",
        "query { ...f } fragment f on Query { ...g ...g } fragment g on Query { ...f ...f }",
    ] {
        assert_eq!(
            gateway.code(circle, json!({})).await,
            "GRAPHQL_VALIDATION_FAILED"
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "somebody walked it"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn no_nesting_brings_it_down() {
    let (_rest, gateway) = gateway().await;
    for unit in ["{a", "[", "{a(a:[", "{a(a:{a:", "query($a:[", "{...on A"] {
        let deep = unit.repeat(60_000 / unit.len());
        let answer = answer(gateway.post(&json!({"query": deep})).send().await.unwrap()).await;
        assert!(answer.body["errors"].is_array(), "{unit}: {}", answer.text);
    }
    let balanced = format!("{}a{}", "{a".repeat(10_000), "}".repeat(10_000));
    assert_eq!(
        gateway.code(&balanced, json!({})).await,
        "GRAPHQL_PARSE_FAILED"
    );
    let variables = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let body = format!(r#"{{"query": "{{ __typename }}", "variables": {variables}}}"#);
    let request = gateway.client.post(gateway.at("/graphql"));
    let refused = request
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(refused.send().await.unwrap().status(), 400);
    assert_eq!(
        gateway.data("{ __typename }", json!({})).await["__typename"],
        "Query"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn costs_that_overflow_are_costs() {
    let (_rest, gateway) = gateway().await;
    for (per_page, code) in [
        (-1, "BAD_USER_INPUT"),
        (i32::MIN, "BAD_USER_INPUT"),
        (i32::MAX, "QUERY_TOO_COMPLEX"),
    ] {
        let query = format!(
            "{{ articles(perPage: {per_page}) {{ items {{ id title author tags status viewsCount category content createdAt updatedAt }} }} }}"
        );
        assert_eq!(gateway.code(&query, json!({})).await, code, "{per_page}");
    }
    gateway.stop().await;
}
