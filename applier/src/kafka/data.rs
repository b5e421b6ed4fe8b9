//! Reading data partitions in the order in which the merge asks for them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use change::commit::PartitionRange;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use service::Health;
use tokio::time::timeout;
use tracing::warn;

use super::probe::{Finding, probe};
use super::{Consumer, Context, Trouble, Watermarking, check_reach};
use crate::config::Config;
use crate::error::{CoveredError, Error};
use crate::metrics::{KAFKA, Metrics};

/// All data partitions that commits records have named so far.
///
/// One queue of the client feeds all partitions, and they differ in speed: what comes before its
/// turn waits here. When that is more than the limit, the partitions that have something waiting
/// are paused, all but the one that is asked for. So what is held does not grow with the number of
/// partitions, and the one that everything waits for is never held up.
pub(crate) struct DataConsumer {
    config: Config,
    consumer: Consumer,
    lanes: Vec<Lane>,
    by_topic: HashMap<String, HashMap<i32, usize>>,
    waiting_bytes: usize,
    limit_bytes: usize,
    any_paused: bool,
    metrics: Metrics,
    health: Health,
}

/// A partition of a [`DataConsumer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId(usize);

struct Lane {
    topic: String,
    partition: i32,
    /// One past the last record given out.
    read: i64,
    waiting: VecDeque<Fetched>,
    paused: bool,
}

/// A record as it was fetched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) offset: i64,
    /// `None` for a tombstone.
    pub(crate) value: Option<Box<[u8]>>,
}

/// When nothing comes for so long although it is covered, the brokers are asked why.
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// librdkafka takes no less than its `message.max.bytes`.
const FETCH_BYTES_MIN: u64 = 1 << 20;
/// What a record costs beyond its bytes.
const RECORD_OVERHEAD: usize = 64;

impl DataConsumer {
    pub(crate) fn new(config: &Config, metrics: &Metrics, health: &Health) -> Result<Self, Error> {
        let kilobytes = u64::from(config.prefetch_megabytes) * 1024;
        let options = [
            // Half waits in the client's queue, half here; a fetch may exceed the queue by itself.
            ("queued.max.messages.kbytes", (kilobytes / 2).to_string()),
            (
                "fetch.max.bytes",
                (kilobytes * 256).max(FETCH_BYTES_MIN).to_string(),
            ),
            // A partition that is assigned or resumed waits for the fetch that is under way, which
            // the broker holds for so long when the other partitions have nothing.
            ("fetch.wait.max.ms", "50".to_owned()),
            ("max.partition.fetch.bytes", (kilobytes * 64).to_string()),
        ];
        let context = Context {
            health: health.clone(),
            commits: None,
        };
        Ok(Self {
            config: config.clone(),
            consumer: Consumer::new(config, &options, context)?,
            lanes: Vec::new(),
            by_topic: HashMap::new(),
            waiting_bytes: 0,
            limit_bytes: usize::try_from(kilobytes * 512).unwrap_or(usize::MAX),
            any_paused: false,
            metrics: metrics.clone(),
            health: health.clone(),
        })
    }

    /// The lanes of the covered ranges, which are read from there on.
    ///
    /// # Errors
    /// When a range starts before what was read already.
    pub(crate) fn cover(&mut self, ranges: &[PartitionRange]) -> Result<Vec<LaneId>, Error> {
        let mut fresh = TopicPartitionList::new();
        let mut lanes = Vec::with_capacity(ranges.len());
        for range in ranges {
            let lane = match self.find(&range.topic, range.partition) {
                Some(lane) => lane,
                None => {
                    let start = Offset::Offset(range.first_offset);
                    fresh
                        .add_partition_offset(&range.topic, range.partition, start)
                        .map_err(|error| self.consumer.failure("assign a partition", &error))?;
                    self.add(range)
                }
            };
            let read = self.lanes[lane].read;
            if range.first_offset < read {
                return Err(CoveredError::Backwards {
                    topic: range.topic.clone(),
                    partition: range.partition,
                    first_offset: range.first_offset,
                    read,
                }
                .into());
            }
            lanes.push(LaneId(lane));
        }
        if fresh.count() > 0 {
            self.consumer
                .incremental_assign(&fresh)
                .map_err(|error| self.consumer.failure("assign partitions", &error))?;
        }
        Ok(lanes)
    }

    fn find(&self, topic: &str, partition: i32) -> Option<usize> {
        self.by_topic.get(topic)?.get(&partition).copied()
    }

    fn add(&mut self, range: &PartitionRange) -> usize {
        let lane = self.lanes.len();
        self.lanes.push(Lane {
            topic: range.topic.clone(),
            partition: range.partition,
            read: range.first_offset,
            waiting: VecDeque::new(),
            paused: false,
        });
        self.by_topic
            .entry(range.topic.clone())
            .or_default()
            .insert(range.partition, lane);
        lane
    }

    /// The next record of a lane; `missing` of the records that `range` covers are still to come.
    ///
    /// # Errors
    /// When the record cannot be had any more, or this client cannot go on.
    pub(crate) async fn next(
        &mut self,
        LaneId(at): LaneId,
        range: &PartitionRange,
    ) -> Result<Fetched, Error> {
        loop {
            if let Some(fetched) = self.lanes[at].waiting.pop_front() {
                self.waiting_bytes -= fetched.bytes();
                self.lanes[at].read = fetched.offset + 1;
                return Ok(fetched);
            }
            self.resume(at)?;
            match timeout(STALL_LIMIT, self.receive(at)).await {
                Ok(Ok(())) => {}
                Ok(Err(Trouble::Passing(text))) => {
                    warn!(brokers = self.config.kafka, error = text, "Kafka is away");
                    self.health.set(KAFKA, Err(text));
                }
                Ok(Err(Trouble::Broken(text))) => return Err(self.consumer.broken(text)),
                Ok(Err(Trouble::Offset)) | Err(_) => self.explain(at, range).await?,
            }
        }
    }

    /// Takes one message from the client's queue. Cancel-safe.
    async fn receive(&mut self, wanted: usize) -> Result<(), Trouble> {
        let message = match self.consumer.recv().await {
            Ok(message) => message,
            Err(error) => return Err(Trouble::of(&error)),
        };
        let lane = self.find(message.topic(), message.partition());
        let fetched = Fetched {
            offset: message.offset(),
            value: message.payload().map(Box::from),
        };
        drop(message);
        let lane = lane.expect("only assigned partitions are fetched");
        self.waiting_bytes += fetched.bytes();
        self.lanes[lane].waiting.push_back(fetched);
        if self.waiting_bytes > self.limit_bytes && lane != wanted {
            self.pause_all_but(wanted)
                .map_err(|error| Trouble::Broken(error.to_string()))?;
        }
        Ok(())
    }

    fn pause_all_but(&mut self, wanted: usize) -> Result<(), rdkafka::error::KafkaError> {
        let mut partitions = TopicPartitionList::new();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            if at != wanted && !lane.paused && !lane.waiting.is_empty() {
                lane.paused = true;
                partitions.add_partition(&lane.topic, lane.partition);
            }
        }
        self.any_paused = true;
        self.consumer.pause(&partitions)
    }

    /// Lets `wanted` flow again, and all others too once there is room for them.
    fn resume(&mut self, wanted: usize) -> Result<(), Error> {
        let bytes = i64::try_from(self.waiting_bytes).unwrap_or(i64::MAX);
        self.metrics.prefetched_bytes.set(bytes);
        let all = self.any_paused && self.waiting_bytes < self.limit_bytes / 2;
        if !all && !self.lanes[wanted].paused {
            return Ok(());
        }
        let mut partitions = TopicPartitionList::new();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            if lane.paused && (all || at == wanted) {
                lane.paused = false;
                partitions.add_partition(&lane.topic, lane.partition);
            }
        }
        self.any_paused &= !all;
        self.consumer
            .resume(&partitions)
            .map_err(|error| self.consumer.failure("resume partitions", &error))
    }

    /// Finds out why a covered record does not come. `Ok` when waiting on is right.
    async fn explain(&mut self, at: usize, range: &PartitionRange) -> Result<(), Error> {
        let (topic, partition) = (&range.topic, range.partition);
        let read = self.lanes[at].read;
        let wanted = read.max(range.first_offset);
        match self.consumer.watermarks(topic, partition).await {
            Ok(reach) => check_reach(topic, partition, reach, wanted, range.end_offset)?,
            Err(Watermarking::Unknown) => {
                let topic = topic.clone();
                return Err(CoveredError::TopicGone { topic, partition }.into());
            }
            Err(Watermarking::Failed(error)) => {
                let text = service::chain(&error);
                warn!(error = text, "Kafka is away");
                self.health.set(KAFKA, Err(text));
                return Ok(());
            }
        }
        match probe(&self.config, topic, partition, read, &self.health).await? {
            Finding::NoRecord => Err(CoveredError::Missing {
                topic: topic.clone(),
                partition,
                first_offset: range.first_offset,
                end_offset: range.end_offset,
                records: range.records,
                missing: 1,
            }
            .into()),
            Finding::Record => Err(self.consumer.broken(format!(
                "topic {topic}, partition {partition} has stopped flowing"
            ))),
            Finding::NoAnswer => Ok(()),
        }
    }
}

impl Fetched {
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.len()) + RECORD_OVERHEAD
    }
}
