//! The Kafka client: the only module that names rdkafka.
//!
//! Partitions are assigned, never subscribed to: ordered work must not move to another member of a
//! group in the middle. The group only holds offsets for the lag tools that people have.

mod commits;
mod data;
mod letters;
mod prefetch;
mod probe;

pub(crate) use commits::CommitsConsumer;
pub(crate) use data::{DataConsumer, LaneId};
pub(crate) use letters::{Letters, Original, Outgoing};
pub(crate) use prefetch::Fetched;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use service::Health;
use tokio::runtime::Handle;

use crate::config::Config;
use crate::error::{CoveredError, Error, KafkaError};
use crate::metrics::{KAFKA, Metrics};

/// How long a question to a broker may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// From so many on one question for all topics costs less than one for each.
const MANY_TOPICS: usize = 16;

/// A consumer whose blocking end happens off the async threads.
pub(crate) struct Consumer {
    brokers: String,
    client: Option<Arc<StreamConsumer<Context>>>,
}

/// What librdkafka's threads report to.
pub(crate) struct Context {
    health: Health,
    /// Set for the one consumer whose statistics are looked at.
    commits: Option<(Metrics, String)>,
}

/// How far a partition reaches.
#[derive(Clone, Copy, Debug)]
struct Watermarks {
    low: i64,
    high: i64,
}

/// What an error that came instead of a message means.
enum Trouble {
    /// The client keeps trying by itself.
    Passing(String),
    /// A wanted offset does not exist (any more), or its topic does not.
    Offset,
    /// This client cannot go on; a new one can.
    Broken(String),
}

impl Consumer {
    fn new(config: &Config, options: &[(&str, String)], context: Context) -> Result<Self, Error> {
        let mut client = settings(config);
        client
            .set("group.id", format!("{}-applier", config.pipeline))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            // Skipping what retention has removed would be silent loss.
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            // By default a full queue pauses fetching for a whole second.
            .set("fetch.queue.backoff.ms", "5");
        for (key, value) in options {
            client.set(*key, value);
        }
        let created = chosen(client, config).create_with_context(context);
        let consumer =
            created.map_err(|error| failure(&config.kafka, "set up a client", &error))?;
        Ok(Self {
            brokers: config.kafka.clone(),
            client: Some(Arc::new(consumer)),
        })
    }

    async fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, Watermarking> {
        let client = Arc::clone(self.client());
        let name = topic.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            client.fetch_watermarks(&name, partition, ANSWER_LIMIT)
        });
        let answer = asked.await.expect("asking for watermarks does not panic");
        match answer {
            Ok((low, high)) => Ok(Watermarks { low, high }),
            Err(error) if error.rdkafka_error_code().is_some_and(is_unknown) => {
                Err(Watermarking::Unknown)
            }
            Err(error) => Err(Watermarking::Failed(failure(
                &self.brokers,
                "ask for watermarks",
                &error,
            ))),
        }
    }

    /// Asks where `topics` are. What the client does not know it asks for once a second by itself, so
    /// that partitions which are assigned without this may wait for so long.
    async fn locate(&self, topics: Vec<String>) {
        let client = Arc::clone(self.client());
        let asked = tokio::task::spawn_blocking(move || match topics.len() {
            MANY_TOPICS.. => client.fetch_metadata(None, ANSWER_LIMIT).map(drop),
            _ => topics
                .iter()
                .try_for_each(|topic| client.fetch_metadata(Some(topic), ANSWER_LIMIT).map(drop)),
        });
        let answer = asked.await.expect("asking for topics does not panic");
        // It will be known later then.
        if let Err(error) = answer {
            tracing::debug!(%error, "ask where topics are");
        }
    }

    fn client(&self) -> &Arc<StreamConsumer<Context>> {
        self.client.as_ref().expect("taken by drop only")
    }

    fn failure(&self, step: &'static str, error: &ClientError) -> Error {
        failure(&self.brokers, step, error)
    }

    fn broken(&self, text: String) -> Error {
        Error::Kafka {
            step: "read records",
            brokers: self.brokers.clone(),
            source: KafkaError {
                text,
                transient: true,
            },
        }
    }
}

/// What all clients have in common.
fn settings(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.kafka)
        .set("reconnect.backoff.max.ms", "2000");
    client
}

/// What the operator chose comes last.
fn chosen(mut client: ClientConfig, config: &Config) -> ClientConfig {
    for option in &config.kafka_option {
        client.set(&option.key, &option.value);
    }
    client
}

/// Why there are no watermarks.
enum Watermarking {
    Unknown,
    Failed(Error),
}

impl Deref for Consumer {
    type Target = StreamConsumer<Context>;

    fn deref(&self) -> &StreamConsumer<Context> {
        self.client()
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
                Self::Offset
            }
            Some(code) if is_unknown(code) => Self::Offset,
            _ => Self::Passing(text),
        }
    }
}

fn is_unknown(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
    )
}

/// What the watermarks say about reading from `wanted`, and about a record before `end`.
fn check_reach(
    topic: &str,
    partition: i32,
    reach: Watermarks,
    wanted: i64,
    end: i64,
) -> Result<(), CoveredError> {
    let topic = topic.to_owned();
    if reach.low > wanted {
        return Err(CoveredError::RetentionPassed {
            topic,
            partition,
            wanted,
            low: reach.low,
        });
    }
    if reach.high < end {
        return Err(CoveredError::Truncated {
            topic,
            partition,
            wanted: end,
            high: reach.high,
        });
    }
    Ok(())
}

fn failure(brokers: &str, step: &'static str, error: &ClientError) -> Error {
    // A wrong setting stays wrong; everything that a broker answers may pass.
    let transient = !matches!(
        error,
        ClientError::ClientConfig(..) | ClientError::ClientCreation(_)
    );
    Error::Kafka {
        step,
        brokers: brokers.to_owned(),
        source: KafkaError {
            text: error.to_string(),
            transient,
        },
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error too; this is librdkafka's own diary.
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: ClientError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.health.set(KAFKA, Err(reason.to_owned()));
        }
        tracing::debug!(%error, reason, "librdkafka reports");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Some((metrics, topic)) = &self.commits else {
            return;
        };
        let Ok(statistics) = serde_json::from_slice::<serde_json::Value>(statistics) else {
            return;
        };
        let brokers = statistics["brokers"].as_object();
        if brokers.is_some_and(|brokers| brokers.values().any(|broker| broker["state"] == "UP")) {
            self.health.set(KAFKA, Ok(()));
        }
        let end = statistics["topics"][topic]["partitions"]["0"]["hi_offset"].as_i64();
        if let Some(end) = end.filter(|end| *end >= 0) {
            metrics.commits_end_offset.set(end);
        }
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(low: i64, high: i64, expected: &str) {
        let reach = Watermarks { low, high };
        let found = check_reach("t", 0, reach, 10, 20).map_err(|error| format!("{error:?}"));
        match expected {
            "" => assert_eq!(found, Ok(())),
            name => assert!(
                found.as_ref().is_err_and(|e| e.starts_with(name)),
                "{found:?}"
            ),
        }
    }

    #[test]
    fn unread_records_that_are_not_there_any_more_are_noticed() {
        check(0, 20, "");
        check(10, 25, "");
        check(11, 25, "RetentionPassed");
        check(0, 19, "Truncated");
        check(0, 0, "Truncated");
    }
}
