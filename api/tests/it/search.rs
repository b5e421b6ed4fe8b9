//! Search: what is found, in which order, and how it is shown.

use serde_json::{Value, json};
use testkit::postgres::database;

use crate::fixture::{Answer, Api, answer, draft};

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

async fn find(api: &Api, text: &str) -> Answer {
    let path = format!("/api/v1/articles/search?q={}", encoded(text));
    let found = api.get(&path).await;
    assert_eq!(found.status, 200, "{text:?}: {}", found.text);
    found
}

fn titles(found: &Answer) -> Vec<&str> {
    let items = found.body["items"].as_array().unwrap().iter();
    items.map(|item| item["title"].as_str().unwrap()).collect()
}

fn article(title: &str, content: &str) -> Value {
    json!({"title": title, "content": content, "author": "Ann"})
}

#[tokio::test]
async fn what_fits_best_comes_first() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let long = format!("{} harbour {}", "words ".repeat(300), "words ".repeat(300));
    api.create(&article("Harbours at night", "Lights.")).await;
    let mut tagged = article("Ships", "Lights.");
    tagged["tags"] = json!(["harbour"]);
    api.create(&tagged).await;
    api.create(&article("Short", "A harbour.")).await;
    api.create(&article("Long", &long)).await;
    api.create(&article("Nothing", "At all.")).await;
    let mut written = article("Written", "By her.");
    written["author"] = json!("Jane Harbour");
    api.create(&written).await;

    // A title before author and tags, those before the text, a short text before a long one; of
    // equals the youngest.
    let found = find(&api, "harbour").await;
    let expected = ["Harbours at night", "Written", "Ships", "Short", "Long"];
    assert_eq!(titles(&found), expected);
    let items = found.body["items"].as_array().unwrap();
    let ranks: Vec<f64> = items
        .iter()
        .map(|hit| hit["rank"].as_f64().unwrap())
        .collect();
    assert!(ranks.is_sorted_by(|left, right| left >= right), "{ranks:?}");
    assert!(
        ranks.iter().all(|rank| (0.0..=1.0).contains(rank)),
        "{ranks:?}"
    );
    assert_eq!(items[3]["snippet"], "A <mark>harbour</mark>.");

    for (text, expected) in [
        ("harbours light", vec!["Harbours at night", "Ships"]),
        ("\"lights harbour\"", vec![]),
        ("\"at night\"", vec!["Harbours at night"]),
        ("harbour -lights", vec!["Written", "Short", "Long"]),
        ("nothing or ships", vec!["Nothing", "Ships"]),
        // Stop words alone look for nothing.
        ("the and of", vec![]),
        ("unheard", vec![]),
    ] {
        let found = find(&api, text).await;
        let mut found = titles(&found);
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
    // A negation alone fits what has no such word, without any rank.
    let found = find(&api, "-harbour").await;
    assert_eq!(titles(&found), ["Nothing"]);
    assert_eq!(found.body["items"][0]["rank"], 0.0);
    api.stop().await;
}

#[tokio::test]
async fn pages_filters_and_tags_are_those_of_lists() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    for number in 1..=5 {
        let mut body = draft(&format!("Lamp {number}"));
        body["status"] = json!(["draft", "published"][number % 2]);
        body["category"] = json!(["a", "b & c"][number % 2]);
        api.create(&body).await;
    }
    let path = "/api/v1/articles/search?q=lamp&per_page=2";
    let page = api.get(path).await;
    assert_eq!(titles(&page), ["Lamp 5", "Lamp 4"]);
    assert_eq!(page.body["total_items"], 5);
    assert_eq!(page.body["total_pages"], 3);
    assert_eq!(page.body["per_page"], 2);
    let next = "</api/v1/articles/search?q=lamp&page=2&per_page=2>; rel=\"next\"";
    assert!(
        page.header("link").contains(next),
        "{}",
        page.header("link")
    );
    let beyond = api.get("/api/v1/articles/search?q=lamp&page=9").await;
    assert_eq!(
        (titles(&beyond), &beyond.body["total_items"]),
        (vec![], &json!(5))
    );
    let filtered = api
        .get("/api/v1/articles/search?q=lamp&status=published&category=b+%26+c&author=Ann")
        .await;
    assert_eq!(titles(&filtered), ["Lamp 5", "Lamp 3", "Lamp 1"]);

    let etag = page.header("etag").to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    let request = api.request("GET", path).header("if-none-match", &etag);
    let known = answer(request.send().await.unwrap()).await;
    assert_eq!(
        (known.status, known.header("etag"), known.text.as_str()),
        (304, etag.as_str(), "")
    );
    let head = answer(api.request("HEAD", path).send().await.unwrap()).await;
    assert_eq!(
        (head.status, head.header("etag"), head.text.as_str()),
        (200, etag.as_str(), "")
    );
    let refused = answer(api.request("POST", path).send().await.unwrap()).await;
    refused.problem(405, "method-not-allowed");
    assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
    api.stop().await;
}

#[tokio::test]
async fn no_text_breaks_the_search() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let body = article(
        "O'Brien's 50% \\ café_au_lait",
        "مرحبا بالعالم and \u{1f980} crabs; C++",
    );
    api.create(&body).await;
    for text in [
        "'",
        "\\",
        "%",
        "_",
        "\"",
        "\"unbalanced",
        "a\" b\" \"",
        "&",
        "|",
        "!",
        "( )",
        "a & | b",
        "<->",
        "a <2> b",
        "a:*",
        "a:AB",
        "--",
        "-",
        "- -",
        "or",
        "or or",
        "\u{1f980}",
        "\u{202e}",
        "\u{feff}x",
        "\u{1}a",
        "';drop table articles;--",
        "$1",
        "{}",
        "\u{10ffff}",
        "a\n\tb",
    ] {
        find(&api, text).await;
    }
    for text in ["O'Brien", "brien", "50%", "café_au_lait", "مرحبا", "crab"] {
        assert_eq!(titles(&find(&api, text).await).len(), 1, "{text}");
    }
    let longest = find(&api, &"ü".repeat(200)).await;
    assert_eq!(titles(&longest).len(), 0);

    for (query, code) in [
        ("", "required"),
        ("page=1", "required"),
        ("q=", "invalid"),
        ("q=+%09", "invalid"),
        ("q=a%00", "invalid"),
        ("q=%ff", "malformed"),
        ("q=a&q=b", "repeated"),
        ("q=a&ids=1", "unknown"),
    ] {
        let refused = api.get(&format!("/api/v1/articles/search?{query}")).await;
        refused.problem(400, "malformed");
        assert_eq!(refused.body["errors"][0]["code"], code, "{query}");
    }
    let long = format!("/api/v1/articles/search?q={}", "a".repeat(201));
    api.get(&long).await.problem(400, "malformed");
    api.stop().await;
}

#[tokio::test]
async fn an_articles_text_is_never_markup() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let content = "A <b>needle</b> & \"needle\" <script>alert('needle')</script> \u{2}needle \u{3} \
                   <mark>no needle</mark> <needle a=\"b\">";
    api.create(&article("one", content)).await;
    api.create(&article("two", &format!("{}needle", "x".repeat(90_000))))
        .await;
    api.create(&article("three", &"needle ".repeat(20_000)))
        .await;
    api.create(&article("four needle", "")).await;
    let found = find(&api, "needle").await;
    assert_eq!(
        found.body["total_items"], 3,
        "one word of 90,006 letters is no needle"
    );
    for hit in found.body["items"].as_array().unwrap() {
        let snippet = hit["snippet"].as_str().unwrap();
        let bare = snippet.replace("<mark>", "").replace("</mark>", "");
        assert!(
            !bare.contains(['<', '>', '"', '\'', '\u{2}', '\u{3}']),
            "{snippet}"
        );
        let ends = snippet.matches("</mark>").count();
        assert_eq!(snippet.matches("<mark>").count(), ends, "{snippet}");
        assert!(snippet.len() < 4000, "{}", snippet.len());
        assert_eq!(ends > 0, hit["title"] != "four needle", "{snippet}");
    }
    api.stop().await;
}

/// A tsvector has 1 MiB at most; what is in an article's limits must not break its write.
#[tokio::test]
async fn articles_of_the_largest_size_are_written_and_found() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let letters = |start: u32, count: u32| (start..start + count).filter_map(char::from_u32);
    // Each word is another; each part of a compound counts again beside the whole.
    let words: String = (0..150_000).map(|number| format!("{number:x} ")).collect();
    let compounds: String = (0..60_000)
        .map(|number| format!("{number:x}-a{number:x} "))
        .collect();
    let wide: String = letters(0x20000, 40_000)
        .flat_map(|letter| [letter, '-', letter, ' '])
        .collect();
    let hosts: String = (0..50_000)
        .map(|number| format!("a{number:x}.de/{number:x} "))
        .collect();
    for text in [words, compounds, wide, hosts] {
        let text: String = text
            .chars()
            .scan(0, |bytes, letter| {
                *bytes += letter.len_utf8();
                (*bytes <= 1 << 20).then_some(letter)
            })
            .collect();
        api.create(&article("giant", &format!("begin {text}")))
            .await;
    }
    assert_eq!(titles(&find(&api, "begin").await).len(), 4);
    api.stop().await;
}

/// Ranking takes time for each hit, so there is a limit; nothing is left out behind it.
#[tokio::test]
async fn of_very_many_hits_the_youngest_are_ranked() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let client = database.client().await;
    client
        .batch_execute(
            "insert into articles (title, content, author, created_at)
             select case when n in (1, 1000) then 'Needle' else 'Title' end, 'A needle', 'Ann',
                    timestamptz '2026-01-01Z' + n * interval '1 s'
             from generate_series(1, 2005) as n",
        )
        .await
        .unwrap();
    let first = find(&api, "needle").await;
    assert_eq!(first.body["total_items"], 2005);
    assert_eq!(first.body["items"][0]["id"], 1000);
    assert_eq!(first.body["items"][1]["id"], 2005);
    let last = api.get("/api/v1/articles/search?q=needle&page=201").await;
    let items = last.body["items"].as_array().unwrap().iter();
    let items: Vec<_> = items
        .map(|hit| (hit["id"].as_i64().unwrap(), hit["rank"].as_f64().unwrap()))
        .collect();
    assert_eq!(items, [5, 4, 3, 2, 1].map(|id| (id, 0.0)));
    api.stop().await;
}

#[tokio::test]
async fn the_index_serves_the_search() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let client = database.client().await;
    client
        .batch_execute(
            "insert into articles (title, content, author)
             select 'Title ' || n, 'Word' || n || ' and more text', 'Ann'
             from generate_series(1, 5000) as n;
             analyze articles",
        )
        .await
        .unwrap();
    assert_eq!(titles(&find(&api, "word77").await), ["Title 77"]);
    // With the parameter's value unknown to the planner, as in a prepared statement.
    client
        .batch_execute(
            "set plan_cache_mode = force_generic_plan;
             prepare search as select count(*) from articles
             where articles_document(title, content, author, tags)
                   @@ websearch_to_tsquery('pg_catalog.english', $1)",
        )
        .await
        .unwrap();
    let rows = client
        .query("explain execute search('word77')", &[])
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("Bitmap Index Scan on articles_by_word"),
        "{plan}"
    );
    api.stop().await;
}

#[tokio::test]
async fn the_migration_can_be_repeated() {
    let database = database().await;
    let client = database.client().await;
    api::migrate(&client).await.unwrap();
    let search = include_str!("../../../sql/source/0002_search.sql");
    client.batch_execute(search).await.unwrap();
    client.batch_execute(search).await.unwrap();
}

#[tokio::test]
async fn a_replica_gets_what_the_search_needs() {
    let database = database().await;
    let client = database.client().await;
    // One of an earlier version has the table already.
    let articles = include_str!("../../../sql/source/0001_articles.sql");
    client.batch_execute(articles).await.unwrap();
    api::prepare_replica(&client).await.unwrap();
    api::prepare_replica(&client).await.unwrap();
    let sql = "insert into articles (title, content, author) values ('Lamps', '', 'Ann')";
    client.batch_execute(sql).await.unwrap();
    let sql = "select count(*) from articles
               where articles_document(title, content, author, tags) @@ to_tsquery('lamp')";
    assert_eq!(
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0),
        1
    );
    let sql = "select indexdef from pg_indexes where indexname = 'articles_by_word'";
    let index: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(index.contains("USING gin"), "{index}");
}
