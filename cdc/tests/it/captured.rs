//! A running capture of a test's own database, and its records as another implementation of Avro
//! reads them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use change::commit::CommitRecord;
use change::framing;
use clap::Parser;
use serde_json::Value;
use service::{Monitor, Shutdown};
use testkit::postgres::Database;
use tokio::task::JoinHandle;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    config: cdc::Config,
}

/// A table, in a database whose transactions soon come while they are in progress.
pub(crate) const STREAMED_EARLY: &str = "
    create table t (id int primary key, pad text);
    do $$ begin execute format('alter database %I set logical_decoding_work_mem = 64',
                               current_database()); end $$";

/// When capture is killed: how much is written before, and how many milliseconds it then has to
/// travel.
pub(crate) const KILLS: [(usize, u64); 6] =
    [(15, 0), (40, 3), (20, 12), (30, 1), (25, 40), (10, 7)];

/// Names of one test's pipeline.
pub(crate) struct Pipeline {
    pub database: Database,
    pub name: String,
    kafka: &'static str,
    registry: &'static str,
    spool: tempfile::TempDir,
    pub heartbeat_seconds: u16,
}

/// A capture that runs in this process.
pub(crate) struct Running {
    pub shutdown: Shutdown,
    monitor: Monitor,
    task: JoinHandle<Result<(), cdc::Error>>,
}

impl Running {
    /// Stops in good order.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.task.await.unwrap().unwrap();
    }

    /// The error that ends the capture by itself.
    pub(crate) async fn error(self) -> String {
        let ended = tokio::time::timeout(testkit::wait::PATIENCE, self.task).await;
        service::chain(&ended.expect("capture goes on").unwrap().unwrap_err())
    }

    /// Waits until it is paused, or is not any more.
    pub(crate) async fn paused(&self, paused: bool) {
        self.shows("cdc_paused", i32::from(paused).into()).await;
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.metric("cdc_restarts_total") as u64
    }

    pub(crate) async fn pressure(&self, level: i32) {
        self.shows("cdc_pressure", level.into()).await;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.monitor.health.is_ready()
    }

    /// What the health report says.
    pub(crate) fn health(&self) -> String {
        format!("{:?}", self.monitor.health.report())
    }

    pub(crate) async fn shows(&self, metric: &str, value: f64) {
        testkit::wait::until(&format!("{metric} is {value}"), async || {
            let shown = self.metric(metric);
            match (shown - value).abs() < 0.5 {
                true => Ok(()),
                false => Err(shown),
            }
        })
        .await;
    }

    /// A metric's value; NaN while it is not shown.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.monitor.metrics.gather();
        let family = families.iter().find(|family| family.name() == name);
        let values = family.map(|family| {
            let metrics = family.get_metric().iter();
            metrics.map(|it| it.get_gauge().get_value() + it.get_counter().get_value())
        });
        values.map_or(f64::NAN, Iterator::sum)
    }

    /// Ends it as `kill -9` would: at any point, without a word to anybody.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

impl Pipeline {
    pub(crate) async fn new() -> Self {
        Self::on(testkit::postgres::database().await).await
    }

    pub(crate) async fn on(database: Database) -> Self {
        Self {
            name: database.name().to_owned(),
            database,
            kafka: testkit::kafka::bootstrap().await,
            registry: testkit::registry::url().await,
            spool: tempfile::tempdir().unwrap(),
            heartbeat_seconds: 1,
        }
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.database
            .client()
            .await
            .batch_execute(sql)
            .await
            .unwrap();
    }

    /// As a client with a session would: statement by statement, so that BEGIN and ROLLBACK count.
    pub(crate) async fn execute_each(&self, sql: &str) {
        let client = self.database.client().await;
        for statement in sql.split(';') {
            client.batch_execute(statement).await.unwrap();
        }
    }

    pub(crate) fn start(&self) -> Running {
        self.run(self.database.dsn(), self.spool.path())
    }

    /// A second capture of the same pipeline, as if on another machine.
    pub(crate) fn start_beside(&self) -> Running {
        self.run(self.database.dsn(), &self.spool.path().join("beside"))
    }

    pub(crate) fn start_as(&self, role: &str, password: &str) -> Running {
        let server = self.database.dsn().split_once('@').unwrap().1;
        self.run(
            &format!("postgresql://{role}:{password}@{server}"),
            self.spool.path(),
        )
    }

    fn run(&self, dsn: &str, spool: &Path) -> Running {
        let spool = spool.to_str().unwrap();
        let mut arguments = vec!["cdc", "--source", dsn, "--kafka", self.kafka];
        arguments.extend(["--registry", self.registry, "--prefix", &self.name]);
        arguments.extend(["--slot", &self.name, "--publication", &self.name]);
        let heartbeat = self.heartbeat_seconds.to_string();
        arguments.extend(["--spool-dir", spool, "--heartbeat-seconds", &heartbeat]);
        let config = Cli::try_parse_from(arguments).unwrap().config;
        let shutdown = Shutdown::new();
        let monitor = Monitor::new();
        let task = tokio::spawn(cdc::run(config, monitor.clone(), shutdown.clone()));
        Running {
            shutdown,
            monitor,
            task,
        }
    }

    /// The commits records so far.
    pub(crate) async fn commits(&self) -> Vec<CommitRecord> {
        let records = self.read(&format!("{}.commits", self.name)).await;
        let decode =
            |value: Vec<u8>| CommitRecord::decode(framing::split(&value).unwrap().1).unwrap();
        records
            .into_iter()
            .map(|record| decode(record.value))
            .collect()
    }

    /// Waits until `count` records of the table count, and answers their values in the order of their
    /// positions.
    pub(crate) async fn changes(&self, table: &str, count: usize) -> Vec<Value> {
        self.counted(&format!("public.{table}"), count).await
    }

    /// As [`Self::changes`], of a topic without its prefix.
    pub(crate) async fn counted(&self, topic: &str, count: usize) -> Vec<Value> {
        let topic = format!("{}.{topic}", self.name);
        testkit::wait::until(&format!("{count} records in {topic}"), async || {
            let covered: u64 = self
                .commits()
                .await
                .iter()
                .flat_map(|commit| &commit.partitions)
                .filter(|range| range.topic == topic)
                .map(|range| range.records)
                .sum();
            if covered == count as u64 {
                Ok(())
            } else {
                Err(covered)
            }
        })
        .await;
        let mut changes = Vec::new();
        let mut schemas = HashMap::new();
        let commits = self.commits().await;
        for record in self.read(&topic).await {
            if !is_covered(&commits, &topic, &record) {
                continue;
            }
            changes.push(self.decode(&record.value, &mut schemas).await);
        }
        let position = |change: &Value| {
            let part = |name: &str| change["lockstep"][name].as_i64().unwrap();
            (part("commit_lsn"), part("ordinal"))
        };
        changes.sort_by_key(position);
        changes
    }

    /// All records of a topic.
    pub(crate) async fn read(&self, topic: &str) -> Vec<Record> {
        let (kafka, topic) = (self.kafka, topic.to_owned());
        tokio::task::spawn_blocking(move || read(kafka, &topic))
            .await
            .unwrap()
    }

    /// A datum as JSON, read by the reference implementation with the registry's schema.
    async fn decode(&self, record: &[u8], schemas: &mut HashMap<u32, Schema>) -> Value {
        let (id, mut datum) = framing::split(record).unwrap();
        if let Entry::Vacant(vacant) = schemas.entry(id.0) {
            let url = format!("{}/schemas/ids/{}/schema", self.registry, id.0);
            let schema = reqwest::get(url).await.unwrap().text().await.unwrap();
            vacant.insert(Schema::parse_str(&schema).unwrap());
        }
        let reader = GenericDatumReader::builder(&schemas[&id.0])
            .build()
            .unwrap();
        let value = reader.read_value(&mut datum).unwrap();
        assert!(datum.is_empty(), "bytes are left over");
        value.try_into().unwrap()
    }
}

pub(crate) struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
}

fn is_covered(commits: &[CommitRecord], topic: &str, record: &Record) -> bool {
    commits
        .iter()
        .flat_map(|commit| &commit.partitions)
        .any(|range| {
            let offsets = range.first_offset..range.end_offset;
            range.topic == topic
                && range.partition == record.partition
                && offsets.contains(&record.offset)
        })
}

fn read(kafka: &str, topic: &str) -> Vec<Record> {
    let records = testkit::kafka::records(kafka, topic).into_iter();
    let record = |record: testkit::kafka::Record| Record {
        key: record.key,
        value: record.value.expect("no tombstone"),
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
    };
    records.map(record).collect()
}
