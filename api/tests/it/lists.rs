//! Lists, pages and filters.

use serde_json::{Value, json};
use testkit::postgres::database;

use crate::fixture::{Answer, Api, answer, draft};

fn titles(list: &Answer) -> Vec<&str> {
    let items = list.body["items"].as_array().unwrap().iter();
    items.map(|item| item["title"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_hold_every_article_once_and_the_youngest_first() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let empty = api.get("/api/v1/articles").await;
    let expected =
        json!({"items": [], "page": 1, "per_page": 10, "total_items": 0, "total_pages": 0});
    assert_eq!((empty.status, &empty.body), (200, &expected));

    for number in 1..=25 {
        api.create(&draft(&format!("{number}"))).await;
    }
    let mut seen = Vec::new();
    let mut next = Some("/api/v1/articles".to_owned());
    while let Some(path) = next {
        let page = api.get(&path).await;
        assert_eq!(page.body["total_items"], 25);
        assert_eq!(page.body["total_pages"], 3);
        seen.extend(titles(&page).into_iter().map(str::to_owned));
        next = link(&page, "next");
    }
    let expected: Vec<String> = (1..=25).rev().map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);

    let beyond = api.get("/api/v1/articles?page=1000000").await;
    assert_eq!((beyond.status, titles(&beyond)), (200, vec![]));
    let wide = api.get("/api/v1/articles?per_page=100").await;
    assert_eq!(titles(&wide).len(), 25);
    api.stop().await;
}

fn link(page: &Answer, relation: &str) -> Option<String> {
    let wanted = format!(">; rel=\"{relation}\"");
    let links = page.header("link").split(", ");
    let link = links.into_iter().find(|link| link.ends_with(&wanted))?;
    Some(
        link.trim_start_matches('<')
            .split('>')
            .next()
            .unwrap()
            .to_owned(),
    )
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for (title, author, category, status) in [
        ("1", "Ann", json!("news & more"), "draft"),
        ("2", "Ann", json!("sport"), "published"),
        ("3", "Bób", json!("news & more"), "published"),
        ("4", "Bób", Value::Null, "draft"),
    ] {
        let mut body = draft(title);
        (body["author"], body["category"], body["status"]) =
            (json!(author), category, json!(status));
        api.create(&body).await;
    }
    for (query, expected) in [
        ("", "4 3 2 1"),
        ("status=published", "3 2"),
        ("author=B%C3%B3b", "4 3"),
        ("category=news+%26+more", "3 1"),
        ("category=news%20%26%20more&status=draft", "1"),
        ("author=Ann&category=sport&status=published", "2"),
        ("author=Ann&status=archived", ""),
        ("author=%27%20or%20true%20--", ""),
    ] {
        let list = api
            .get(&format!("/api/v1/articles?{query}&per_page=3"))
            .await;
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(list.body["total_items"], expected.len(), "{query}");
        let first: Vec<&str> = expected.into_iter().take(3).collect();
        assert_eq!(titles(&list), first, "{query}");
    }
    api.stop().await;
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for (query, parameter, code) in [
        ("page=0", "page", "invalid"),
        ("page=abc", "page", "invalid"),
        ("page=471920456595579994112", "page", "invalid"),
        ("per_page=101", "per_page", "invalid"),
        ("status=lost", "status", "invalid"),
        ("author=%00", "author", "invalid"),
        ("author=%ff", "author", "malformed"),
        ("page=1&page=2", "page", "repeated"),
        ("pgae=1", "pgae", "unknown"),
    ] {
        let answer = api.get(&format!("/api/v1/articles?{query}")).await;
        answer.problem(400, "malformed");
        let expected = (json!(parameter), json!(code));
        let error = &answer.body["errors"][0];
        assert_eq!(
            (&error["parameter"], &error["code"]),
            (&expected.0, &expected.1),
            "{query}"
        );
    }
    api.get("/api/v1/health?x=1")
        .await
        .problem(400, "malformed");
    api.stop().await;
}

#[tokio::test]
async fn an_unchanged_page_is_not_sent_again() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    let etag = api.get("/api/v1/articles").await.header("etag").to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    let ask = async || {
        let request = api
            .request("GET", "/api/v1/articles")
            .header("if-none-match", &etag);
        answer(request.send().await.unwrap()).await
    };
    let unchanged = ask().await;
    assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));
    assert_eq!(unchanged.header("etag"), etag);
    let path = format!("/api/v1/articles/{}", article["id"]);
    api.send("PATCH", &path, &json!({"title": "two"})).await;
    assert_eq!(ask().await.status, 200);
    api.stop().await;
}

#[tokio::test]
async fn articles_are_listed_by_their_ids() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for number in 1..=5 {
        let mut body = draft(&number.to_string());
        body["status"] = json!(["draft", "published"][number % 2]);
        api.create(&body).await;
    }
    let list = api.get("/api/v1/articles?ids=2,5,3,99").await;
    assert_eq!(titles(&list), ["5", "3", "2"]);
    assert_eq!(list.body["total_items"], 3);
    let list = api
        .get("/api/v1/articles?ids=2%2C5%2C3&status=published&per_page=1")
        .await;
    assert_eq!(titles(&list), ["5"]);
    let next = link(&list, "next").unwrap();
    assert!(next.ends_with("&status=published&ids=2,5,3"), "{next}");
    assert_eq!(titles(&api.get(&next).await), ["3"]);
    let many: Vec<String> = (1..=101).map(|id| id.to_string()).collect();
    let ids = |count: usize| format!("/api/v1/articles?ids={}", many[..count].join(","));
    assert_eq!(api.get(&ids(100)).await.status, 200);
    for wrong in [
        ids(101).as_str(),
        "/api/v1/articles?ids=1,1",
        "/api/v1/articles?ids=",
    ] {
        let refused = api.get(wrong).await;
        refused.problem(400, "malformed");
        assert_eq!(refused.body["errors"][0]["parameter"], "ids");
    }
    api.stop().await;
}
