//! What is wrong is named, with its mend, and the exit code is not 0; what passes is waited for.

use std::fs;
use std::net::TcpListener;

use tempfile::TempDir;
use testkit::postgres::{Database, Server, database};
use testkit::process::Process;
use testkit::{kafka, name, port, registry, wait};

use crate::command::{self, lockstep};
use crate::pipeline::Pipeline;
use crate::stack::ports;

/// Runs the command and holds its error against these words.
#[track_caller]
fn refused(ran: &command::Ran, words: &[&str]) {
    assert!(!matches!(ran.code, Some(0) | None), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is missing: {ran:?}");
    }
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    assert!(ran.stderr.contains("error: "), "{ran:?}");
}

#[tokio::test]
async fn an_unknown_setting_is_named_wherever_it_stands() {
    let folder = TempDir::new().unwrap();
    let ran = lockstep(folder.path(), &["status", "--sauce=x"]).await;
    refused(&ran, &["--sauce"]);

    let file = folder.path().join("lockstep.toml");
    fs::write(&file, "kafak = '127.0.0.1:9092'\n").unwrap();
    let ran = lockstep(folder.path(), &["status"]).await;
    refused(&ran, &["lockstep.toml", "kafak", "did you mean kafka?"]);

    fs::write(&file, "partitions = 'many'\n").unwrap();
    let ran = lockstep(folder.path(), &["cdc", "--source=host=a user=b"]).await;
    refused(&ran, &["lockstep.toml", "partitions"]);
    fs::remove_file(&file).unwrap();

    let mut process = Process::start(testkit::process::Launch {
        env: vec![("LOCKSTEP_SOURC".to_owned(), "x".to_owned())],
        ..command::launch("status", &["status"])
    });
    assert_eq!(process.exit().await.code(), Some(2));
    let said = process.output();
    assert!(
        said.contains("LOCKSTEP_SOURC; did you mean LOCKSTEP_SOURCE?"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_not_named_is_asked_for() {
    let folder = TempDir::new().unwrap();
    for command in ["status", "check", "setup", "verify"] {
        let ran = lockstep(folder.path(), &[command]).await;
        refused(&ran, &["--source is missing", "lockstep up"]);
    }
    let ran = lockstep(folder.path(), &["cdc"]).await;
    refused(&ran, &["--source"]);
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_service_and_flag_before_anything_starts() {
    let folder = TempDir::new().unwrap();
    for (flag, service) in [
        ("--source-port", "source database"),
        ("--target-port", "target database"),
        ("--kafka-port", "Kafka broker"),
        ("--registry-port", "schema registry"),
        ("--api-port", "REST API"),
        ("--replica-port", "REST API of the target"),
        ("--gateway-port", "GraphQL gateway"),
        ("--console-port", "console"),
        ("--cdc-metrics-port", "metrics of capture"),
        ("--applier-metrics-port", "metrics of apply"),
    ] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let own = format!("{flag}={port}");
        let ports = ports();
        let mut arguments = vec!["up", "--data=data", &own];
        let others = ports.iter().map(String::as_str);
        arguments.extend(others.filter(|it| !it.starts_with(flag)));
        let ran = lockstep(folder.path(), &arguments).await;
        refused(&ran, &[&port.to_string(), service, flag]);
        assert!(!folder.path().join("data/source").exists(), "{ran:?}");
    }
    let twice = port::free();
    let mut arguments = vec!["up".to_owned(), "--data=data".to_owned()];
    arguments.extend(ports().into_iter().skip(2));
    arguments.push(format!("--source-port={twice}"));
    arguments.push(format!("--target-port={twice}"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = lockstep(folder.path(), &arguments).await;
    refused(
        &ran,
        &["--source-port", "--target-port", &twice.to_string()],
    );
}

#[tokio::test]
async fn a_missing_postgres_is_named_with_its_package() {
    let folder = TempDir::new().unwrap();
    let ports = ports();
    let mut arguments = vec!["up", "--data=data", "--pg-bin=/nowhere"];
    arguments.extend(ports.iter().map(String::as_str));
    let ran = lockstep(folder.path(), &arguments).await;
    refused(&ran, &["/nowhere", "postgresql", "--pg-bin"]);
}

/// Flags of a capture of this database.
async fn capture_of(dsn: &str) -> Vec<String> {
    let name = name::unique();
    vec![
        "cdc".to_owned(),
        format!("--source={dsn}"),
        format!("--kafka={}", kafka::bootstrap().await),
        format!("--registry={}", registry::url().await),
        format!("--prefix={name}"),
        format!("--slot={name}"),
        format!("--metrics-listen=127.0.0.1:{}", port::free()),
    ]
}

async fn capture(dsn: &str) -> command::Ran {
    let arguments = capture_of(dsn).await;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    lockstep(&std::env::temp_dir(), &arguments).await
}

#[tokio::test]
async fn a_source_that_cannot_be_captured_is_refused_with_the_mend() {
    let server = Server::start(&[("wal_level", "replica")]).await;
    let database = server.database().await;
    let ran = capture(database.dsn()).await;
    refused(&ran, &["wal_level", "alter system set wal_level = logical"]);

    let database = testkit::postgres::database().await;
    let client = database.client().await;
    client
        .batch_execute("create table keyless (a int)")
        .await
        .unwrap();
    let ran = capture(database.dsn()).await;
    refused(&ran, &["public.keyless", "replica identity full"]);
}

#[tokio::test]
async fn a_role_without_replication_is_refused_with_the_mend() {
    let database = database().await;
    let client = database.client().await;
    let role = name::unique();
    let create = format!(
        "create table t (a int primary key); create publication lockstep for all tables;
         create role {role} login password 'secret-word'; grant select on t to {role}"
    );
    client.batch_execute(&create).await.unwrap();
    let ran = capture(&as_role(&database, &role)).await;
    let drop = format!("drop owned by {role}; drop role {role}");
    client.batch_execute(&drop).await.unwrap();
    refused(&ran, &[&role, "replication"]);
    assert!(!ran.stderr.contains("secret-word"), "{ran:?}");
}

#[tokio::test]
async fn a_taken_slot_is_refused_with_who_has_it() {
    let pipeline = Pipeline::new().await;
    let client = pipeline.source.client().await;
    client
        .batch_execute("create table t (a int primary key)")
        .await
        .unwrap();
    let first = pipeline.cdc();
    first.printed("publishing after").await;
    let mut second = pipeline.cdc();
    assert_eq!(second.exit().await.code(), Some(1));
    // Sessions before the stream's have had the slot.
    let query = "select active_pid::text from pg_replication_slots where slot_name = $1";
    let pid = wait::until("the slot has a reader", async || {
        let row = client.query_one(query, &[&pipeline.name()]).await.unwrap();
        row.get::<_, Option<String>>(0).ok_or("none")
    })
    .await;
    let said = second.output();
    for word in [pipeline.name(), &pid, "pg_terminate_backend", "error: "] {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

#[tokio::test]
async fn check_names_the_rights_that_a_role_lacks() {
    let (source, target) = (database().await, database().await);
    let client = target.client().await;
    let role = name::unique();
    let create = format!("create role {role} login password 'secret-word'");
    client.batch_execute(&create).await.unwrap();
    let nobody = port::free();
    let ran = lockstep(
        &std::env::temp_dir(),
        &[
            "check",
            "--timeout=1",
            &format!("--source={}", as_role(&source, &role)),
            &format!("--target={}", as_role(&target, &role)),
            &format!("--kafka=127.0.0.1:{nobody}"),
            &format!("--registry=http://127.0.0.1:{nobody}"),
        ],
    )
    .await;
    client
        .batch_execute(&format!("drop role {role}"))
        .await
        .unwrap();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for mend in [
        format!("alter role \"{role}\" replication"),
        format!(
            "grant create on database \"{}\" to \"{role}\"",
            target.name()
        ),
        format!("grant set on parameter session_replication_role to \"{role}\""),
        "as a superuser: create publication".to_owned(),
    ] {
        assert!(
            ran.stdout.contains(&mend),
            "{mend:?} is missing: {}",
            ran.stdout
        );
    }
    assert!(!ran.stdout.contains("secret-word"), "{ran:?}");
}

fn as_role(database: &Database, role: &str) -> String {
    let (_, address) = database
        .dsn()
        .split_once('@')
        .expect("a URL with a password");
    format!("postgresql://{role}:secret-word@{address}")
}

#[tokio::test]
async fn check_names_each_failure_with_its_mend() {
    let server = Server::start(&[("wal_level", "replica")]).await;
    let (source, target) = (server.database().await, server.database().await);
    let client = source.client().await;
    client
        .batch_execute("create table keyless (a int); create table t (a int primary key, b int)")
        .await
        .unwrap();
    let there = target.client().await;
    there
        .batch_execute("create table t (a int primary key)")
        .await
        .unwrap();
    let nobody = port::free();
    let ran = lockstep(
        &std::env::temp_dir(),
        &[
            "check",
            "--json",
            "--timeout=2",
            &format!("--source={}", source.dsn()),
            &format!("--target={}", target.dsn()),
            &format!("--kafka=127.0.0.1:{nobody}"),
            &format!("--registry=http://127.0.0.1:{nobody}"),
        ],
    )
    .await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().unwrap();
    let failing = checks.iter().filter(|check| check["state"] == "fail");
    let failing: Vec<String> = failing.map(ToString::to_string).collect();
    for words in [
        ["wal_level", "alter system set wal_level = logical"],
        ["public.keyless", "replica identity full"],
        ["public.t has no column b", "add column"],
        ["kafka", "--kafka"],
        ["registry", "--registry"],
    ] {
        let named = failing
            .iter()
            .any(|it| words.iter().all(|word| it.contains(word)));
        assert!(named, "{words:?} are missing: {failing:#?}");
    }
    assert_eq!(failing.len(), 5, "{failing:#?}");
}

#[tokio::test]
async fn check_names_a_server_that_cannot_lock_all_tables() {
    let small = [
        ("max_locks_per_transaction", "10"),
        ("max_connections", "25"),
        ("max_wal_senders", "5"),
        ("max_prepared_transactions", "0"),
    ];
    let server = Server::start(&small).await;
    let (source, target) = (server.database().await, server.database().await);
    let tables = "do $$ begin for n in 1..70 loop
        execute format('create table t_%s (id int primary key)', n); end loop; end $$";
    source.client().await.batch_execute(tables).await.unwrap();
    let ran = lockstep(
        &std::env::temp_dir(),
        &[
            "check",
            "--timeout=1",
            &format!("--source={}", source.dsn()),
            &format!("--target={}", target.dsn()),
            &format!("--kafka=127.0.0.1:{}", port::free()),
            &format!("--registry=http://127.0.0.1:{}", port::free()),
        ],
    )
    .await;
    let line = |part: &str| {
        let mut lines = ran.stdout.lines();
        let found = lines.find(|it| it.contains(part) && it.contains(" locks "));
        found.unwrap_or_else(|| panic!("{part} is not in {ran:?}"))
    };
    assert!(line("source").starts_with("ok"), "{ran:?}");
    let target = line("target");
    assert!(
        target.contains("room for 250, 280 for 70 tables"),
        "{target}"
    );
    assert!(
        ran.stdout.contains("max_locks_per_transaction = 75"),
        "{ran:?}"
    );
}

/// Starts the command, waits for its complaint, and stops it: it retried until then.
async fn retries(arguments: &[String], words: &[&str]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut process = Process::start(command::launch(arguments[0], &arguments));
    for word in words {
        process.printed(word).await;
    }
    let status = process.terminate().await;
    let said = process.output();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_and_tried_again() {
    let database = database().await;
    let client = database.client().await;
    client
        .batch_execute("create table t (a int primary key)")
        .await
        .unwrap();
    let nobody = format!("127.0.0.1:{}", port::free());
    let away = format!("postgresql://ann:secret-word@{nobody}/app");
    let metrics = || format!("--metrics-listen=127.0.0.1:{}", port::free());
    let with = |mut flags: Vec<String>, flag: &str, value: &str| {
        flags.retain(|it| !it.starts_with(&format!("--{flag}=")));
        flags.push(format!("--{flag}={value}"));
        flags
    };
    let refused = "onnection refused";
    retries(&capture_of(&away).await, &[&nobody, refused]).await;
    let capture = capture_of(database.dsn()).await;
    retries(&with(capture.clone(), "kafka", &nobody), &[&nobody]).await;
    let registry = format!("http://{nobody}");
    retries(&with(capture, "registry", &registry), &[&nobody, refused]).await;

    let applier = vec![
        "applier".to_owned(),
        format!("--target={}", database.dsn()),
        format!("--kafka={}", kafka::bootstrap().await),
        format!("--registry={}", registry::url().await),
        metrics(),
    ];
    retries(&with(applier.clone(), "target", &away), &[&nobody, refused]).await;
    retries(&with(applier, "kafka", &nobody), &[&nobody]).await;

    let api = vec![
        "api".to_owned(),
        format!("--source={away}"),
        format!("--api-listen=127.0.0.1:{}", port::free()),
    ];
    retries(&api, &[&nobody, refused]).await;
}
