//! What the stand-ins of the local pipeline do by themselves: brokers, and the registry.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Map, Value, json};
use tokio::process::Command;

use crate::contender::Kafka;
use crate::options::{Brokers, Options};
use crate::report;
use crate::servers::{Broker, Servers};
use crate::spread::{Spread, quantile, sorted};
use crate::usage::{cpu_seconds, peak_megabytes};

const PARTITIONS: i32 = 6;
const RECORDS: u32 = 1_000_000;
const VALUE: [u8; 300] = [b'x'; 300];
const PATIENCE: Duration = Duration::from_secs(60);
/// Records whose latency is measured, 200 a second, and how many of the first are left out.
const PROBES: u32 = 1_200;
const WARM_UP_PROBES: usize = 400;
const PROBE_PACE: Duration = Duration::from_millis(5);

/// What a round on one broker gave.
struct Round {
    produced: f64,
    consumed: f64,
    milliseconds: Vec<f64>,
    cpu_seconds: f64,
}

/// # Errors
/// When a broker or the registry does not do its part, or results cannot be written.
pub(crate) async fn measure(options: &Options, brokers: &Brokers) -> anyhow::Result<()> {
    let servers = Servers::start(&options.kafkas()).await?;
    let mut of_brokers = Map::new();
    println!(
        "\n{:<8} {:>24} {:>24} {:>8} {:>8} {:>6} {:>6}",
        "", "produced, records/s", "consumed, records/s", "p50 ms", "p99 ms", "CPU s", "MB"
    );
    for kafka in options.kafkas() {
        let broker = servers.broker(kafka);
        let mut rounds = Vec::new();
        for number in 0..=brokers.rounds {
            eprintln!("{}: round {number} of {}", name(kafka), brokers.rounds);
            let (bootstrap, pid) = (broker.bootstrap.clone(), broker.pid);
            let topics = topics(&bootstrap, number).await?;
            let run = tokio::task::spawn_blocking(move || round(&bootstrap, &topics, pid));
            rounds.push(run.await.context("a round ended early")??);
        }
        // The first warms a Java machine.
        of_brokers.insert(name(kafka).to_owned(), tell(kafka, broker, &rounds[1..]));
    }
    let lookups = lookups(servers.registry).await?;
    println!("registry: {lookups:.0} look-ups a second\n");
    let value = json!({
        "records": RECORDS,
        "record_bytes": VALUE.len(),
        "brokers": of_brokers,
        "registry_lookups_per_second": lookups,
    });
    report::write(options, "brokers", &value)
}

fn name(kafka: Kafka) -> &'static str {
    match kafka {
        Kafka::Local => "local",
        Kafka::Apache => "apache",
    }
}

fn tell(kafka: Kafka, broker: &Broker, rounds: &[Round]) -> Value {
    let of = |pick: fn(&Round) -> f64| Spread::of(rounds.iter().map(pick));
    let (produced, consumed) = (of(|round| round.produced), of(|round| round.consumed));
    let cpu = of(|round| round.cpu_seconds);
    let waits = sorted(rounds.iter().flat_map(|it| it.milliseconds.iter().copied()));
    let at = |per_mille| quantile(&waits, per_mille).unwrap_or(f64::NAN);
    let peak = peak_megabytes(broker.pid);
    let text = |Spread {
                    median,
                    least,
                    most,
                }| format!("{median:.0} ({least:.0} - {most:.0})");
    println!(
        "{:<8} {:>24} {:>24} {:>8.2} {:>8.2} {:>6.2} {peak:>6.0}",
        name(kafka),
        text(produced),
        text(consumed),
        at(500),
        at(990),
        cpu.median,
    );
    json!({
        "produced_records_per_second": produced.json(),
        "consumed_records_per_second": consumed.json(),
        "p50_milliseconds": at(500),
        "p99_milliseconds": at(990),
        "cpu_seconds": cpu.json(),
        "peak_megabytes": peak,
    })
}

/// Those of a round: one for many records, one for the latency of single ones.
struct Topics {
    load: String,
    probes: String,
}

async fn topics(bootstrap: &str, round: u32) -> anyhow::Result<Topics> {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap, &[]).create()?;
    let topics = Topics {
        load: format!("load-{round}"),
        probes: format!("probes-{round}"),
    };
    let specs = [
        NewTopic::new(&topics.load, PARTITIONS, TopicReplication::Fixed(1)),
        NewTopic::new(&topics.probes, 1, TopicReplication::Fixed(1)),
    ];
    for created in admin.create_topics(&specs, &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| anyhow!("create {topic}: {code}"))?;
    }
    Ok(topics)
}

fn round(bootstrap: &str, topics: &Topics, broker: u32) -> anyhow::Result<Round> {
    let used = cpu_seconds(broker);
    Ok(Round {
        produced: produce(bootstrap, &topics.load)?,
        consumed: consume(bootstrap, &topics.load)?,
        cpu_seconds: cpu_seconds(broker) - used,
        milliseconds: latency(bootstrap, &topics.probes)?,
    })
}

fn client(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// Records a second of an idempotent producer.
fn produce(bootstrap: &str, topic: &str) -> anyhow::Result<f64> {
    let settings = [("enable.idempotence", "true"), ("linger.ms", "5")];
    let producer: ThreadedProducer<DefaultProducerContext> =
        client(bootstrap, &settings).create()?;
    let started = Instant::now();
    for partition in (0..PARTITIONS).cycle().take(usize::try_from(RECORDS)?) {
        let mut record = BaseRecord::<(), _>::to(topic)
            .payload(&VALUE[..])
            .partition(partition);
        while let Err((failure, refused)) = producer.send(record) {
            if failure != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(failure.into());
            }
            thread::sleep(Duration::from_millis(1));
            record = refused;
        }
    }
    // Not flush(), which waits 100 ms at a time.
    while producer.in_flight_count() > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(f64::from(RECORDS) / started.elapsed().as_secs_f64())
}

/// Records a second.
fn consume(bootstrap: &str, topic: &str) -> anyhow::Result<f64> {
    let consumer = reader(bootstrap, topic, PARTITIONS)?;
    let started = Instant::now();
    for _ in 0..RECORDS {
        consumer.poll(PATIENCE).context("no record came")??;
    }
    Ok(f64::from(RECORDS) / started.elapsed().as_secs_f64())
}

fn reader(bootstrap: &str, topic: &str, partitions: i32) -> anyhow::Result<BaseConsumer> {
    let settings = [
        ("group.id", "bench"),
        ("enable.auto.commit", "false"),
        ("queued.min.messages", "1000000"),
    ];
    let consumer: BaseConsumer = client(bootstrap, &settings).create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// From sending single records to having them.
fn latency(bootstrap: &str, topic: &str) -> anyhow::Result<Vec<f64>> {
    let consumer = reader(bootstrap, topic, 1)?;
    let start = Instant::now();
    let config = client(bootstrap, &[("linger.ms", "0")]);
    let probes = topic.to_owned();
    let sender = thread::spawn(move || -> anyhow::Result<()> {
        let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
        for number in 0..PROBES {
            let due = start + PROBE_PACE * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let sent = start.elapsed().as_secs_f64().to_be_bytes();
            let record = BaseRecord::<(), _>::to(&probes)
                .payload(&sent[..])
                .partition(0);
            producer.send(record).map_err(|(failure, _)| failure)?;
        }
        Ok(producer.flush(PATIENCE)?)
    });
    let mut waits = Vec::new();
    for _ in 0..PROBES {
        let record = consumer.poll(PATIENCE).context("no record came")??;
        let sent = record.payload().context("no payload")?.try_into()?;
        waits.push((start.elapsed().as_secs_f64() - f64::from_be_bytes(sent)) * 1e3);
    }
    sender.join().map_err(|_| anyhow!("the sender failed"))??;
    Ok(waits.split_off(WARM_UP_PROBES))
}

/// How often a second the registry answers which schema an id is of, by wrk over four connections.
async fn lookups(registry: &str) -> anyhow::Result<f64> {
    let schema = json!({ "schema": "\"long\"" }).to_string();
    let subject = format!("{registry}/subjects/bench/versions");
    let registered = Command::new("curl")
        .args(["-sSf", "-H", "content-type: application/json", "-d"])
        .args([&schema, &subject])
        .output()
        .await
        .context("run curl (Debian package curl)")?;
    ensure!(registered.status.success(), "the registry refuses a schema");
    let answer: Value = serde_json::from_slice(&registered.stdout)?;
    let id = answer["id"].as_i64().context("the answer has no id")?;
    let wrk = Command::new("wrk")
        .args(["-t", "1", "-c", "4", "-d", "5s"])
        .arg(format!("{registry}/schemas/ids/{id}"))
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("run wrk (Debian package wrk)")?;
    let output = String::from_utf8_lossy(&wrk.stdout);
    let mut lines = output.lines();
    let rate = lines.find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let rate = rate.with_context(|| format!("wrk tells no rate:\n{output}"))?;
    Ok(rate.trim().parse()?)
}
