//! What commands and console ask Kafka. The only module that names the client.

mod log;

pub use log::{Log, PartitionName, Piece, RawRecord, Reach, Stretch, TopicSettings};

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use change::commit::CommitRecord;
use change::framing;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataBroker;
use rdkafka::{Offset, TopicPartitionList};
use service::KafkaOption;

use crate::endpoints::Endpoints;

/// A cluster, by its bootstrap servers.
#[derive(Clone, Debug)]
pub struct Kafka {
    brokers: String,
    options: Vec<KafkaOption>,
    limit: Duration,
}

/// What the cluster says about itself.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub brokers: usize,
    pub topics: Vec<String>,
    /// The largest record batch that a topic takes unless it says otherwise.
    pub message_max_bytes: Option<u64>,
}

impl Kafka {
    /// Every question is given up after `limit`.
    pub fn new(endpoints: &Endpoints, limit: Duration) -> Self {
        Self {
            brokers: endpoints.kafka.clone(),
            options: endpoints.kafka_options.clone(),
            limit,
        }
    }

    /// # Errors
    /// When no broker answers in time.
    pub async fn cluster(&self) -> anyhow::Result<Cluster> {
        let (ids, topics) = self
            .blocking(|consumer, limit| {
                let metadata = consumer.fetch_metadata(None, limit).map_err(unreachable)?;
                let ids: Vec<i32> = metadata.brokers().iter().map(MetadataBroker::id).collect();
                let topics = metadata.topics().iter();
                let topics: Vec<String> = topics.map(|topic| topic.name().to_owned()).collect();
                Ok((ids, topics))
            })
            .await?;
        let first = ids.first().copied().context("the cluster has no broker")?;
        let config = self
            .config_of(ResourceSpecifier::Broker(first), "message.max.bytes")
            .await?;
        Ok(Cluster {
            brokers: ids.len(),
            topics,
            message_max_bytes: config.and_then(|value| value.parse().ok()),
        })
    }

    /// The last record of the commits topic; `None` when the topic is missing or empty.
    ///
    /// # Errors
    /// When no broker answers in time, or the record is not a commits record.
    pub async fn last_commit(&self, topic: &str) -> anyhow::Result<Option<CommitRecord>> {
        let topic = topic.to_owned();
        let read = move |consumer: &BaseConsumer, limit| last_record(consumer, &topic, limit);
        let Some(record) = self.blocking(read).await? else {
            return Ok(None);
        };
        let (_, datum) = framing::split(&record).context("read the last commits record")?;
        Ok(Some(CommitRecord::decode(datum)?))
    }

    /// How long each of the pipeline's topics keeps records, in milliseconds; -1 is for ever.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn retention_ms(&self, prefix: &str) -> anyhow::Result<Vec<(String, i64)>> {
        let start = format!("{prefix}.");
        let topics = self
            .blocking(|consumer, limit| {
                let metadata = consumer.fetch_metadata(None, limit).map_err(unreachable)?;
                let topics = metadata.topics().iter();
                Ok(topics
                    .map(|it| it.name().to_owned())
                    .collect::<Vec<String>>())
            })
            .await?;
        let ours: Vec<&String> = topics.iter().filter(|it| it.starts_with(&start)).collect();
        let resources = ours.iter().map(|topic| ResourceSpecifier::Topic(topic));
        let values = self.configs_of(resources, "retention.ms").await?;
        let retention = ours.into_iter().zip(values).filter_map(|(topic, value)| {
            let limit = value.ok()??.parse().ok()?;
            Some((topic.clone(), limit))
        });
        let mut retention: Vec<(String, i64)> = retention.collect();
        retention.sort();
        Ok(retention)
    }

    async fn config_of(
        &self,
        resource: ResourceSpecifier<'_>,
        name: &str,
    ) -> anyhow::Result<Option<String>> {
        let values = self.configs_of([resource], name).await?.pop();
        values.context("no answer to a question for settings")?
    }

    /// In the order of the resources; all in one question.
    async fn configs_of<'a>(
        &self,
        resources: impl IntoIterator<Item = ResourceSpecifier<'a>>,
        name: &str,
    ) -> anyhow::Result<Vec<anyhow::Result<Option<String>>>> {
        let resources: Vec<ResourceSpecifier<'a>> = resources.into_iter().collect();
        if resources.is_empty() {
            return Ok(Vec::new());
        }
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().request_timeout(Some(self.limit));
        let answers = admin.describe_configs(&resources, &options).await;
        let value = |answer: Result<ConfigResource, RDKafkaErrorCode>| {
            let resource = answer.map_err(|code| anyhow!("ask for {name}: {code}"))?;
            Ok(resource.get(name).and_then(|entry| entry.value.clone()))
        };
        Ok(answers
            .map_err(unreachable)?
            .into_iter()
            .map(value)
            .collect())
    }

    /// The client blocks its thread, so it gets one of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&BaseConsumer, Duration) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (client, limit) = (self.client(), self.limit);
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = client.create()?;
            ask(&consumer, limit)
        });
        asked.await.context("ask Kafka")?
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "lockstep")
            // A consumer must name a group even when it never joins it.
            .set("group.id", "lockstep-commands")
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            // What goes wrong is in the errors; the library would print it a second time.
            .set_log_level(RDKafkaLogLevel::Emerg);
        for KafkaOption { key, value } in &self.options {
            client.set(key, value);
        }
        client
    }
}

fn last_record(
    consumer: &BaseConsumer,
    topic: &str,
    limit: Duration,
) -> anyhow::Result<Option<Vec<u8>>> {
    let metadata = consumer.fetch_metadata(Some(topic), limit);
    let metadata = metadata.map_err(unreachable)?;
    let known = metadata.topics().iter().find(|it| it.name() == topic);
    if known.is_none_or(|it| it.error().is_some() || it.partitions().is_empty()) {
        return Ok(None);
    }
    let (low, high) = consumer
        .fetch_watermarks(topic, 0, limit)
        .with_context(|| format!("ask for the end of topic {topic}"))?;
    if low == high {
        return Ok(None);
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Offset(high - 1))?;
    consumer.assign(&assignment)?;
    match consumer.poll(limit) {
        Some(Ok(message)) => {
            let payload = message.payload().context("a commits record is empty")?;
            ensure!(message.offset() == high - 1, "the commits topic has a hole");
            Ok(Some(payload.to_vec()))
        }
        Some(Err(error)) => Err(error).with_context(|| format!("read topic {topic}")),
        None => bail!("no answer within {} s", limit.as_secs_f32()),
    }
}

/// The library says `BrokerTransportFailure` where people want to know that nobody answers.
fn unreachable(error: KafkaError) -> anyhow::Error {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::Resolve,
        ) => anyhow!("no broker answers there"),
        _ => anyhow::Error::new(error),
    }
}
