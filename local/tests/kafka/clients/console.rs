//! The console tools of Apache Kafka, each as the Java main class that its shell script runs.

use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use super::script::{ALL_CODECS, Client, Clock, PARTITIONS, RETENTION_MS, Script, Steps};
use super::{is_there, java};
use crate::cluster::PATIENCE;

static CLIENT: Client = Client {
    name: "console tools 4.1.0 (Java)",
    codecs: ALL_CODECS,
    lacks: &["transactions"],
    clock: Clock::Client,
};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";

#[test]
fn apache_kafkas_console_tools_work() {
    if !is_there(CLIENT.name, &["mvn", "java"]) {
        return;
    }
    Script::new(&CLIENT).walk(&Steps {
        brokers,
        create,
        produce,
        consume,
        times: |script, time_ms| offsets(script, &time_ms.to_string()),
        describe,
        extra,
        delete: |script| {
            check_performance(script);
            delete(script)
        },
    });
}

fn extra(script: &Script, step: &str) -> Value {
    match step {
        "groups" => groups(script),
        "delete-records" => delete_records(script),
        "partitions" => add_partition(script),
        other => panic!("there is no tool for {other}"),
    }
}

/// Runs a tool; what it printed.
#[track_caller]
fn tool(script: &Script, main: &str, arguments: &[&str]) -> String {
    let at_broker = ["--bootstrap-server", script.cluster.bootstrap()];
    run(main, &[&at_broker, arguments].concat(), "")
}

#[track_caller]
fn run(main: &str, arguments: &[&str], input: &str) -> String {
    let mut command = java();
    command.arg(main).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{main} {arguments:?} ended with {}:\n{printed}\n{errors}",
        output.status
    );
    printed
}

/// kafka-broker-api-versions.
fn brokers(script: &Script) -> Value {
    let printed = tool(
        script,
        "org.apache.kafka.tools.BrokerApiVersionsCommand",
        &[],
    );
    // As `127.0.0.1:9092 (id: 1 rack: null isFenced: false) -> (`, and what it serves below.
    let brokers = printed.lines().filter_map(|line| line.split_once(" (id: "));
    json!(brokers.map(|(address, _)| address).collect::<Vec<_>>())
}

fn create(script: &Script) -> Value {
    let printed = tool(
        script,
        TOPICS,
        &[
            "--create",
            "--topic",
            &script.topic,
            "--partitions",
            &PARTITIONS.to_string(),
            "--config",
            &format!("retention.ms={RETENTION_MS}"),
        ],
    );
    json!(printed.contains(&format!("Created topic {}.", script.topic)))
}

/// kafka-console-producer.
fn produce(script: &Script, round: &str, codec: &str) {
    let lines: String = script
        .records(round)
        .into_iter()
        .map(|record| {
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|(name, value)| format!("{name}:{value}"))
                .collect();
            format!("{}\t{}\t{}\n", headers.join(","), record.key, record.value)
        })
        .collect();
    let arguments = [
        "--bootstrap-server",
        script.cluster.bootstrap(),
        "--topic",
        &script.topic,
        "--compression-codec",
        codec,
        "--request-required-acks",
        "all",
        "--property",
        "parse.key=true",
        "--property",
        "parse.headers=true",
    ];
    run("org.apache.kafka.tools.ConsoleProducer", &arguments, &lines);
}

/// kafka-console-consumer.
fn consume(script: &Script, count: usize) -> Value {
    let count = count.to_string();
    let mut arguments = vec![
        "--topic",
        &script.topic,
        "--group",
        &script.group,
        "--from-beginning",
        "--max-messages",
        &count,
        "--timeout-ms",
        "60000",
    ];
    for property in [
        "print.timestamp=true",
        "print.partition=true",
        "print.offset=true",
        "print.headers=true",
        "print.key=true",
    ] {
        arguments.extend(["--property", property]);
    }
    let printed = tool(
        script,
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &arguments,
    );
    let record = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [timestamp, partition, offset, headers, key, value] = fields[..] else {
            panic!("{line} is no record");
        };
        let number =
            |text: &str, name: &str| -> i64 { text.strip_prefix(name).unwrap().parse().unwrap() };
        let headers: Vec<_> = headers
            .split(',')
            .map(|header| header.split_once(':').unwrap())
            .collect();
        json!([
            number(partition, "Partition:"),
            number(offset, "Offset:"),
            key,
            value,
            headers,
            number(timestamp, "CreateTime:"),
        ])
    };
    json!(printed.lines().map(record).collect::<Vec<_>>())
}

/// kafka-get-offsets.
fn offsets(script: &Script, time: &str) -> Value {
    let printed = tool(script, OFFSETS, &["--topic", &script.topic, "--time", time]);
    // As `topic:0:5`.
    let found = |line: &str| {
        let mut fields = line.rsplit(':').map(|field| field.parse::<i64>().unwrap());
        let offset = fields.next().unwrap();
        json!([fields.next().unwrap(), offset])
    };
    json!(printed.lines().map(found).collect::<Vec<_>>())
}

/// kafka-topics, and kafka-configs, which also changes a setting.
fn describe(script: &Script) -> Value {
    const CONFIGS: &str = "kafka.admin.ConfigCommand";
    let topic = ["--entity-type", "topics", "--entity-name", &script.topic];
    let change = ["--alter", "--add-config", "max.message.bytes=2000000"];
    tool(script, CONFIGS, &[&topic[..], &change].concat());
    let configs = tool(script, CONFIGS, &[&topic[..], &["--describe"]].concat());
    assert!(configs.contains("max.message.bytes=2000000 "), "{configs}");
    let retention = configs
        .split_whitespace()
        .find_map(|word| word.strip_prefix("retention.ms="));
    let described = tool(script, TOPICS, &["--describe", "--topic", &script.topic]);
    json!({ "partitions": partitions(&described), "retention.ms": retention })
}

fn partitions(described: &str) -> usize {
    let lines = described.lines();
    lines.filter(|line| line.contains("Leader: 1")).count()
}

/// kafka-consumer-groups.
fn groups(script: &Script) -> Value {
    let group = ["--group", &script.group];
    let listed = |printed: &str| printed.lines().any(|line| line == script.group);
    let there = listed(&tool(script, GROUPS, &["--list"]));
    let described = tool(
        script,
        GROUPS,
        &[&group[..], &["--describe", "--state"]].concat(),
    );
    tool(script, GROUPS, &[&group[..], &["--delete"]].concat());
    let left = listed(&tool(script, GROUPS, &["--list"]));
    json!({ "listed": there, "empty": described.contains(" Empty "), "deleted": !left })
}

/// kafka-delete-records.
fn delete_records(script: &Script) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("offsets.json");
    let wanted = json!({ "version": 1, "partitions": [
        { "topic": script.topic, "partition": 0, "offset": 1 },
    ]});
    std::fs::write(&file, wanted.to_string()).unwrap();
    tool(
        script,
        "org.apache.kafka.tools.DeleteRecordsCommand",
        &["--offset-json-file", file.to_str().unwrap()],
    );
    json!({ "first": offsets(script, "earliest")[0][1] })
}

fn add_partition(script: &Script) -> Value {
    let wanted = (PARTITIONS + 1).to_string();
    let topic = ["--topic", &script.topic];
    let change = ["--alter", "--partitions", &wanted];
    tool(script, TOPICS, &[&topic[..], &change].concat());
    let described = tool(script, TOPICS, &["--describe", "--topic", &script.topic]);
    json!({ "partitions": partitions(&described) })
}

/// kafka-producer-perf-test.
fn check_performance(script: &Script) {
    let printed = run(
        "org.apache.kafka.tools.ProducerPerformance",
        &[
            "--topic",
            &script.topic,
            "--num-records",
            "1000",
            "--record-size",
            "100",
            "--throughput",
            "-1",
            "--producer-props",
            &format!("bootstrap.servers={}", script.cluster.bootstrap()),
        ],
        "",
    );
    assert!(printed.contains("1000 records sent"), "{printed}");
}

fn delete(script: &Script) -> Value {
    tool(script, TOPICS, &["--delete", "--topic", &script.topic]);
    let deadline = Instant::now() + PATIENCE;
    let listed = || {
        let printed = tool(script, TOPICS, &["--list"]);
        printed.lines().any(|line| line == script.topic)
    };
    while Instant::now() < deadline {
        if !listed() {
            return json!(true);
        }
    }
    json!(false)
}
