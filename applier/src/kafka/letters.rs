//! The topic of dead letters: records as they stand in their own topics, with what is said of them.

use change::topic::RECORD_BYTES_MAX;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use service::Health;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{ANSWER_LIMIT, Consumer, Context, Trouble, Watermarking, chosen, failure, settings};
use crate::config::Config;
use crate::error::{Error, RecordPlace};

/// What reads records again, and writes letters. Made when there is a letter, dropped when there is
/// none any more.
pub(crate) struct Letters {
    brokers: String,
    topic: String,
    originals: Consumer,
    /// Which record comes next.
    next: Option<RecordPlace>,
    producer: Option<FutureProducer<Context>>,
}

/// A record as it stands in its topic.
#[derive(Debug, Default)]
pub(crate) struct Original {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// A record of the topic of dead letters.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) original: Original,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Original {
    pub(crate) fn len(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value)
    }
}

/// So many records are rather read over than sought past, which takes a fetch.
const SKIPPED_MAX: i64 = 500;

impl Letters {
    /// # Errors
    /// When a setting is refused.
    pub(crate) fn new(config: &Config, health: &Health) -> Result<Self, Error> {
        let context = || Context {
            health: health.clone(),
            commits: None,
        };
        let options = [
            ("queued.max.messages.kbytes", "1024".to_owned()),
            // What is sought waits for the fetch that is under way, which may find nothing.
            ("fetch.wait.max.ms", "10".to_owned()),
        ];
        let mut producer = settings(config);
        producer
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // As capture's, so that a key has the same partition in both topics.
            .set("partitioner", "murmur2")
            .set("compression.type", "lz4")
            .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
            .set("message.timeout.ms", ANSWER_LIMIT.as_millis().to_string());
        let producer = chosen(producer, config).create_with_context(context());
        Ok(Self {
            brokers: config.kafka.clone(),
            topic: config.prefix.dead_letters(),
            originals: Consumer::new(config, &options, context())?,
            next: None,
            producer: Some(
                producer.map_err(|error| failure(&config.kafka, "set up a producer", &error))?,
            ),
        })
    }

    /// The record at a place; `None` when there is none any more.
    ///
    /// # Errors
    /// When the brokers do not answer in time.
    pub(crate) async fn original(
        &mut self,
        place: &RecordPlace,
    ) -> Result<Option<Original>, Error> {
        let is_near = self.next.take().is_some_and(|next| {
            let skipped = 0..=SKIPPED_MAX;
            (next.topic, next.partition) == (place.topic.clone(), place.partition)
                && skipped.contains(&(place.offset - next.offset))
        });
        if !is_near && !self.seek(place).await? {
            return Ok(None);
        }
        match timeout(ANSWER_LIMIT, self.receive(place)).await {
            Ok(received) => received,
            Err(_) => Err(self.originals.broken(format!("{place} does not come"))),
        }
    }

    /// Has the consumer begin at a place; false when the topic does not reach there.
    async fn seek(&self, place: &RecordPlace) -> Result<bool, Error> {
        let (topic, partition) = (&place.topic, place.partition);
        match self.originals.watermarks(topic, partition).await {
            Ok(reach) if (reach.low..reach.high).contains(&place.offset) => {}
            Ok(_) | Err(Watermarking::Unknown) => return Ok(false),
            Err(Watermarking::Failed(error)) => return Err(error),
        }
        let mut partitions = TopicPartitionList::new();
        partitions
            .add_partition_offset(topic, partition, Offset::Offset(place.offset))
            .and_then(|()| self.originals.assign(&partitions))
            .map_err(|error| self.originals.failure("assign a partition", &error))?;
        Ok(true)
    }

    async fn receive(&mut self, place: &RecordPlace) -> Result<Option<Original>, Error> {
        loop {
            let message = match self.originals.recv().await {
                Ok(message) => message,
                Err(error) => match Trouble::of(&error) {
                    Trouble::Passing(_) => continue,
                    Trouble::Offset => return Ok(None),
                    Trouble::Broken(text) => return Err(self.originals.broken(text)),
                },
            };
            if (message.topic(), message.partition()) != (&place.topic, place.partition)
                || message.offset() < place.offset
            {
                continue;
            }
            if message.offset() > place.offset {
                return Ok(None);
            }
            self.next = Some(RecordPlace {
                offset: place.offset + 1,
                ..place.clone()
            });
            return Ok(Some(Original {
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
            }));
        }
    }

    /// Writes a letter; what is longer than the topic takes goes without the record's own bytes, which
    /// `instead` says.
    ///
    /// # Errors
    /// When it was not acknowledged. It may stand in the topic all the same.
    pub(crate) async fn publish(
        &self,
        mut letter: Outgoing,
        instead: (&'static str, &str),
    ) -> Result<(), Error> {
        let mut sent = self.send(&letter).await;
        if sent.as_ref().is_err_and(is_too_long) {
            letter.original.value = None;
            letter.headers.push((instead.0, instead.1.to_owned()));
            sent = self.send(&letter).await;
        }
        sent.map_err(|error| failure(&self.brokers, "write to the topic of dead letters", &error))
    }

    async fn send(&self, letter: &Outgoing) -> Result<(), ClientError> {
        let mut headers = OwnedHeaders::new_with_capacity(letter.headers.len());
        for (key, value) in &letter.headers {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(&self.topic).headers(headers);
        record.key = letter.original.key.as_deref();
        record.payload = letter.original.value.as_deref();
        let producer = self.producer.as_ref().expect("taken by drop only");
        let sent = producer.send(record, ANSWER_LIMIT).await;
        sent.map(drop).map_err(|(error, _)| error)
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        // As the consumer's: its threads are waited for.
        if let (Some(producer), Ok(runtime)) = (self.producer.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(producer));
        }
    }
}

fn is_too_long(error: &ClientError) -> bool {
    let codes = [
        RDKafkaErrorCode::MessageSizeTooLarge,
        RDKafkaErrorCode::InvalidMessageSize,
    ];
    error
        .rdkafka_error_code()
        .is_some_and(|code| codes.contains(&code))
}
