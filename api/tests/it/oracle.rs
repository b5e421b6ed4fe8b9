//! What the API accepts the database must accept: Postgres as the oracle of the validation.

use proptest::prelude::{Just, Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use proptest::{collection, option, prop_oneof};
use serde_json::{Value, json};
use testkit::postgres::database;

use crate::fixture::Api;

const CASES: usize = 400;

/// Texts of any characters, around the limits of the fields.
fn text() -> impl Strategy<Value = Value> {
    let around = prop_oneof![0..3_usize, 49..52_usize, 99..102_usize, 199..202_usize];
    let character = prop_oneof![
        8 => any::<char>(),
        4 => Just('\''),
        2 => Just('\\'),
        1 => Just('\u{10ffff}'),
    ];
    prop_oneof![
        4 => around.prop_flat_map(move |length| {
            collection::vec(character.clone(), length..=length)
                .prop_map(|characters| json!(characters.into_iter().collect::<String>()))
        }),
        8 => "[a-z]{1,10}".prop_map(Value::from),
        1 => "[a-z]{0,3}\\x00[a-z]{0,3}".prop_map(Value::from),
        1 => prop_oneof![Just(Value::Null), Just(json!(1)), Just(json!({}))],
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let status = prop_oneof![
        Just("draft"),
        Just("published"),
        Just("archived"),
        Just("lost")
    ];
    let counts = prop_oneof![8 => 0..3_usize, 1 => 19..23_usize];
    let lists = counts.prop_flat_map(|count| collection::vec(text(), count..=count));
    let tags = lists.prop_map(Value::from);
    let fields = (
        text(),
        text(),
        text(),
        option::of(text()),
        option::of(tags),
        option::of(status),
    );
    fields.prop_map(|(title, content, author, category, tags, status)| {
        let mut body = json!({"title": title, "content": content, "author": author});
        for (name, value) in [
            ("category", category),
            ("tags", tags),
            ("status", status.map(Value::from)),
        ] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        body
    })
}

#[tokio::test]
async fn what_the_api_accepts_the_database_holds() {
    let database = database().await;
    let api = Api::start(&database, &[]).await;
    let mut runner = TestRunner::deterministic();
    let body = body();
    let mut accepted = 0;
    for _ in 0..CASES {
        let body = body.new_tree(&mut runner).unwrap().current();
        let created = api.send("POST", "/api/v1/articles", &body).await;
        if created.status != 201 {
            created.problem(422, "validation");
            continue;
        }
        accepted += 1;
        let path = created.header("location");
        let read = api.get(path).await;
        for (member, value) in body.as_object().unwrap() {
            assert_eq!(&read.body[member], value, "{body}");
        }
        // The same article again is no change; and it is found by what it holds.
        let same = api.send("PATCH", path, &body).await;
        assert_eq!(
            (same.status, same.header("etag")),
            (200, "\"v1\""),
            "{body}"
        );
        let author = body["author"].as_str().unwrap().bytes();
        let author: String = author.map(|byte| format!("%{byte:02x}")).collect();
        let list = api.get(&format!("/api/v1/articles?author={author}")).await;
        assert!(list.body["total_items"].as_i64() >= Some(1), "{body}");
    }
    assert!(
        (50..CASES - 50).contains(&accepted),
        "{accepted} of {CASES} tell nothing"
    );
    api.stop().await;
}
