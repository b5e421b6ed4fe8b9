//! The operator's pages of a whole `lockstep up`, in a real browser. `make screenshots` keeps what
//! they show.

use std::path::Path;

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

/// Two tables, which apply makes on the target, too.
const TABLES: &str = "
    create table members (id int primary key, email text not null unique, name text not null);
    create table orders (id int primary key, member int not null, total numeric(10, 2) not null)";

/// Written beside apply; what the source writes meets it.
const FOREIGN: &str = "insert into members values (99, 'ann@example.org', 'written by hand')";

/// A refused row, what follows it, one that nothing keeps, and enough for a replay to take a while.
const WRITTEN: &str = "
    insert into members values (1, 'ann@example.org', 'Ann');
    update members set name = 'Ann Smith' where id = 1;
    insert into members values (2, 'bob@example.org', 'Bob');
    insert into orders select n, 1 + n % 2, n / 7.0 from generate_series(1, 100000) as n";

/// A pipeline under load, with dead letters and a held table.
async fn in_trouble() -> Stack {
    let set_aside = [("LOCKSTEP_CONFLICTS", "dead-letter")];
    let stack = Stack::start_with(&["--demo", "--demo-rate=100"], &set_aside);
    stack.ready(1).await;
    let (source, target) = (stack.source().await, stack.target().await);
    source.batch_execute(TABLES).await.expect("make tables");
    stack.write_beside_apply(FOREIGN).await;
    source.batch_execute(WRITTEN).await.expect("write rows");
    wait::until("apply has set changes aside and goes on", async || {
        let letters = "select count(*) from lockstep.dead_letters where state = 'open'";
        let letters: i64 = query(&target, letters).await?;
        let orders: i64 = query(&target, "select count(*) from orders").await?;
        match (letters, orders) {
            (2, 100_000) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let pause = [
        "pause",
        "--table=public.orders",
        "--who=ann",
        "--reason=a migration",
    ];
    stack.run(&pause).await.well();
    let late = "update orders set total = 0 where id <= 10";
    source.batch_execute(late).await.expect("write rows");
    stack
}

async fn query(client: &Connection, sql: &str) -> Result<i64, String> {
    let row = client.query_one(sql, &[]).await;
    Ok(row.map_err(|error| error.to_string())?.get(0))
}

/// Copies the tables as they stood into one schema after the other, for ever.
async fn replay_on_and_on(stack: &Stack) {
    for number in 1.. {
        let into = format!("--into=friday_{number}");
        let replay = ["replay", &into, "--who=bob", "--reason=what was it?"];
        stack.run(&replay).await.well();
    }
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_live_for_everybody_and_asks_nobody_else() {
    let stack = in_trouble().await;
    tokio::select! {
        () = replay_on_and_on(&stack) => {}
        () = look_at_every_page(&stack) => {}
    }
}

async fn look_at_every_page(stack: &Stack) {
    let console = stack.console();
    let browser = Browser::start().await;
    let mut faults = Vec::new();
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        for (path, title, name) in PAGES {
            browser.window(1280, 900).await;
            wait::until(&format!("{path} tells of the trouble"), async || {
                // What it tells changes meanwhile: between two replays none runs.
                browser.open(&format!("{console}{path}")).await;
                browser.says("h1", title).await;
                browser.says("#connection", "live").await;
                match browser.text("main").await {
                    said if said.contains(sign(path)) => Ok(()),
                    said => Err(said),
                }
            })
            .await;
            browser.keep(&format!("console-{name}-{scheme}")).await;
            for barrier in browser.barriers().await {
                faults.push(format!("{path}, {scheme}: {barrier}"));
            }
            browser.window(320, 700).await;
            for element in browser.overhanging().await {
                faults.push(format!("{path} at 320 px: {element}"));
            }
        }
    }
    browser.window(1280, 900).await;
    for (path, sign) in [
        ("/dead-letters/1", "ann@example.org"),
        ("/replication/public.orders", "a migration"),
    ] {
        browser.open(&format!("{console}{path}")).await;
        browser.says("main", sign).await;
        for barrier in browser.barriers().await {
            faults.push(format!("{path}: {barrier}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    browser.assert_at_home(&[&console]).await;
}

/// What a page says of the trouble.
fn sign(path: &str) -> &'static str {
    match path {
        "/" => "Degraded",
        "/replication" => "held",
        "/topics" => "public.orders",
        "/schemas" => "public.members",
        "/dead-letters" => "public.members",
        "/replay" => "running",
        _ => "a migration",
    }
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
async fn a_replay_is_planned_tried_and_confirmed() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let source = stack.source().await;
    let rows = "insert into articles (title, content, author)
                select 'Title ' || n, 'Text', 'Ann' from generate_series(1, 20) as n";
    source.batch_execute(rows).await.expect("write articles");
    let target = stack.target().await;
    wait::until("the articles arrive", async || {
        let row = target.query_one("select count(*) from articles", &[]).await;
        let count: i64 = row.map_err(|error| error.to_string())?.get(0);
        if count == 20 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    })
    .await;

    let console = stack.console();
    let browser = Browser::start().await;
    browser.open(&format!("{console}/replay")).await;
    browser.click("#into").await;
    browser.keys("as_it_was").await;
    browser
        .click("form[action='/actions/replay-plan'] button")
        .await;
    browser.says("main", "has begun").await;
    browser.open(&format!("{console}/replay/plans/1")).await;
    let confirm = "form[action='/actions/replay-run']";
    browser.says("main", "5. Confirm").await;
    browser.says("main", "public.articles").await;
    assert_eq!(browser.barriers().await, Vec::<String>::new());
    browser.keep("console-replay-plan").await;
    browser
        .click(&format!("{confirm} input[name=reason]"))
        .await;
    browser.keys("a test").await;
    browser
        .click(&format!("{confirm} input[name=confirm]"))
        .await;
    browser.keys("lockstep").await;
    browser.click(&format!("{confirm} button")).await;
    browser.says("main", "The replay has begun").await;
    browser.open(&format!("{console}/replay/plans/1")).await;
    browser.says("main", "done").await;
    let row = target.query_one("select count(*) from as_it_was.articles", &[]);
    let copied: i64 = row.await.expect("count the copy").get(0);
    assert_eq!(copied, 20);
    browser.open(&format!("{console}/replay")).await;
    browser.says("main", "schema as_it_was").await;
    browser.assert_at_home(&[&console]).await;
}

/// How soon a page is painted is told, and no more: machines differ.
#[tokio::test(flavor = "multi_thread")]
async fn many_tables_and_letters_come_in_pages() {
    const TABLES: usize = 1_000;
    const PAINTED: usize = 9;
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let source = stack.source().await;
    let made = "do $$ begin for n in 1..1000 loop
        execute format('create table many_%s (id int primary key, text text)', n);
        end loop; end $$";
    source.batch_execute(made).await.expect("make tables");
    let target = stack.target().await;
    wait::until("the target has the tables", async || {
        let sql = "select count(*) from pg_tables where tablename like 'many%'";
        let row = target.query_one(sql, &[]).await;
        let row = row.map_err(|error| error.to_string())?;
        match row.get::<_, i64>(0) {
            1_000 => Ok(()),
            count => Err(format!("{count} tables")),
        }
    })
    .await;
    plant_letters(&target, 10_000).await;
    let client = client();
    let browser = Browser::start().await;
    for (path, title, _) in PAGES {
        let url = format!("{}{path}", stack.console());
        let request = client.get(&url).header("accept-encoding", "gzip");
        let answer = request.send().await.expect("reach the console");
        let bytes = answer.bytes().await.expect("read the page").len();
        assert!(bytes < 100 * 1024, "{path} has {bytes} bytes");
        let mut painted = Vec::new();
        for _ in 0..PAINTED {
            browser.open(&url).await;
            browser.says("h1", title).await;
            painted.push(browser.painted().await);
        }
        painted.sort_by(f64::total_cmp);
        println!(
            "{path}: {bytes} bytes, painted after {:.0} ms, of {PAINTED} {:.0} to {:.0}",
            painted[PAINTED / 2],
            painted[0],
            painted[PAINTED - 1],
        );
    }
    let tables: Value = get(&stack, "/api/v1/tables").await;
    assert!(tables.as_array().expect("a list").len() > TABLES);
    let letters: Value = get(&stack, "/api/v1/dead-letters").await;
    assert_eq!(letters.as_array().expect("a list").len(), 50);
}

fn client() -> reqwest::Client {
    // Several tests of this process may be the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

async fn get(stack: &Stack, path: &str) -> Value {
    let url = format!("{}{path}", stack.console());
    let answer = client().get(url).send().await.expect("reach the console");
    answer.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_its_api_is_true() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    plant_letters(&stack.target().await, 3).await;
    // The examples of the description name its topic and its subjects.
    let article = "insert into articles (title, content, author) values ('Title', 'Text', 'Ann')";
    let written = stack.source().await.batch_execute(article).await;
    written.expect("write an article");
    let subject = format!(
        "{}/subjects/lockstep.public.articles-value/versions",
        stack.registry()
    );
    wait::until("the subject is there", async || {
        let answer = client().get(&subject).send().await;
        match answer.map_err(|error| error.to_string())?.status() {
            status if status.is_success() => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
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
    for phase in ["✅  Examples", "✅  Coverage", "✅  Fuzzing"] {
        assert!(output.contains(phase), "{phase} is not in:\n{output}");
    }
}
