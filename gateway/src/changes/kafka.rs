//! The Kafka client. Partitions are assigned, never subscribed to: every gateway reads all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::Config;

/// How long a question to a broker may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Why Kafka does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum KafkaError {
    #[error("topic {0} does not exist yet: is capture running?")]
    NoTopic(String),
    #[error("{step} at {brokers}")]
    Client {
        step: &'static str,
        brokers: String,
        source: ClientError,
    },
}

/// Where reading goes on, by topic and partition.
pub(super) type Offsets = HashMap<(String, i32), i64>;

/// A consumer whose blocking end happens off the async threads.
pub(super) struct Consumer {
    brokers: String,
    client: Option<Arc<StreamConsumer<Quiet>>>,
}

/// A record as it was fetched; a tombstone has no value.
pub(super) struct Fetched {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) value: Option<Vec<u8>>,
}

/// What came instead of a record.
pub(super) enum Trouble {
    /// The client keeps trying by itself.
    Passing(String),
    /// The next offset does not exist (any more).
    Removed,
    /// This client cannot go on; a new one can.
    Broken(String),
}

/// librdkafka's own diary; what matters comes as an error too.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka reports");
    }
}

impl ConsumerContext for Quiet {}

impl Consumer {
    pub(super) fn new(config: &Config, brokers: &str) -> Result<Self, KafkaError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", brokers)
            // Never joined, but the client wants a name.
            .set("group.id", "lockstep-gateway")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            // What retention has removed must not be skipped without a word.
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.max.bytes", "4194304")
            .set("fetch.wait.max.ms", "50")
            .set("reconnect.backoff.max.ms", "2000");
        for option in &config.kafka_option {
            client.set(&option.key, &option.value);
        }
        let created = client.create_with_context(Quiet);
        let client = created.map_err(|error| failed(brokers, "make a consumer", error))?;
        Ok(Self {
            brokers: brokers.to_owned(),
            client: Some(Arc::new(client)),
        })
    }

    /// How many partitions a topic has.
    pub(super) async fn partitions(&self, topic: &str) -> Result<i32, KafkaError> {
        let name = topic.to_owned();
        let metadata = self
            .ask("ask for a topic", move |client| {
                client.fetch_metadata(Some(&name), ANSWER_LIMIT)
            })
            .await?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let count = found
            .filter(|it| it.error().is_none())
            .map_or(0, |it| it.partitions().len());
        match i32::try_from(count) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(KafkaError::NoTopic(topic.to_owned())),
        }
    }

    /// The first offset of a partition, and the one after its last record.
    pub(super) async fn reach(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(i64, i64), KafkaError> {
        let name = topic.to_owned();
        self.ask("ask for a topic's end", move |client| {
            client.fetch_watermarks(&name, partition, ANSWER_LIMIT)
        })
        .await
    }

    /// Reads from these offsets on.
    pub(super) fn assign(&self, offsets: &Offsets) -> Result<(), KafkaError> {
        let mut partitions = TopicPartitionList::new();
        let added = offsets.iter().try_for_each(|((topic, partition), offset)| {
            partitions.add_partition_offset(topic, *partition, Offset::Offset(*offset))
        });
        added
            .and_then(|()| self.client().assign(&partitions))
            .map_err(|error| failed(&self.brokers, "assign partitions", error))
    }

    /// The next record of any partition. Cancel-safe.
    pub(super) async fn next(&self) -> Result<Fetched, Trouble> {
        match self.client().recv().await {
            Ok(message) => Ok(Fetched {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                offset: message.offset(),
                value: message.payload().map(<[u8]>::to_vec),
            }),
            Err(error) => Err(Trouble::of(&error)),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        step: &'static str,
        question: impl FnOnce(&StreamConsumer<Quiet>) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let client = Arc::clone(self.client());
        // The client blocks its thread until the broker answers.
        let asked = tokio::task::spawn_blocking(move || question(&client)).await;
        let answer = asked.unwrap_or(Err(ClientError::Canceled));
        answer.map_err(|error| failed(&self.brokers, step, error))
    }

    fn client(&self) -> &Arc<StreamConsumer<Quiet>> {
        self.client.as_ref().expect("taken by drop only")
    }
}

fn failed(brokers: &str, step: &'static str, source: ClientError) -> KafkaError {
    KafkaError::Client {
        step,
        brokers: brokers.to_owned(),
        source,
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Closing waits for librdkafka's threads. Without a runtime there is nobody to hold up.
        if let (Some(client), Ok(runtime)) = (self.client.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(client));
        }
    }
}

impl Trouble {
    fn of(error: &ClientError) -> Self {
        let text = error.to_string();
        if let ClientError::MessageConsumptionFatal(_) = error {
            return Self::Broken(text);
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                Self::Removed
            }
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition,
            ) => Self::Broken(text),
            _ => Self::Passing(text),
        }
    }
}
