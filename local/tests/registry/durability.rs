//! What was answered survives `kill -9` and a disk without room.

use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;

use local::registry::{Config, Registry};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::http_client;

/// Names the file; set only for the processes that the tests below start.
const CHILD_FILE: &str = "LOCKSTEP_TEST_REGISTRY_FILE";

/// Not a test but the process that the tests kill: this binary again, with [`CHILD_FILE`] set.
#[tokio::test]
async fn child() {
    let Ok(file) = std::env::var(CHILD_FILE) else {
        return;
    };
    let config = Config {
        file: file.into(),
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let registry = Registry::start(config).await.unwrap();
    println!("listening on {}", registry.addr());
    std::future::pending::<()>().await;
}

struct Process {
    child: Child,
    url: String,
}

/// Starts a registry process; `limits` are shell commands that come before it.
async fn start(file: &Path, limits: &str) -> Process {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{limits} exec \"$0\" --exact durability::child --nocapture"
        ))
        .arg(std::env::current_exe().unwrap())
        .env(CHILD_FILE, file)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the registry process ended");
        // The test harness may have begun the line.
        if let Some((_, addr)) = line.split_once("listening on ") {
            return Process {
                child,
                url: format!("http://{addr}"),
            };
        }
    }
}

fn schema(number: usize) -> String {
    format!(r#"{{"type":"record","name":"R{number}","fields":[{{"name":"a","type":"int"}}]}}"#)
}

/// Registers schema `number` in a subject of its own; `None` when the registry did not answer.
async fn register(http: &reqwest::Client, url: &str, number: usize) -> Option<(u16, Value)> {
    let request = http
        .post(format!("{url}/subjects/s{number}/versions"))
        .json(&json!({ "schema": schema(number) }));
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.json().await.ok()?))
}

/// Each answered id belongs to its schema, and to no other.
async fn check(http: &reqwest::Client, url: &str, answered: &[(usize, u64)]) {
    for (number, id) in answered {
        let response = http
            .get(format!("{url}/schemas/ids/{id}"))
            .send()
            .await
            .unwrap();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(
            answer,
            json!({ "schema": schema(*number) }),
            "id {id} after a restart"
        );
        let again = register(http, url, *number).await.unwrap();
        assert_eq!(
            again,
            (200, json!({ "id": id })),
            "schema {number} after a restart"
        );
    }
    let mut ids: Vec<u64> = answered.iter().map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), answered.len(), "an id was given twice");
}

/// How many kills: `LOCKSTEP_TEST_REGISTRY_KILLS` (20).
fn rounds() -> usize {
    const VARIABLE: &str = "LOCKSTEP_TEST_REGISTRY_KILLS";
    match std::env::var(VARIABLE) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{VARIABLE}={text} is no number")),
        Err(_) => 20,
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_answered() {
    const WRITERS: usize = 4;
    let rounds = rounds();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let http = http_client();
    let answered: Mutex<Vec<(usize, u64)>> = Mutex::default();
    for round in 0..rounds {
        let mut process = start(&file, "").await;
        // The kill falls into the writers' requests, each time after another number of answers.
        let enough = answered.lock().unwrap().len() + 1 + (round % 20) * 3;
        let (reached, kill) = tokio::sync::oneshot::channel();
        let reached = Mutex::new(Some(reached));
        let write = async |writer: usize| {
            for step in 0.. {
                let number = (round * WRITERS + writer) * 10_000 + step;
                let Some((status, answer)) = register(&http, &process.url, number).await else {
                    return;
                };
                assert_eq!(status, 200, "{answer}");
                let mut answered = answered.lock().unwrap();
                answered.push((number, answer["id"].as_u64().unwrap()));
                if answered.len() >= enough
                    && let Some(reached) = reached.lock().unwrap().take()
                {
                    reached.send(()).unwrap();
                }
            }
        };
        let child = &mut process.child;
        let killed = async {
            kill.await.unwrap();
            child.kill().await.unwrap();
        };
        tokio::join!(killed, write(0), write(1), write(2), write(3));
    }
    let process = start(&file, "").await;
    let answered = answered.into_inner().unwrap();
    println!("{rounds} kills, {} answered ids", answered.len());
    check(&http, &process.url, &answered).await;
    check_readable(&file, &answered);
}

/// People can find every answered id in the file with nothing but a text editor.
fn check_readable(file: &Path, answered: &[(usize, u64)]) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    assert!(header.contains("lockstep-schema-registry"), "{header}");
    let mut kept = std::collections::HashMap::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["event"], "registered", "{line}");
        kept.insert(event["id"].as_u64().unwrap(), event["schema"].clone());
    }
    for (number, id) in answered {
        assert_eq!(kept[id], json!(schema(*number)), "id {id} in the file");
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registry.jsonl");
    let http = http_client();
    // With the signal ignored, writing past the limit fails as on a full disk: after a part.
    let mut process = start(&file, "trap '' XFSZ; ulimit -f 8;").await;
    let mut answered = Vec::new();
    let mut refusals = 0;
    for number in 0..200 {
        let (status, answer) = register(&http, &process.url, number).await.unwrap();
        if status == 200 {
            answered.push((number, answer["id"].as_u64().unwrap()));
        } else {
            assert_eq!(
                (status, &answer["error_code"]),
                (500, &json!(50001)),
                "{answer}"
            );
            refusals += 1;
        }
    }
    assert!(
        !answered.is_empty() && refusals > 0,
        "{} answers",
        answered.len()
    );
    // Reading goes on meanwhile.
    let response = http
        .get(format!("{}/schemas/ids/1", process.url))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    process.child.kill().await.unwrap();

    let process = start(&file, "").await;
    check(&http, &process.url, &answered).await;
    // What was refused can be registered now, under ids nobody has.
    for number in 200..210 {
        let (status, answer) = register(&http, &process.url, number).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        answered.push((number, answer["id"].as_u64().unwrap()));
    }
    check(&http, &process.url, &answered).await;
}
