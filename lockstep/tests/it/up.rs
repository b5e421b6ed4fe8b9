//! Everything on one machine.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::postgres::database;
use testkit::{kafka, name, registry, wait};

use crate::command;
use crate::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_written_through_rest_stands_on_the_target_also_after_kill_9() {
    let mut stack = Stack::start(&[]);
    stack.ready(1).await;
    let first = create(&stack, "before the kill").await;
    stands_on_the_target(&stack, first, "before the kill").await;

    stack.process.kill_9();
    stack.process.restart();
    stack.ready(2).await;
    let second = create(&stack, "after the kill").await;
    stands_on_the_target(&stack, first, "before the kill").await;
    stands_on_the_target(&stack, second, "after the kill").await;

    let said = stack.run(&["verify"]).await.well();
    assert!(said.contains("public.articles: equal, 2 rows"), "{said}");
    let said = stack.run(&["check"]).await.well();
    assert!(
        said.ends_with("ready\n") && !said.contains("FAIL"),
        "{said}"
    );
    let status = stack.run(&["status", "--json"]).await.well();
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["phase"], "streaming", "{status}");
    assert_eq!(status["source"]["slot"]["active"], true, "{status}");

    assert_eq!(stack.process.terminate().await.code(), Some(0));
    assert_eq!(servers_in(&stack.data()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_with_a_comparison() {
    let mut stack = Stack::start(&["--demo", "--demo-seconds=3"]);
    let status = stack.process.exit().await;
    let output = stack.process.output();
    assert_eq!(status.code(), Some(0), "{output}");
    let last = output.lines().rfind(|line| line.starts_with("demo ok: "));
    let last = last.expect("the demo says how it ended");
    let words: Vec<&str> = last.split(' ').collect();
    let [
        "demo",
        "ok:",
        transactions,
        "transactions,",
        rows,
        "rows,",
        "equal",
        "at",
        lsn,
    ] = words[..]
    else {
        panic!("{last}");
    };
    // How many is a matter of the machine.
    assert!(transactions.parse::<u64>().unwrap() > 5, "{last}");
    assert!(rows.parse::<u64>().unwrap() > 0, "{last}");
    assert!(lsn.contains('/'), "{last}");
    assert!(
        output.contains("/api/v1/articles"),
        "the URLs stand above: {output}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_found() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let id = create(&stack, "the same").await;
    stands_on_the_target(&stack, id, "the same").await;
    stack.run(&["verify"]).await.well();

    let target = stack.target().await;
    let change = "update articles set title = title || '!'";
    target.execute(change, &[]).await.unwrap();
    let ran = stack.run(&["verify", "--table=public.articles"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout
            .contains("public.articles: DIFFERENT, 1 rows on both sides"),
        "{ran:?}"
    );

    target.execute("delete from articles", &[]).await.unwrap();
    let ran = stack.run(&["verify", "--json"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["equal"], false);
    let articles = &report["tables"][0];
    assert_eq!(articles["source"]["rows"]["rows"], 1, "{report}");
    assert_eq!(articles["target"]["rows"]["rows"], 0, "{report}");
}

/// A stock consumer, which knows nothing of Lockstep, reads the topic with the registry's schemas.
#[tokio::test(flavor = "multi_thread")]
async fn confluents_python_consumer_reads_the_articles() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let id = create(&stack, "Grüße aus Kafka").await;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/examples/read_articles.py"
    );
    let mut python = Command::new(tools().join("venv/bin/python"));
    python
        .arg(script)
        .args([&stack.kafka(), &stack.registry(), "1"]);
    let ran = tokio::task::spawn_blocking(move || python.output())
        .await
        .unwrap();
    let ran = ran.expect("run Python");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let event: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(event["key"], json!({ "id": id }), "{event}");
    // Read by the first snapshot when the article was there before it.
    let op = event["op"].as_str().expect("an operation");
    assert!(["c", "r"].contains(&op), "{event}");
    assert_eq!(event["after"]["title"], "Grüße aus Kafka", "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_the_same_data_names_the_first() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let ports = crate::stack::ports();
    let mut arguments = vec!["up", "--data=data"];
    arguments.extend(ports.iter().map(String::as_str));
    let ran = command::lockstep(stack.process.dir(), &arguments).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let pid = stack.process.pid().to_string();
    assert!(
        ran.stderr.contains(&pid) && ran.stderr.contains("--data"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_can_be_replaced_by_a_given_one() {
    let (source, target) = (database().await, database().await);
    let name = name::unique();
    let given = [
        format!("--source={}", source.dsn()),
        format!("--target={}", target.dsn()),
        format!("--kafka={}", kafka::bootstrap().await),
        format!("--registry={}", registry::url().await),
        format!("--prefix={name}"),
        format!("--slot={name}"),
        format!("--publication={name}"),
        format!("--pipeline={name}"),
    ];
    let mut stack = Stack::start(&given.each_ref().map(String::as_str));
    stack.ready(1).await;
    assert!(
        !stack.data().join("source").exists(),
        "a cluster of its own"
    );
    let id = create(&stack, "far away").await;
    let there = target.client().await;
    let query = "select title from public.articles where id = $1";
    wait::until("the article stands on the target", async || {
        let row = there.query_opt(query, &[&id]).await;
        row.map_err(|error| error.to_string())?
            .ok_or("no row".to_owned())
    })
    .await;
    // What `up` wrote down is a settings file, names included.
    let said = stack
        .run(&["verify", "--config=data/endpoints.toml"])
        .await
        .well();
    assert!(said.contains("public.articles: equal, 1 rows"), "{said}");
    assert_eq!(stack.process.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_cannot_go_on_stops_the_others_with_its_reason() {
    let mut stack = Stack::start(&[]);
    stack.ready(1).await;
    let source = stack.source().await;
    source
        .batch_execute("create table keyless (a int)")
        .await
        .unwrap();
    stack.process.terminate().await;
    stack.process.restart();
    assert_eq!(stack.process.exit().await.code(), Some(1));
    let output = stack.process.output();
    let error = output.lines().rfind(|line| line.starts_with("error: "));
    let error = error.expect("an error");
    assert!(error.contains("public.keyless"), "{error}");
    assert!(error.contains("replica identity full"), "{error}");
    assert_eq!(servers_in(&stack.data()), Vec::<String>::new());
}

/// Creates an article through the API; returns its id.
async fn create(stack: &Stack, title: &str) -> i64 {
    // Several tests of this process may be the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let article = json!({ "title": title, "content": "…", "author": "Ada", "tags": ["a"] });
    let url = format!("{}/api/v1/articles", stack.api());
    let request = reqwest::Client::new().post(url).json(&article);
    let response = request.send().await.expect("reach the API");
    assert_eq!(response.status(), 201);
    let article: Value = response.json().await.expect("an article");
    article["id"].as_i64().expect("an id")
}

async fn stands_on_the_target(stack: &Stack, id: i64, title: &str) {
    let target = stack.target().await;
    let query = "select title from public.articles where id = $1";
    wait::until("the article stands on the target", async || {
        // The table is made when the first row comes.
        let row = target.query_opt(query, &[&id]).await;
        match row.map_err(|error| error.to_string())? {
            Some(row) if row.get::<_, &str>(0) == title => Ok(()),
            Some(row) => Err(row.get(0)),
            None => Err("no row".to_owned()),
        }
    })
    .await;
}

/// Processes that work in this folder.
fn servers_in(folder: &Path) -> Vec<String> {
    let pids = std::fs::read_dir("/proc")
        .expect("list processes")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let at = std::fs::read_link(entry.path().join("cwd")).ok()?;
            at.starts_with(folder)
                .then(|| entry.file_name().display().to_string())
        });
    pids.collect()
}

/// The folder with the Python environment that the registry's tests use too.
fn tools() -> std::path::PathBuf {
    let setup = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../local/tests/registry/clients/setup.sh"
    );
    let ran = Command::new("sh").arg(setup).output().expect("run sh");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8(ran.stdout).expect("a path").trim().into()
}
