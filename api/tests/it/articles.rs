//! One article through its life.

use serde_json::{Value, json};
use testkit::postgres::database;

use crate::fixture::{Api, answer, draft};

#[tokio::test]
async fn an_article_is_created_read_and_deleted() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let body = json!({"title": "Tïtle \u{1f980}", "content": "a\nb\t\"c\" \u{202e}rtl", "author": "Ann",
                      "category": "news", "tags": ["x", "y z"]});
    let created = api.send("POST", "/api/v1/articles", &body).await;
    assert_eq!(created.status, 201);
    let path = created.header("location").to_owned();
    assert_eq!(path, format!("/api/v1/articles/{}", created.body["id"]));
    assert_eq!(created.header("etag"), "\"v1\"");
    for (member, value) in body.as_object().unwrap() {
        assert_eq!(&created.body[member], value);
    }
    assert_eq!(created.body["status"], "draft");
    assert_eq!(created.body["views_count"], 0);
    assert_eq!(created.body["published_at"], Value::Null);
    let made = created.body["created_at"].as_str().unwrap();
    assert!(
        made.ends_with('Z') && made.len() == "2026-01-01T00:00:00.000000Z".len(),
        "{made}"
    );

    let read = api.get(&path).await;
    assert_eq!((read.status, &read.body), (200, &created.body));
    assert_eq!(read.header("etag"), "\"v1\"");
    assert!(read.header("last-modified").ends_with(" GMT"));

    assert_eq!(api.send("DELETE", &path, &Value::Null).await.status, 204);
    api.get(&path).await.problem(404, "not-found");
    api.send("DELETE", &path, &Value::Null)
        .await
        .problem(404, "not-found");
    api.send("PUT", &path, &draft("again"))
        .await
        .problem(404, "not-found");
    api.stop().await;
}

#[tokio::test]
async fn put_replaces_and_patch_merges() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let mut body = draft("one");
    body["category"] = json!("news");
    let article = api.create(&body).await;
    let path = format!("/api/v1/articles/{}", article["id"]);

    let patched = api.send("PATCH", &path, &json!({"title": "two"})).await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.body["title"], "two");
    assert_eq!(patched.body["category"], "news");
    assert_eq!(patched.body["tags"], json!(["a", "b"]));
    assert_eq!(patched.header("etag"), "\"v2\"");
    assert!(patched.body["updated_at"].as_str() > article["updated_at"].as_str());

    let merge = api
        .request("PATCH", &path)
        .header("content-type", "application/merge-patch+json");
    let cleared = answer(merge.body(r#"{"category": null}"#).send().await.unwrap()).await;
    assert_eq!(cleared.body["category"], Value::Null);
    assert_eq!(cleared.body["title"], "two");

    let put = api
        .send(
            "PUT",
            &path,
            &json!({"title": "t", "content": "c", "author": "a"}),
        )
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(put.body["tags"], json!([]));
    assert_eq!(put.body["created_at"], article["created_at"]);
    api.stop().await;
}

#[tokio::test]
async fn an_article_is_published_once_and_archived_for_good() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);
    let step = async |to: &str| {
        api.send("POST", &format!("{path}/{to}"), &Value::Null)
            .await
    };

    let published = step("publish").await;
    assert_eq!(published.status, 200);
    assert_eq!(published.body["status"], "published");
    assert!(published.body["published_at"].is_string());
    let again = step("publish").await;
    assert_eq!((again.status, &again.body), (200, &published.body));
    assert_eq!(again.header("etag"), published.header("etag"));

    api.send("PATCH", &path, &json!({"status": "draft"}))
        .await
        .problem(409, "conflict");
    let edited = api
        .send("PATCH", &path, &json!({"title": "late edit"}))
        .await;
    assert_eq!(edited.body["published_at"], published.body["published_at"]);

    let archived = step("archive").await;
    assert_eq!(archived.body["status"], "archived");
    assert_eq!(
        archived.body["published_at"],
        published.body["published_at"]
    );
    assert_eq!(step("archive").await.status, 200);
    step("publish").await.problem(409, "conflict");
    api.get("/api/v1/articles/999999")
        .await
        .problem(404, "not-found");
    let absent = api
        .send("POST", "/api/v1/articles/999999/publish", &Value::Null)
        .await;
    absent.problem(404, "not-found");

    let mut born = draft("born published");
    born["status"] = json!("published");
    assert!(api.create(&born).await["published_at"].is_string());
    api.stop().await;
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);
    let row = "select (xmin::text, xmax::text, ctid)::text from articles";
    let client = database.client().await;
    let before: String = client.query_one(row, &[]).await.unwrap().get(0);

    for request in [
        api.request("PATCH", &path).json(&json!({})),
        api.request("PATCH", &path).json(&json!({"title": "one"})),
        api.request("PUT", &path).json(&draft("one")),
        api.request("PATCH", &path)
            .json(&json!({"title": "x"}))
            .header("if-match", "\"v9\""),
        api.request("HEAD", &path),
        api.request("GET", &path).header("if-none-match", "\"v1\""),
    ] {
        let answered = answer(request.send().await.unwrap()).await;
        assert_eq!(answered.header("etag"), "\"v1\"", "{}", answered.text);
    }
    // Had one of them counted a view, this one would flush it together with its own.
    assert_eq!(api.get(&path).await.status, 200);
    testkit::wait::until("the view is flushed", async || {
        let views = "select views_count from articles where views_count > 0";
        client
            .query_one(views, &[])
            .await
            .map(|row| assert_eq!(row.get::<_, i64>(0), 1))
    })
    .await;
    let version: i64 = client
        .query_one("select version from articles", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(version, 1, "a view is no edit");
    let after: String = client.query_one(row, &[]).await.unwrap().get(0);
    assert_ne!(before, after, "the probe sees a write");
    api.stop().await;
}

#[tokio::test]
async fn views_survive_the_stop() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);
    for _ in 0..25 {
        assert_eq!(api.get(&path).await.status, 200);
    }
    api.stop().await;
    let client = database.client().await;
    let row = client
        .query_one("select views_count from articles", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 25);
}

#[tokio::test]
async fn an_edit_by_sql_is_a_new_version() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let article = api.create(&draft("one")).await;
    let path = format!("/api/v1/articles/{}", article["id"]);
    let client = database.client().await;
    client
        .batch_execute("update articles set title = 'by SQL'")
        .await
        .unwrap();
    let read = api.get(&path).await;
    assert_eq!(read.header("etag"), "\"v2\"");
    assert_eq!(read.body["title"], "by SQL");
    api.stop().await;
}

#[tokio::test]
async fn the_database_holds_the_limits_too() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let client = database.client().await;
    for (columns, values, constraint) in [
        ("title", "''", "articles_title_length"),
        ("title", "repeat('x', 201)", "articles_title_length"),
        ("content", "repeat('x', 1048577)", "articles_content_length"),
        ("author", "repeat('x', 101)", "articles_author_length"),
        ("category", "''", "articles_category_length"),
        (
            "tags",
            "array_fill('t'::text, array[21])",
            "articles_tags_form",
        ),
        ("tags", "array[null]::text[]", "articles_tags_form"),
        ("tags", "array['']", "articles_tags_form"),
        ("tags", "array[['a'], ['b']]", "articles_tags_form"),
        ("status", "'lost'", "articles_status_known"),
        ("status", "'published'", "articles_published_at_fits_status"),
        ("published_at", "now()", "articles_published_at_fits_status"),
        ("views_count", "-1", "articles_views_count_not_negative"),
    ] {
        let sql = format!(
            "insert into articles (title, content, author) values ('t', 'c', 'a');
             update articles set {columns} = {values}"
        );
        let error = client.batch_execute(&sql).await.unwrap_err();
        let violated = error.as_db_error().and_then(|error| error.constraint());
        assert_eq!(violated, Some(constraint), "{columns} = {values}: {error}");
    }
    api.stop().await;
}
