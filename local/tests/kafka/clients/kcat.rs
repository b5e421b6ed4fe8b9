//! kcat, a program on librdkafka: it produces and reads, and leaves administration to others.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::limited;
use super::script::{
    ALL_CODECS, Client, Clock, LATE, PARTITIONS, RECORDS_IN_ROUND, RETENTION_MS, Said, Script,
};

static CLIENT: Client = Client {
    name: "kcat 1.7.1 (librdkafka 2.0.2)",
    codecs: ALL_CODECS,
    lacks: &[
        "create",
        "config",
        "transactions",
        "groups",
        "delete-records",
        "partitions",
        "delete",
    ],
    clock: Clock::Client,
};

#[test]
fn kcat_works() {
    let mut script = Script::new(&CLIENT);
    script.topic = script
        .cluster
        .topic(PARTITIONS, &[("retention.ms", RETENTION_MS)]);
    let metadata = metadata(&script);
    let brokers = metadata["brokers"].as_array().unwrap().iter();
    let brokers: Vec<_> = brokers.map(|broker| broker["name"].clone()).collect();
    for codec in ALL_CODECS {
        produce(&script, codec, codec);
    }
    let consumed = consume(&script, ALL_CODECS.len() * RECORDS_IN_ROUND);
    produce(&script, LATE, "none");
    let resumed = consume(&script, RECORDS_IN_ROUND);
    script.check_stored();
    let time_ms = script.time_ms();
    let partitions = metadata["topics"][0]["partitions"].as_array().unwrap();
    let said = [
        ("brokers", json!(brokers)),
        ("produce", json!(ALL_CODECS)),
        ("consume", consumed),
        ("resume", resumed),
        ("times", times(&script, time_ms)),
        ("describe", json!({ "partitions": partitions.len() })),
    ];
    let said: Said = said
        .map(|(step, seen)| (step.to_owned(), seen))
        .into_iter()
        .collect();
    script.check_said(&said, &script.stored(), time_ms);
}

fn kcat(script: &Script) -> Command {
    let mut command = limited("kcat");
    command.args(["-b", script.cluster.bootstrap()]);
    command
}

/// What a command printed.
#[track_caller]
fn output(command: &mut Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "kcat (a Debian package) ended with {}:\n{errors}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

fn metadata(script: &Script) -> Value {
    let mut command = kcat(script);
    let listed = output(command.args(["-L", "-J", "-t", &script.topic]), "");
    serde_json::from_str(&listed).unwrap()
}

/// Headers are given to all records of a run, so each record is a run of its own.
fn produce(script: &Script, round: &str, codec: &str) {
    for record in script.records(round) {
        let mut command = kcat(script);
        command.args(["-P", "-t", &script.topic, "-K", "\t", "-z", codec]);
        for (name, value) in &record.headers {
            command.args(["-H", &format!("{name}={value}")]);
        }
        for setting in [
            "acks=all",
            "enable.idempotence=true",
            "partitioner=murmur2_random",
        ] {
            command.args(["-X", setting]);
        }
        output(&mut command, &format!("{}\t{}\n", record.key, record.value));
    }
}

fn consume(script: &Script, count: usize) -> Value {
    let mut command = kcat(script);
    command
        .args(["-q", "-c", &count.to_string()])
        .args(["-f", "%p\t%o\t%k\t%s\t%h\t%T\n"])
        .args(["-X", "auto.offset.reset=earliest"])
        .args(["-G", &script.group, &script.topic]);
    let printed = output(&mut command, "");
    let record = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [partition, offset, key, value, headers, timestamp] = fields[..] else {
            panic!("{line} is no record");
        };
        let headers: Vec<_> = headers
            .split(',')
            .map(|header| header.split_once('=').unwrap())
            .collect();
        let number = |text: &str| text.parse::<i64>().unwrap();
        json!([
            number(partition),
            number(offset),
            key,
            value,
            headers,
            number(timestamp)
        ])
    };
    json!(printed.lines().map(record).collect::<Vec<_>>())
}

fn times(script: &Script, time_ms: i64) -> Value {
    let mut command = kcat(script);
    command.arg("-Q");
    for partition in 0..PARTITIONS {
        command.args(["-t", &format!("{}:{partition}:{time_ms}", script.topic)]);
    }
    let printed = output(&mut command, "");
    // As `topic [0] offset 5`.
    let found = |line: &str| {
        let (partition, offset) = line
            .rsplit_once('[')
            .unwrap()
            .1
            .split_once("] offset ")
            .unwrap();
        json!([
            partition.parse::<i32>().unwrap(),
            offset.parse::<i64>().unwrap()
        ])
    };
    json!(printed.lines().map(found).collect::<Vec<_>>())
}
