//! Clients that others wrote must work as they are, against this broker and Apache Kafka alike.
//!
//! Each does one same script on a topic and a group of its own, and says what it saw, a line of JSON
//! a step:
//!
//! | step | what is done |
//! |---|---|
//! | `brokers` | the brokers are listed |
//! | `create` | a topic of three partitions with `retention.ms` is created |
//! | `produce` | a round of records with each compression: keys, headers, timestamps; acks=all, idempotent |
//! | `consume` | a member of a group reads all from the beginning, commits and leaves |
//! | `resume` | another round is produced, and another member of the group reads that only |
//! | `times` | offsets are asked by time |
//! | `describe` | the topic's partitions and `retention.ms` are told |
//! | `transactions` | one is aborted, one committed; who reads what is committed sees the second only |
//! | `groups` | the group is listed, described and deleted |
//! | `delete-records` | the first record of a partition is deleted |
//! | `partitions` | the topic gets another partition |
//! | `delete` | the topic is deleted, and listed no more |
//!
//! What is said is held against the script, and against the topic as librdkafka reads it; the batches
//! are looked at as they come from the broker.

mod console;
mod kcat;
mod rdkafka;
mod script;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use script::{ALL_CODECS, Client, Clock, Said, Script};

#[test]
fn confluent_kafka_for_python_works() {
    static CLIENT: Client = Client {
        name: "confluent-kafka 2.16.0",
        codecs: ALL_CODECS,
        lacks: &[],
        clock: Clock::Script,
    };
    run(&CLIENT, python("confluent_client.py"));
}

#[test]
fn kafka_python_works() {
    static CLIENT: Client = Client {
        name: "kafka-python 3.0.12",
        codecs: ALL_CODECS,
        lacks: &[],
        clock: Clock::Script,
    };
    run(&CLIENT, python("kafka_python_client.py"));
}

#[test]
fn kafkajs_works() {
    static CLIENT: Client = Client {
        name: "kafkajs 2.2.4",
        codecs: ALL_CODECS,
        lacks: &[],
        clock: Clock::Script,
    };
    run(&CLIENT, node("node", "kafkajs_client.js"));
}

#[test]
fn confluents_javascript_client_works() {
    static CLIENT: Client = Client {
        name: "@confluentinc/kafka-javascript 1.10.1",
        codecs: ALL_CODECS,
        lacks: &["config", "partitions"],
        clock: Clock::Script,
    };
    // Its native part is compiled, with the libraries of this machine.
    let needs = [
        "c++",
        "curl-config",
        "/usr/include/node/node.h",
        "/usr/include/openssl/ssl.h",
        "/usr/include/zlib.h",
        "/usr/include/zstd.h",
    ];
    if is_there(CLIENT.name, &needs) {
        run(&CLIENT, node("confluent-node", "confluent_client.js"));
    }
}

#[test]
fn javas_client_works() {
    static CLIENT: Client = Client {
        name: "kafka-clients 4.1.0 (Java)",
        codecs: ALL_CODECS,
        lacks: &[],
        clock: Clock::Script,
    };
    if is_there(CLIENT.name, &["mvn", "javac"]) {
        let mut command = java();
        command.arg(folder().join("Client.java"));
        run(&CLIENT, command);
    }
}

/// Has a program do the script, and checks what it says.
#[track_caller]
fn run(client: &'static Client, mut command: Command) {
    let script = Script::new(client);
    let directory = tempfile::tempdir().unwrap();
    let errors = directory.path().join("stderr");
    command
        .args([script.cluster.bootstrap(), &script.topic, &script.group])
        .arg(script.base_ms.to_string())
        .args([client.codecs.join(","), script.extras.join(",")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(&errors).unwrap());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut said = Said::new();
    let mut stored = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let (step, seen) = line.split_once('\t').expect(&line);
        said.insert(step.to_owned(), serde_json::from_str(seen).expect(&line));
        if step == "describe" {
            script.check_stored();
            stored = script.stored();
            stdin.write_all(b"\n").unwrap();
        }
    }
    let status = child.wait().unwrap();
    let errors = std::fs::read_to_string(&errors).unwrap();
    assert!(
        status.success(),
        "{} ended with {status} after {:?}:\n{errors}",
        client.name,
        said.keys()
    );
    script.check_said(&said, &stored, script.time_ms());
}

fn python(script: &str) -> Command {
    let mut command = limited(tools("python").join("bin/python"));
    command
        .arg(folder().join(script))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn node(kind: &str, script: &str) -> Command {
    let mut command = limited("node");
    command
        .arg(folder().join(script))
        .env("NODE_PATH", tools(kind).join("node_modules"))
        .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
    command
}

/// Java with the client and the tools on its class path; it starts quickly and never gets fast.
fn java() -> Command {
    let mut command = limited("java");
    command
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(tools("java").join("*"));
    command
}

/// A command that ends by itself when it hangs.
fn limited(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = installed("timeout");
    command.args(["--kill-after=5", "120"]).arg(program);
    command
}

/// A command with the libraries that it came with: Cargo tells where the librdkafka is that was
/// compiled for these tests, and a program would load that.
pub(crate) fn installed(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/clients")
}

/// Where the clients of a kind are installed.
fn tools(kind: &str) -> PathBuf {
    let output = Command::new(folder().join("setup.sh")).arg(kind).output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "setup.sh could not install the clients:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// Whether the programs and files are on this machine that `make test-kafka` installs and
/// `make test` does not. Without them a client cannot be run, which is said past the test's own
/// output; against Apache Kafka it is a failure.
fn is_there(client: &str, needs: &[&str]) -> bool {
    let missing = needs.iter().find(|need| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        !std::env::split_paths(&path).any(|folder| folder.join(need).is_file())
    });
    let Some(missing) = missing else { return true };
    let text = format!("{client} is NOT RUN: {missing} is missing; tools/install-needs kafka");
    assert!(std::env::var_os("TEST_KAFKA_BOOTSTRAP").is_none(), "{text}");
    // Unlike eprintln, which cargo keeps to itself when the test passes.
    let text = format!("{text}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    println!("| {client} | NOT RUN: {missing} is missing |");
    false
}
