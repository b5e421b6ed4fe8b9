//! The operator's pages of a whole `lockstep up`, in a real browser. `make screenshots` keeps what
//! they show.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::postgres::Connection;
use testkit::schemathesis::{self, Verdict};
use testkit::wait;

use crate::stack::Stack;

const PAGES: [(&str, &str, &str); 7] = [
    ("/", "Overview", "overview"),
    ("/replication", "Replication", "replication"),
    ("/topics", "Topics", "topics"),
    ("/schemas", "Schemas", "schemas"),
    ("/dead-letters", "Dead letters", "dead-letters"),
    ("/replay", "Replay", "replay"),
    ("/activity", "Activity", "activity"),
];

/// A table that is held, letters of another, and what somebody did.
const PLANTED: &str = "
    insert into lockstep.held_tables (pipeline, table_schema, table_name, commit_lsn,
        commits_offset, cause, reason, held_by)
    select pipeline, 'public', 'articles', commit_lsn, commits_offset, 'operator', 'a migration',
        'ann' from lockstep.progress;
    update lockstep.progress set control = control + 1;
    insert into lockstep.audit (pipeline, who, action, object, reason)
    values ('lockstep', 'ann', 'pause table', 'public.articles', 'a migration');";

/// As many open letters, of two faults.
async fn plant_letters(target: &Connection, count: i32) {
    let sql = "
        insert into lockstep.dead_letters (pipeline, table_schema, table_name, commit_lsn, ordinal,
            topic, kafka_partition, kafka_offset, schema_id, op, images, key, error_class, sqlstate,
            error, constraint_name)
        select 'lockstep', 'public', 'articles', '0/1'::pg_lsn + n, 0, 'lockstep.public.articles',
            0, n, 1, 'insert', '', int4send(n), 'conflict',
            case when n % 3 = 0 then '23514' else '23505' end,
            'a unique value of the row is taken', 'articles_pkey'
        from generate_series(1, $1) as n";
    let planted = target.execute(sql, &[&count]).await;
    planted.expect("plant dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_live_for_everybody_and_asks_nobody_else() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let target = stack.target().await;
    let planted = target.batch_execute(PLANTED).await;
    planted.expect("plant a held table");
    plant_letters(&target, 7).await;

    let console = stack.console();
    let browser = Browser::start().await;
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        for (path, title, name) in PAGES {
            browser.window(1280, 900).await;
            browser.open(&format!("{console}{path}")).await;
            browser.says("h1", title).await;
            browser.says("#connection", "live").await;
            browser
                .assert_accessible(&format!("{path}, {scheme}"))
                .await;
            browser.keep(&format!("console-{name}-{scheme}")).await;
            browser.window(320, 700).await;
            let wider = "return document.documentElement.scrollWidth > innerWidth";
            let wider = browser.run(wider, Vec::new()).await;
            assert_eq!(wider, json!(false), "{path} scrolls sideways at 320 px");
        }
    }
    browser.window(1280, 900).await;
    browser.open(&format!("{console}/")).await;
    browser.says(".verdict", "Degraded").await;
    browser.says("main", "public.articles").await;
    browser.open(&format!("{console}/dead-letters/1")).await;
    browser.says("main", "articles_pkey").await;
    browser
        .open(&format!("{console}/replication/public.articles"))
        .await;
    browser.says("main", "a migration").await;
    browser.assert_accessible("a table").await;
    browser.assert_at_home(&[&console]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_is_paused_and_resumed_by_buttons_and_the_audit_log_says_who() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let target = stack.target().await;
    let console = stack.console();
    let browser = Browser::start().await;
    for (verb, said, paused) in [
        ("pause", "Apply is paused", true),
        ("resume", "Apply goes on", false),
    ] {
        browser.open(&format!("{console}/")).await;
        let form = format!("form[action='/actions/{verb}-apply']");
        // The page is made from what was seen a moment ago.
        wait::until(&format!("there is a button to {verb}"), async || {
            let there = format!("return document.querySelector(\"{form}\") !== null");
            if browser.run(&there, Vec::new()).await == json!(true) {
                return Ok(());
            }
            browser.open(&format!("{console}/")).await;
            Err("there is none")
        })
        .await;
        browser.click(&format!("{form} input[name=reason]")).await;
        browser.keys("a test").await;
        browser.click(&format!("{form} button")).await;
        browser.says("main", said).await;
        browser.says("main", &format!("lockstep {verb}")).await;
        let row = target.query_one("select paused from lockstep.control", &[]);
        let found: bool = row.await.expect("read the control").get(0);
        assert_eq!(found, paused);
    }
    browser.open(&format!("{console}/activity")).await;
    browser.says("main", "pause apply").await;
    browser.says("main", "resume apply").await;
    browser.says("main", "a test").await;
    browser.assert_at_home(&[&console]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tables_and_letters_come_in_pages() {
    const TABLES: usize = 1_000;
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let source = stack.source().await;
    let made = "do $$ begin for n in 1..1000 loop
        execute format('create table many_%s (id int primary key, text text)', n);
        end loop; end $$";
    source.batch_execute(made).await.expect("make tables");
    plant_letters(&stack.target().await, 10_000).await;
    let client = reqwest::Client::builder().build();
    let client = client.expect("build a client");
    for (path, _, _) in PAGES {
        let url = format!("{}{path}", stack.console());
        let begun = Instant::now();
        let request = client.get(&url).header("accept-encoding", "gzip");
        let answer = request.send().await.expect("reach the console");
        let bytes = answer.bytes().await.expect("read the page").len();
        println!(
            "{path}: {bytes} bytes in {} ms",
            begun.elapsed().as_millis()
        );
        assert!(bytes < 100 * 1024, "{path} has {bytes} bytes");
    }
    let tables: Value = get(&stack, "/api/v1/tables").await;
    assert!(tables.as_array().expect("a list").len() > TABLES);
    let letters: Value = get(&stack, "/api/v1/dead-letters").await;
    assert_eq!(letters.as_array().expect("a list").len(), 100);
}

async fn get(stack: &Stack, path: &str) -> Value {
    let url = format!("{}{path}", stack.console());
    let answer = reqwest::get(url).await.expect("reach the console");
    answer.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_its_api_is_true() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    plant_letters(&stack.target().await, 3).await;
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/schemathesis");
    let location = format!("{}/api/v1/openapi.json", stack.console());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance";
    // The stream of events has no end, and what changes something has tests of its own.
    let arguments = [
        "--checks",
        checks,
        "--include-method",
        "GET",
        "--exclude-path",
        "/api/v1/events",
        "--max-examples",
        "20",
    ];
    let Verdict { code, output } = schemathesis::run(&location, &settings, &arguments).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("No issues found"), "{output}");
}
