//! A source database, topics, a target database, and an applier between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use applier::dead_letters::{self, Redriven};
use applier::progress::Progress;
use change::avro::{write_bytes, write_long, write_str};
use change::commit::{CommitKind, CommitRecord, PartitionRange, Transaction};
use change::envelope::{Op, value_schema};
use change::framing::{SchemaId, write_header};
use change::relation::Relation;
use change::topic::{Topics, value_subject};
use change::value::Fit;
use change::{Lsn, Position};
use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use schema_registry_converter::async_impl::schema_registry::{SrSettings, post_schema};
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};
use service::{Monitor, Shutdown};
use testkit::postgres::{Connection, Database, database};
use testkit::{kafka, name, registry, wait};
use tokio::task::JoinHandle;

use crate::shape::{self, Image};

pub(crate) struct Rig {
    pub(crate) source: Connection,
    pub(crate) target: Connection,
    pub(crate) target_database: Database,
    _source_database: Database,
    pub(crate) config: applier::Config,
    pub(crate) capture: Capture,
}

/// What writes to the topics in capture's place. May be changed by a test to misbehave.
pub(crate) struct Capture {
    pub(crate) epoch: i64,
    pub(crate) previous: Lsn,
    pub(crate) system_id: String,
    pub(crate) slot: String,
    topics: Topics,
    registry: String,
    admin: Arc<AdminClient<DefaultClientContext>>,
    producer: FutureProducer,
    next_lsn: u64,
}

/// A table of the source that has a topic.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) relation: Relation,
    pub(crate) topic: String,
    pub(crate) schema: SchemaId,
    pub(crate) partitions: i32,
}

/// One change to be published.
pub(crate) struct Record {
    op: Op,
    topic: String,
    schema: SchemaId,
    partition: i32,
    relation: Relation,
    before: Option<Vec<Image>>,
    after: Option<Vec<Image>>,
    unchanged: Vec<String>,
}

/// A running applier.
pub(crate) struct Applier {
    pub(crate) shutdown: Shutdown,
    pub(crate) monitor: Monitor,
    pub(crate) task: JoinHandle<Result<(), applier::Error>>,
}

#[derive(Debug, clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: applier::Config,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(kafka::bootstrap().await, registry::url().await).await
    }

    pub(crate) async fn with(bootstrap: &str, registry: &str) -> Self {
        let (source_database, target_database) = (database().await, database().await);
        let prefix = name::unique();
        let config = config(target_database.dsn(), bootstrap, registry, &prefix);
        let capture = Capture::new(bootstrap, registry, &prefix).await;
        Self {
            source: source_database.client().await,
            target: target_database.client().await,
            target_database,
            _source_database: source_database,
            config,
            capture,
        }
    }

    /// Runs SQL on the source.
    pub(crate) async fn sql(&self, sql: &str) {
        self.source.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn table(&self, name: &str, partitions: i32) -> Table {
        let relation = shape::relation(&self.source, "public", name).await;
        self.capture.table(relation, partitions).await
    }

    pub(crate) async fn rows(&self, query: &str) -> Vec<Vec<Image>> {
        shape::images(&self.source, query).await
    }

    pub(crate) async fn row(&self, query: &str) -> Vec<Image> {
        let mut rows = self.rows(query).await;
        assert_eq!(rows.len(), 1, "{query}");
        rows.remove(0)
    }

    /// `c` records of what `query` selects.
    pub(crate) async fn creates(&self, table: &Table, query: &str) -> Vec<Record> {
        let rows = self.rows(query).await;
        rows.into_iter().map(|row| table.create(row)).collect()
    }

    pub(crate) fn apply(&self) -> Applier {
        apply(self.config.clone())
    }

    pub(crate) async fn progress(&self) -> Option<Progress> {
        let read = applier::progress::read(&self.target, &self.config.pipeline).await;
        read.unwrap()
    }

    /// Waits until the target is where capture is.
    pub(crate) async fn caught_up(&self) {
        let wanted = self.capture.previous;
        wait::until("the target is where capture is", async || {
            match self.progress().await {
                Some(progress) if progress.commit_lsn == wanted => Ok(()),
                other => Err(other.map(|progress| progress.commit_lsn)),
            }
        })
        .await;
    }

    pub(crate) async fn assert_equal(&self, tables: &[&str]) {
        let compared = testkit::compare::tables(&self.source, &self.target, tables).await;
        compared.unwrap();
    }

    /// As [`Self::assert_equal`], for types that have no binary form.
    pub(crate) async fn assert_equal_text(&self, table: &str) {
        let query = format!("select t::text from {table} as t order by 1");
        let source = self.source.query(&query, &[]).await.unwrap();
        let target = self.target.query(&query, &[]).await.unwrap();
        assert_eq!(source.len(), target.len());
        for (source, target) in source.iter().zip(&target) {
            assert_eq!(source.get::<_, String>(0), target.get::<_, String>(0));
        }
    }

    /// Redrives dead letters.
    pub(crate) async fn redrive(&self, ids: &[i64]) -> Redriven {
        let config = &self.config;
        let (target, pipeline) = (&config.target, &config.pipeline);
        let (registry, differences) = (&config.registry, &config.differences);
        let redriven = dead_letters::redrive(target, pipeline, ids, "me", registry, differences);
        redriven.await.unwrap()
    }

    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.target.query_one(query, &[]).await.unwrap().get(0)
    }
}

pub(crate) fn config(
    target: &str,
    bootstrap: &str,
    registry: &str,
    prefix: &str,
) -> applier::Config {
    let arguments = [
        "applier",
        "--target",
        target,
        "--kafka",
        bootstrap,
        "--registry",
        registry,
        "--prefix",
        prefix,
        "--pipeline",
        prefix,
    ];
    <Arguments as clap::Parser>::try_parse_from(arguments)
        .unwrap()
        .config
}

pub(crate) fn apply(config: applier::Config) -> Applier {
    let (shutdown, monitor) = (Shutdown::new(), Monitor::new());
    let run = applier::run(config, monitor.clone(), shutdown.clone());
    let task = tokio::spawn(async move {
        let ended = run.await;
        if let Err(error) = &ended {
            // For a test that waits for something else.
            eprintln!("the applier stopped: {}", service::chain(error));
        }
        ended
    });
    Applier {
        shutdown,
        monitor,
        task,
    }
}

impl Applier {
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.task.await.unwrap().unwrap();
    }

    /// The reason why it stopped by itself, with its causes.
    pub(crate) async fn failure(self) -> String {
        let stopped = tokio::time::timeout(wait::PATIENCE, self.task).await;
        let error = stopped.expect("the applier stops").unwrap().unwrap_err();
        service::chain(&error)
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        let known = self.known_metric(name);
        known.unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// `None` for what is not known, too.
    pub(crate) fn known_metric(&self, name: &str) -> Option<f64> {
        let families = self.monitor.metrics.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let metrics = family.get_metric().iter();
        Some(
            metrics
                .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
                .sum(),
        )
    }
}

impl Capture {
    async fn new(bootstrap: &str, registry: &str, prefix: &str) -> Self {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "1000000");
        let capture = Self {
            epoch: 1,
            previous: Lsn::ZERO,
            system_id: "7000000000000000001".to_owned(),
            slot: "lockstep".to_owned(),
            topics: Topics::new(prefix).unwrap(),
            registry: registry.to_owned(),
            admin: Arc::new(client.create().unwrap()),
            producer: client.create().unwrap(),
            next_lsn: 0x0100_0000,
        };
        capture.create_topic(&capture.topics.commits(), 1).await;
        capture.create_dead_letters().await;
        capture
    }

    pub(crate) async fn create_dead_letters(&self) {
        self.create_topic(&self.topics.dead_letters(), 2).await;
    }

    async fn create_topic(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new();
        let created = self.admin.create_topics([&new], &options).await.unwrap();
        created.into_iter().next().unwrap().unwrap();
    }

    pub(crate) async fn delete_topic(&self, topic: &str) {
        let options = AdminOptions::new();
        let deleted = self.admin.delete_topics(&[topic], &options).await.unwrap();
        deleted.into_iter().next().unwrap().unwrap();
    }

    /// Writes to other topics from now on.
    pub(crate) async fn rename(&mut self, prefix: &str) {
        self.topics = Topics::new(prefix).unwrap();
        self.create_topic(&self.topics.commits(), 1).await;
    }

    pub(crate) fn prefix(&self) -> &str {
        self.topics.prefix()
    }

    pub(crate) async fn table(&self, relation: Relation, partitions: i32) -> Table {
        let topic = self.topics.data(&relation.table).unwrap();
        self.create_topic(&topic, partitions).await;
        let schema = self.register(&relation, &topic).await;
        Table {
            relation,
            topic,
            schema,
            partitions,
        }
    }

    pub(crate) async fn register(&self, relation: &Relation, topic: &str) -> SchemaId {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = SrSettings::new_builder(self.registry.clone())
            .no_proxy()
            .build()
            .unwrap();
        let text = value_schema(relation, self.topics.prefix());
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, text);
        let registered = post_schema(&settings, value_subject(topic), supplied).await;
        SchemaId(registered.unwrap().id)
    }

    pub(crate) fn next_lsn(&mut self) -> Lsn {
        self.next_lsn += 0x100;
        Lsn::new(self.next_lsn)
    }

    /// Publishes one transaction.
    pub(crate) async fn commit(&mut self, records: &[Record]) -> CommitRecord {
        let lsn = self.next_lsn();
        self.batch(CommitKind::Stream, &[(lsn, records)]).await
    }

    /// Publishes several transactions with one commits record.
    pub(crate) async fn batch(
        &mut self,
        kind: CommitKind,
        transactions: &[(Lsn, &[Record])],
    ) -> CommitRecord {
        let record = self.data(kind, transactions).await;
        self.announce(&record).await;
        record
    }

    /// Publishes records that no commits record covers yet, and what would cover them.
    pub(crate) async fn data(
        &mut self,
        kind: CommitKind,
        transactions: &[(Lsn, &[Record])],
    ) -> CommitRecord {
        let mut sent = Vec::new();
        let mut headers = Vec::new();
        for (commit_lsn, records) in transactions {
            for (ordinal, record) in (0..).zip(*records) {
                let position = Position {
                    commit_lsn: *commit_lsn,
                    ordinal,
                };
                sent.push(self.send(record, self.epoch, position));
            }
            headers.push(Transaction {
                xid: 700,
                commit_lsn: *commit_lsn,
                commit_time: now(),
                changes: u64::try_from(records.len()).unwrap(),
            });
        }
        let mut ranges: HashMap<(String, i32), PartitionRange> = HashMap::new();
        for (topic, partition, offset) in join_all(sent).await {
            let key = (topic.clone(), partition);
            let range = ranges.entry(key).or_insert(PartitionRange {
                topic,
                partition,
                first_offset: offset,
                end_offset: offset + 1,
                records: 0,
            });
            range.end_offset = offset + 1;
            range.records += 1;
        }
        let commit_lsn = transactions.last().map_or(self.previous, |(lsn, _)| *lsn);
        CommitRecord {
            pipeline: self.topics.prefix().to_owned(),
            epoch: self.epoch,
            system_id: self.system_id.clone(),
            timeline: 1,
            slot: self.slot.clone(),
            previous_commit_lsn: self.previous,
            commit_lsn,
            commit_time: now(),
            kind,
            transactions: match kind {
                CommitKind::Stream => headers,
                _ => Vec::new(),
            },
            partitions: ranges.into_values().collect(),
            sequences: Vec::new(),
        }
    }

    pub(crate) async fn announce(&mut self, record: &CommitRecord) {
        let mut value = Vec::new();
        write_header(&mut value, SchemaId(1));
        record.encode(&mut value).unwrap();
        let topic = self.topics.commits();
        self.produce(&topic, 0, Some(value)).await;
        self.previous = self.previous.max(record.commit_lsn);
    }

    /// Sends a record at once; the future answers where it stands.
    pub(crate) fn send(
        &self,
        record: &Record,
        epoch: i64,
        position: Position,
    ) -> impl Future<Output = (String, i32, i64)> + use<> {
        let (key, value) = (record.key(), record.encode(epoch, position));
        self.produce_keyed(&record.topic, record.partition, Some(&key), Some(value))
    }

    pub(crate) fn produce(
        &self,
        topic: &str,
        partition: i32,
        value: Option<Vec<u8>>,
    ) -> impl Future<Output = (String, i32, i64)> + use<> {
        self.produce_keyed(topic, partition, None, value)
    }

    fn produce_keyed(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<Vec<u8>>,
    ) -> impl Future<Output = (String, i32, i64)> + use<> {
        let topic = topic.to_owned();
        let mut record: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(&topic).partition(partition);
        record.key = key;
        if let Some(value) = &value {
            record = record.payload(value);
        }
        let sent = self
            .producer
            .send_result(record)
            .map_err(|(error, _)| error);
        let sent = sent.unwrap();
        async move {
            let delivered = sent.await.unwrap().map_err(|(error, _)| error).unwrap();
            (topic, delivered.partition, delivered.offset)
        }
    }
}

impl Table {
    pub(crate) fn create(&self, row: Vec<Image>) -> Record {
        self.record(Op::Create, None, Some(row))
    }

    pub(crate) fn read(&self, row: Vec<Image>) -> Record {
        self.record(Op::Read, None, Some(row))
    }

    pub(crate) fn update(&self, row: Vec<Image>) -> Record {
        self.record(Op::Update, None, Some(row))
    }

    pub(crate) fn delete(&self, row: Vec<Image>) -> Record {
        self.record(Op::Delete, Some(row), None)
    }

    pub(crate) fn truncate(&self) -> Record {
        self.record(Op::Truncate, None, None)
    }

    fn record(&self, op: Op, before: Option<Vec<Image>>, after: Option<Vec<Image>>) -> Record {
        let keyed = after.as_ref().or(before.as_ref());
        Record {
            op,
            topic: self.topic.clone(),
            schema: self.schema,
            partition: keyed.map_or(0, |row| self.partition(row)),
            relation: self.relation.clone(),
            before,
            after,
            unchanged: Vec::new(),
        }
    }

    /// One key, one partition: which hash does it does not matter here.
    fn partition(&self, row: &[Image]) -> i32 {
        let bytes = key_bytes(&self.relation, row);
        let hash = bytes.iter();
        let hash = hash.fold(7_u32, |hash, byte| hash.wrapping_mul(31) + u32::from(*byte));
        i32::try_from(hash % u32::try_from(self.partitions).unwrap()).unwrap()
    }
}

impl Record {
    /// Says that the update did not bring these columns.
    pub(crate) fn without(mut self, columns: &[&str]) -> Self {
        self.unchanged = columns.iter().map(|&name| name.to_owned()).collect();
        self
    }

    pub(crate) fn before(mut self, row: Vec<Image>) -> Self {
        self.before = Some(row);
        self
    }

    /// Something that tells the row: what exactly is in a key does not matter to apply.
    fn key(&self) -> Vec<u8> {
        let row = self.after.as_ref().or(self.before.as_ref());
        row.map_or(Vec::new(), |row| key_bytes(&self.relation, row))
    }

    pub(crate) fn encode(&self, epoch: i64, position: Position) -> Vec<u8> {
        let long = |number: u64| i64::try_from(number).unwrap();
        let mut rows = Vec::new();
        let exact_before = self.row(self.before.as_deref(), &[], &mut rows);
        let exact = self.row(self.after.as_deref(), &self.unchanged, &mut rows);
        let mut out = Vec::new();
        write_header(&mut out, self.schema);
        write_long(&mut out, epoch);
        write_long(&mut out, long(position.commit_lsn.as_u64()));
        write_long(&mut out, long(position.ordinal));
        items(&mut out, &self.unchanged, |out, name| write_str(out, name));
        for map in [&exact, &exact_before] {
            items(&mut out, map, |out, (name, image)| {
                write_str(out, name);
                write_bytes(out, image);
            });
        }
        write_str(&mut out, self.op.code());
        out.extend(rows);
        for text in ["0", "lockstep", "p"] {
            write_str(&mut out, text);
        }
        write_long(&mut out, 0);
        for text in ["false", "db", "public", "t"] {
            write_str(&mut out, text);
        }
        // No txId, lsn, ts_ms, transaction.
        (0..4).for_each(|_| write_long(&mut out, 0));
        out
    }

    fn row(
        &self,
        row: Option<&[Image]>,
        unchanged: &[String],
        out: &mut Vec<u8>,
    ) -> Vec<(String, Vec<u8>)> {
        let mut exact = Vec::new();
        let Some(row) = row else {
            write_long(out, 0);
            return exact;
        };
        write_long(out, 1);
        let columns = &self.relation.columns;
        assert_eq!(row.len(), columns.len());
        for (column, image) in columns.iter().zip(row) {
            let image = image.as_ref().filter(|_| !unchanged.contains(&column.name));
            let nullable = self.relation.is_nullable(column);
            let Some(image) = image else {
                assert!(nullable);
                write_long(out, 0);
                continue;
            };
            let mut datum = Vec::new();
            match column.mapping.encode(image, &mut datum).unwrap() {
                Fit::Exact => {
                    exact.push((column.name.clone(), image.clone()));
                    write_long(out, 0);
                }
                Fit::Typed => {
                    if nullable {
                        write_long(out, 1);
                    }
                    out.extend(datum);
                }
            }
        }
        exact
    }
}

fn key_bytes(relation: &Relation, row: &[Image]) -> Vec<u8> {
    let columns = relation.columns.iter().zip(row);
    let key = columns.filter(|(column, _)| column.in_key);
    key.flat_map(|(_, image)| image.iter().flatten())
        .copied()
        .collect()
}

fn items<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        write_long(out, i64::try_from(items.len()).unwrap());
        items.iter().for_each(|item| write(out, item));
    }
    write_long(out, 0);
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}
