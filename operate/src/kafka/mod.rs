//! What commands and console ask Kafka. The only module that names the client.

mod clients;
mod log;

pub use log::{Log, PartitionName, Piece, RawRecord, Reach, Stretch};

use std::collections::HashMap;
use std::fmt;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use change::commit::CommitRecord;
use change::framing;
use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;

use self::clients::Clients;
use crate::endpoints::Endpoints;

/// A cluster. What is cloned shares its connections.
#[derive(Clone)]
pub struct Kafka {
    clients: Arc<Clients>,
    limit: Duration,
}

/// Settings of a topic or a broker, as the brokers have them.
pub type Settings = HashMap<String, String>;

/// What the cluster says about itself.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub brokers: usize,
    pub topics: Vec<String>,
    /// The largest record batch that a topic takes unless it says otherwise.
    pub message_max_bytes: Option<u64>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").finish_non_exhaustive()
    }
}

impl Kafka {
    /// Every question is given up after `limit`.
    pub fn new(endpoints: &Endpoints, limit: Duration) -> Self {
        Self {
            clients: Arc::new(Clients::new(endpoints)),
            limit,
        }
    }

    /// # Errors
    /// When no broker answers in time.
    pub async fn cluster(&self) -> anyhow::Result<Cluster> {
        let (ids, topics) = self
            .log(self.limit)?
            .blocking(|consumer, limit| {
                let metadata = consumer.fetch_metadata(None, limit).map_err(unreachable)?;
                let ids: Vec<i32> = metadata.brokers().iter().map(MetadataBroker::id).collect();
                let topics = metadata.topics().iter();
                let topics: Vec<String> = topics.map(|topic| topic.name().to_owned()).collect();
                Ok((ids, topics))
            })
            .await?;
        let first = ids.first().copied().context("the cluster has no broker")?;
        let settings = self.described([ResourceSpecifier::Broker(first)]).await?;
        let settings = settings.into_iter().next();
        let settings = settings.context("no answer to a question for settings")??;
        let message_max_bytes = settings.get("message.max.bytes");
        Ok(Cluster {
            brokers: ids.len(),
            topics,
            message_max_bytes: message_max_bytes.and_then(|value| value.parse().ok()),
        })
    }

    /// The last record of the commits topic; `None` when the topic is missing or empty.
    ///
    /// # Errors
    /// When no broker answers in time, or the record is not a commits record.
    pub async fn last_commit(&self, topic: &str) -> anyhow::Result<Option<CommitRecord>> {
        let log = self.log(self.limit)?;
        if log.partitions(topic).await? == 0 {
            return Ok(None);
        }
        let name = PartitionName {
            topic: topic.to_owned(),
            partition: 0,
        };
        let reach = log.reach(slice::from_ref(&name)).await?;
        let reach = reach
            .get(&name)
            .with_context(|| format!("topic {topic} does not answer"))?;
        if reach.first_offset == reach.end_offset {
            return Ok(None);
        }
        let last = Piece {
            from: reach.end_offset - 1,
            until: reach.end_offset,
            records_max: 1,
            bytes_max: usize::MAX,
        };
        let read = log.read(name, last).await?;
        let record = read.records.into_iter().next().and_then(|it| it.value);
        let record = record.context("the commits topic has a hole")?;
        let (_, datum) = framing::split(&record).context("read the last commits record")?;
        Ok(Some(CommitRecord::decode(datum)?))
    }

    /// How long each of the pipeline's topics keeps records, in milliseconds; -1 is for ever.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn retention_ms(&self, prefix: &str) -> anyhow::Result<Vec<(String, i64)>> {
        let start = format!("{prefix}.");
        let topics = self.log(self.limit)?.topics(&start).await?;
        let topics: Vec<String> = topics.into_iter().map(|(name, _)| name).collect();
        let settings = self.settings(&topics).await?;
        let retention = topics.into_iter().zip(settings);
        let retention = retention.filter_map(|(topic, settings)| {
            let limit = settings?.get("retention.ms")?.parse().ok()?;
            Some((topic, limit))
        });
        Ok(retention.collect())
    }

    /// The settings of topics, in their order; `None` for a topic that the brokers do not tell about.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub async fn settings(&self, topics: &[String]) -> anyhow::Result<Vec<Option<Settings>>> {
        let topics = topics.iter().map(|it| ResourceSpecifier::Topic(it));
        let answers = self.described(topics).await?;
        Ok(answers.into_iter().map(Result::ok).collect())
    }

    /// In the order of the resources; all in one question.
    async fn described<'a>(
        &self,
        resources: impl IntoIterator<Item = ResourceSpecifier<'a>>,
    ) -> anyhow::Result<Vec<anyhow::Result<Settings>>> {
        let resources: Vec<ResourceSpecifier<'a>> = resources.into_iter().collect();
        if resources.is_empty() {
            return Ok(Vec::new());
        }
        let options = AdminOptions::new().request_timeout(Some(self.limit));
        let admin = self.clients.admin().await?;
        let answers = admin.describe_configs(&resources, &options).await;
        let settings = |answer: Result<ConfigResource, RDKafkaErrorCode>| {
            let answer = answer.map_err(|code| anyhow!("ask for settings: {code}"))?;
            let entries = answer.entries.into_iter();
            Ok(entries
                .filter_map(|it| Some((it.name, it.value?)))
                .collect())
        };
        let answers = answers.map_err(unreachable)?.into_iter();
        Ok(answers.map(settings).collect())
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
