//! Measures the local Kafka broker in a process of its own:
//! `cargo run --release -p local --example kafka-load [RECORDS [BATCH]]`, after building `local-kafka`.
//!
//! Records of 300 bytes into six partitions by an idempotent producer, and out again; then the time
//! from sending one record to having it, 200 a second; and what the broker used meanwhile.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const PARTITIONS: i32 = 6;
const VALUE: [u8; 300] = [b'x'; 300];
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the latency is measured, and how much of the beginning is left out.
const LATENCY_RECORDS: usize = 1200;
const WARM_UP_RECORDS: usize = 400;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let records: usize = arguments
        .next()
        .map_or(Ok(1_000_000), |count| count.parse())?;
    let batch = arguments.next().unwrap_or_else(|| "10000".to_owned());
    let directory = tempfile::tempdir()?;
    let (broker, bootstrap) = launch(directory.path().to_owned())?;
    let broker = Guard(broker);
    create_topics(&bootstrap).await?;
    report(&broker, "at rest")?;

    let seconds = produce(&bootstrap, records, &batch)?;
    println!("produce: {:.0} records/s", records as f64 / seconds);
    report(&broker, "after producing")?;
    let seconds = consume(&bootstrap, records)?;
    println!("consume: {:.0} records/s", records as f64 / seconds);
    report(&broker, "after consuming")?;
    for wait in ["500", "10"] {
        let (median, high) = latency(&bootstrap, wait)?;
        println!("latency, fetch.wait.max.ms={wait}: p50 {median:?}, p99 {high:?}");
    }
    report(&broker, "at the end")
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn launch(data_dir: PathBuf) -> Result<(Child, String)> {
    let here = std::env::current_exe()?;
    let profile = here
        .parent()
        .and_then(|examples| examples.parent())
        .ok_or("no parent")?;
    let mut child = Command::new(profile.join("local-kafka"))
        .arg(data_dir)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    Ok((child, address.trim().to_owned()))
}

fn client(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

async fn create_topics(bootstrap: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap, &[]).create()?;
    let topics = [
        NewTopic::new("load", PARTITIONS, TopicReplication::Fixed(1)),
        NewTopic::new("latency-500", 1, TopicReplication::Fixed(1)),
        NewTopic::new("latency-10", 1, TopicReplication::Fixed(1)),
    ];
    for created in admin.create_topics(&topics, &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| format!("create {topic}: {code}"))?;
    }
    Ok(())
}

fn produce(bootstrap: &str, records: usize, batch: &str) -> Result<f64> {
    let settings = [
        ("enable.idempotence", "true"),
        ("linger.ms", "5"),
        ("batch.num.messages", batch),
    ];
    let producer: ThreadedProducer<DefaultProducerContext> =
        client(bootstrap, &settings).create()?;
    let started = Instant::now();
    for number in 0..records {
        let partition = i32::try_from(number % 6)?;
        let mut record = BaseRecord::<(), _>::to("load")
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
    Ok(started.elapsed().as_secs_f64())
}

fn consume(bootstrap: &str, records: usize) -> Result<f64> {
    let consumer = reader(bootstrap, "load", PARTITIONS, "500")?;
    let started = Instant::now();
    for _ in 0..records {
        consumer.poll(PATIENCE).ok_or("no record came")??;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn reader(bootstrap: &str, topic: &str, partitions: i32, wait: &str) -> Result<BaseConsumer> {
    let settings = [
        ("group.id", "load"),
        ("enable.auto.commit", "false"),
        ("fetch.wait.max.ms", wait),
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

/// The median and the 99th percentile.
fn latency(bootstrap: &str, wait: &str) -> Result<(Duration, Duration)> {
    let topic = format!("latency-{wait}");
    let consumer = reader(bootstrap, &topic, 1, wait)?;
    let start = Instant::now();
    let sender = {
        let config = client(bootstrap, &[("linger.ms", "0")]);
        thread::spawn(move || -> std::result::Result<(), KafkaError> {
            let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
            for number in 0..LATENCY_RECORDS {
                let due = start + Duration::from_millis(5) * u32::try_from(number).unwrap_or(0);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let sent = start.elapsed().as_nanos().to_be_bytes();
                let record = BaseRecord::<(), _>::to(&topic)
                    .payload(&sent[..])
                    .partition(0);
                producer.send(record).map_err(|(failure, _)| failure)?;
            }
            producer.flush(PATIENCE)
        })
    };
    let mut times = Vec::with_capacity(LATENCY_RECORDS);
    for _ in 0..LATENCY_RECORDS {
        let record = consumer.poll(PATIENCE).ok_or("no record came")??;
        let sent = record.payload().ok_or("no payload")?.try_into()?;
        times.push(start.elapsed().as_nanos() - u128::from_be_bytes(sent));
    }
    sender.join().map_err(|_| "the sender failed")??;
    let mut times = times.split_off(WARM_UP_RECORDS);
    times.sort_unstable();
    let at = |percent: usize| {
        Duration::from_nanos(u64::try_from(times[times.len() * percent / 100]).unwrap_or(u64::MAX))
    };
    Ok((at(50), at(99)))
}

/// Memory and processor time of the broker so far, as Linux tells them.
fn report(broker: &Guard, when: &str) -> Result<()> {
    let process = PathBuf::from(format!("/proc/{}", broker.0.id()));
    let status = fs::read_to_string(process.join("status"))?;
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        line.split_whitespace().nth(1).unwrap_or("?").to_owned()
    };
    let stat = fs::read_to_string(process.join("stat"))?;
    let ticks: Vec<&str> = stat.split_whitespace().skip(13).take(2).collect();
    println!(
        "broker {when}: resident {} KiB, at most {} KiB, {} threads, {} ticks",
        field("VmRSS:"),
        field("VmHWM:"),
        field("Threads:"),
        ticks.join(" + ")
    );
    Ok(())
}
