//! Kafka: the one module that names its client.

mod tail;
pub(crate) use tail::TailReader;

mod topics;
pub(crate) use topics::TopicSpec;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use change::topic::RECORD_BYTES_MAX;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use service::Health;
use tokio::sync::{Notify, OnceCell};
use topics::Maker;

use crate::config::Config;
use crate::encode::Record;
use crate::publish::Tracker;

/// The dependency's name in the health report.
pub(crate) const DEPENDENCY: &str = "kafka";

/// What a producer may hold that is not acknowledged: with the buffers of its connections this
/// bounds the memory of capture, whatever the backlog. That of commits records holds one at most.
const QUEUE_KILOBYTES_MAX: usize = 32 * 1024;
const QUEUE_RECORDS_MAX: usize = 200_000;
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Why Kafka did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFault {
    #[error("a setting of the Kafka client is refused")]
    Setting(#[source] KafkaError),
    #[error("Kafka at {brokers} does not {step}")]
    Unavailable {
        brokers: String,
        step: &'static str,
        source: KafkaError,
    },
    #[error("Kafka at {brokers} refuses to {step}")]
    Refused {
        brokers: String,
        step: String,
        source: KafkaError,
    },
    #[error(
        "topic {topic} takes no record of {bytes} bytes: raise its max.message.bytes, or lower \
         --record-bytes-max"
    )]
    TooLong { topic: String, bytes: usize },
    /// The records may or may not stand in the topic; they do not count, and are sent again.
    #[error("a record for topic {topic} was not acknowledged")]
    NotDelivered { topic: String, source: KafkaError },
    /// It stands there, after a request that was sent twice; but no range can be told with it.
    #[error("Kafka does not say where a record came to stand in topic {topic}")]
    NoPlace { topic: String },
    #[error("a task that reads Kafka ended early")]
    Task(#[source] tokio::task::JoinError),
}

impl KafkaFault {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::NotDelivered { .. } | Self::NoPlace { .. } => true,
            Self::Setting(_) | Self::Refused { .. } | Self::TooLong { .. } | Self::Task(_) => false,
        }
    }
}

/// Whether a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    Yes,
    /// The queue is full: try again after [`Kafka::space`].
    Full,
}

/// A connection to Kafka: idempotent producers, and what sets up and reads topics.
pub(crate) struct Kafka {
    brokers: String,
    settings: ClientConfig,
    /// Of data and what else is covered by commits records.
    pub(crate) records: Producer,
    /// Of commits records: others wait for them, and they need not wait for others.
    pub(crate) commits: Producer,
    space: Arc<Notify>,
    maker: OnceCell<Arc<Maker>>,
}

/// What sends records in the order in which it gets them. All records of a topic go by one.
pub(crate) struct Producer(ThreadedProducer<Deliveries>);

impl Kafka {
    /// # Errors
    /// When a setting is refused. Nothing is sent yet.
    pub(crate) fn new(config: &Config, health: &Health) -> Result<Self, KafkaFault> {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", &config.kafka);
        settings.set("client.id", "lockstep-cdc");
        settings.set_log_level(RDKafkaLogLevel::Warning);
        for option in &config.kafka_option {
            settings.set(&option.key, &option.value);
        }
        let space = Arc::new(Notify::new());
        let deliveries = Deliveries(Arc::new(Reach {
            brokers: config.kafka.clone(),
            health: health.clone(),
            is_here: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            space: Arc::clone(&space),
        }));
        let producer = |linger: &str| {
            let mut settings = settings.clone();
            let created = settings
                .set("enable.idempotence", "true")
                .set("acks", "all")
                // Kafka's own default partitioner, so that other producers agree on a key's partition.
                .set("partitioner", "murmur2")
                .set("linger.ms", linger)
                .set("compression.type", "lz4")
                .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
                .set(
                    "queue.buffering.max.kbytes",
                    QUEUE_KILOBYTES_MAX.to_string(),
                )
                .set(
                    "queue.buffering.max.messages",
                    QUEUE_RECORDS_MAX.to_string(),
                )
                // Never give a record up: the source waits as long as Kafka does not take it.
                .set("message.timeout.ms", "0")
                .create_with_context(deliveries.clone());
            created.map_err(KafkaFault::Setting)
        };
        Ok(Self {
            brokers: config.kafka.clone(),
            // Without a wait nearly every record is a request of its own.
            records: Producer(producer("1")?),
            commits: Producer(producer("0")?),
            settings,
            space,
            maker: OnceCell::new(),
        })
    }

    /// Waits until a record was delivered, which makes room in the queue. Cancel-safe.
    pub(crate) async fn space(&self) {
        // The bound covers a delivery between the refusal and this call.
        let _ = tokio::time::timeout(Duration::from_millis(10), self.space.notified()).await;
    }

    fn unavailable(&self, step: &'static str, source: KafkaError) -> KafkaFault {
        KafkaFault::Unavailable {
            brokers: self.brokers.clone(),
            step,
            source,
        }
    }
}

impl Producer {
    /// Queues a record; `tracker` learns where it came to stand. Without a key it goes to
    /// partition 0.
    ///
    /// # Errors
    /// When the record can never be sent.
    pub(crate) fn send(
        &self,
        topic: &str,
        record: &Record<'_>,
        timestamp_ms: i64,
        tracker: &Arc<Tracker>,
    ) -> Result<Queued, KafkaFault> {
        let mut message = BaseRecord::with_opaque_to(topic, Arc::clone(tracker))
            .payload(record.value.as_slice())
            .timestamp(timestamp_ms);
        message = match record.key {
            Some(key) => message.key(key),
            None => message.partition(0),
        };
        tracker.sent();
        let Err((error, _)) = self.0.send(message) else {
            return Ok(Queued::Yes);
        };
        tracker.unsent();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Ok(Queued::Full),
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => Err(KafkaFault::TooLong {
                topic: topic.to_owned(),
                bytes: record.bytes(),
            }),
            _ => Err(KafkaFault::NotDelivered {
                topic: topic.to_owned(),
                source: error,
            }),
        }
    }
}

fn refusal(error: &KafkaError, message: &impl Message) -> KafkaFault {
    let topic = message.topic().to_owned();
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => KafkaFault::TooLong {
            topic,
            bytes: length(message.key()) + length(message.payload()),
        },
        _ => KafkaFault::NotDelivered {
            topic,
            source: error.clone(),
        },
    }
}

/// What the producers' own threads report to.
#[derive(Clone)]
struct Deliveries(Arc<Reach>);

/// How it is with Kafka, as all producers have it.
struct Reach {
    brokers: String,
    health: Health,
    /// Whether something was delivered since the last error: not each record reports it.
    is_here: AtomicBool,
    is_away: AtomicBool,
    space: Arc<Notify>,
}

impl Reach {
    fn arrived(&self) {
        if self.is_here.load(Ordering::Relaxed) || self.is_here.swap(true, Ordering::Acquire) {
            return;
        }
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!(brokers = %self.brokers, "Kafka is back");
        }
        self.health.set(DEPENDENCY, Ok(()));
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        let reach = &self.0;
        // Each attempt fails anew, several times a second: one line tells it until it is over.
        if !reach.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(brokers = %reach.brokers, %error, reason, "Kafka is away, trying again");
        }
        let state = Err(format!("{}: {reason}", reach.brokers));
        reach.health.set(DEPENDENCY, state);
        // Last: whatever the other producer delivers meanwhile, the next delivery says that it is back.
        reach.is_here.store(false, Ordering::Release);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Tracker>;

    fn delivery(&self, result: &DeliveryResult<'_>, tracker: Arc<Tracker>) {
        match result {
            // As librdkafka has it of a record that a broker calls a duplicate.
            Ok(message) if message.offset() < 0 => tracker.failed(KafkaFault::NoPlace {
                topic: message.topic().to_owned(),
            }),
            Ok(message) => {
                self.0.arrived();
                let bytes = message.payload_len() + message.key_len();
                tracker.delivered(
                    message.topic(),
                    message.partition(),
                    message.offset(),
                    bytes,
                );
            }
            Err((error, message)) => tracker.failed(refusal(error, message)),
        }
        self.0.space.notify_one();
    }
}
