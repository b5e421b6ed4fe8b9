//! Making topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use change::topic::RECORD_BYTES_MAX;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::{Kafka, KafkaFault, REQUEST_LIMIT};
use crate::config::Config;

/// Topics that are asked for at once: of thousands of partitions a broker's controller writes one
/// record each.
const TOPICS_MAX: usize = 200;
/// Between two looks whether partitions have their leaders.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A topic as it should be when it is made.
pub(crate) struct TopicSpec<'a> {
    pub name: &'a str,
    pub partitions: i32,
    pub replication_factor: i32,
    pub retention: Duration,
}

impl<'a> TopicSpec<'a> {
    /// One whose records stand in one order.
    pub(crate) fn in_order(name: &'a str, config: &Config) -> Self {
        Self {
            name,
            partitions: 1,
            replication_factor: config.replication_factor,
            retention: Duration::from_secs(u64::from(config.retention_hours) * 3600),
        }
    }
}

/// Clients that make topics, kept for the next ones: a new client takes tenths of a second to be
/// connected.
pub(super) struct Maker {
    admin: AdminClient<DefaultClientContext>,
    consumer: BaseConsumer,
}

impl Kafka {
    /// Makes those of the topics that do not exist, and returns when records can be sent to them.
    ///
    /// # Errors
    /// When Kafka is away or refuses.
    pub(crate) async fn ensure_topics(&self, specs: &[TopicSpec<'_>]) -> Result<(), KafkaFault> {
        let maker = self.maker.get_or_try_init(async || {
            let maker = Maker::new(&self.settings).map_err(KafkaFault::Setting)?;
            Ok(Arc::new(maker))
        });
        let maker = maker.await?;
        for specs in specs.chunks(TOPICS_MAX) {
            let made = self.make(maker, specs).await?;
            if made.count() > 0 {
                self.led(maker, made).await?;
            }
        }
        Ok(())
    }

    /// The partitions that were made.
    async fn make(
        &self,
        maker: &Maker,
        specs: &[TopicSpec<'_>],
    ) -> Result<TopicPartitionList, KafkaFault> {
        let record_bytes_max = RECORD_BYTES_MAX.to_string();
        let retention = |spec: &TopicSpec<'_>| spec.retention.as_millis().to_string();
        let retentions: Vec<String> = specs.iter().map(retention).collect();
        let topics = specs.iter().zip(&retentions).map(|(spec, retention)| {
            let replication = TopicReplication::Fixed(spec.replication_factor);
            NewTopic::new(spec.name, spec.partitions, replication)
                .set("retention.ms", retention)
                .set("max.message.bytes", &record_bytes_max)
        });
        let topics: Vec<NewTopic<'_>> = topics.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_LIMIT))
            .operation_timeout(Some(REQUEST_LIMIT));
        let step = "create a topic";
        let answers = maker.admin.create_topics(&topics, &options).await;
        let answers = answers.map_err(|source| self.unavailable(step, source))?;
        let mut made = TopicPartitionList::new();
        for answer in answers {
            match answer {
                Ok(name) => {
                    for spec in specs.iter().filter(|spec| spec.name == name) {
                        made.add_partition_range(&name, 0, spec.partitions - 1);
                    }
                }
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let source = KafkaError::AdminOp(code);
                    return Err(match is_transient(code) {
                        true => self.unavailable(step, source),
                        false => KafkaFault::Refused {
                            brokers: self.brokers.clone(),
                            step: format!("create topic {name}"),
                            source,
                        },
                    });
                }
            }
        }
        Ok(made)
    }

    /// Waits until each partition has a leader that answers. One that is not ready yet refuses a
    /// record and may take the next: of a producer that it does not know it takes any, and the first,
    /// sent again, is a duplicate to it. That record would be lost.
    async fn led(
        &self,
        maker: &Arc<Maker>,
        partitions: TopicPartitionList,
    ) -> Result<(), KafkaFault> {
        let begun = Instant::now();
        loop {
            let (maker, partitions) = (Arc::clone(maker), partitions.clone());
            let asked = tokio::task::spawn_blocking(move || maker.is_led(partitions));
            let Err(source) = asked.await.map_err(KafkaFault::Task)? else {
                return Ok(());
            };
            if begun.elapsed() > REQUEST_LIMIT {
                return Err(self.unavailable("give a new topic's partitions leaders", source));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Maker {
    fn new(settings: &ClientConfig) -> Result<Self, KafkaError> {
        let mut consumer = settings.clone();
        consumer
            .set("group.id", "lockstep-cdc")
            .set("enable.auto.commit", "false");
        Ok(Self {
            admin: settings.create()?,
            consumer: consumer.create()?,
        })
    }

    /// Blocks. Asks the leaders for the offset of a time, which only they know.
    fn is_led(&self, mut partitions: TopicPartitionList) -> Result<(), KafkaError> {
        // Brokers learn of a topic after it is made, and the client keeps in mind that it is unknown.
        let elements = partitions.elements();
        for first in elements.iter().filter(|it| it.partition() == 0) {
            let topic = Some(first.topic());
            self.consumer.fetch_metadata(topic, REQUEST_LIMIT)?;
        }
        partitions.set_all_offsets(Offset::Offset(0))?;
        let found = self.consumer.offsets_for_times(partitions, REQUEST_LIMIT)?;
        found
            .elements()
            .iter()
            .try_for_each(TopicPartitionListElem::error)
    }
}

fn is_transient(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::NotController
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::CoordinatorLoadInProgress
    )
}
