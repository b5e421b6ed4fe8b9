//! Reading data partitions in the order in which the merge asks for them.

use std::collections::HashMap;
use std::time::Duration;

use change::commit::PartitionRange;
use futures_util::FutureExt;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use service::Health;
use tokio::time::timeout;
use tracing::warn;

use super::prefetch::{Fetched, Flow, Prefetch};
use super::probe::{Finding, probe};
use super::{Consumer, Context, Trouble, Watermarking, check_reach};
use crate::config::Config;
use crate::error::{CoveredError, Error};
use crate::metrics::{KAFKA, Metrics};

/// All data partitions that commits records have named so far.
///
/// One queue of the client feeds all partitions, and they differ in speed: what comes before its
/// turn waits in a [`Prefetch`], which says which of them are paused. The one that everything waits
/// for never is.
pub(crate) struct DataConsumer {
    config: Config,
    consumer: Consumer,
    lanes: Vec<Lane>,
    by_topic: HashMap<String, HashMap<i32, usize>>,
    /// Where the last record came from: many of a partition follow each other.
    recent: usize,
    prefetch: Prefetch,
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
}

/// When nothing comes for so long although it is covered, the brokers are asked why.
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// librdkafka takes no less than its `message.max.bytes`.
const FETCH_BYTES_MIN: u64 = 1 << 20;

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
            recent: 0,
            prefetch: Prefetch::new(usize::try_from(kilobytes * 512).unwrap_or(usize::MAX)),
            metrics: metrics.clone(),
            health: health.clone(),
        })
    }

    /// The lanes of the covered ranges, which are read from there on.
    ///
    /// # Errors
    /// When a range starts before what was read already.
    pub(crate) async fn cover(&mut self, ranges: &[PartitionRange]) -> Result<Vec<LaneId>, Error> {
        self.locate(ranges).await;
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

    /// Has the client know the topics of ranges whose topics are new.
    async fn locate(&self, ranges: &[PartitionRange]) {
        let topics = ranges.iter().map(|range| range.topic.as_str());
        let fresh = topics.filter(|topic| !self.by_topic.contains_key(*topic));
        let mut fresh: Vec<String> = fresh.map(str::to_owned).collect();
        fresh.sort_unstable();
        fresh.dedup();
        if !fresh.is_empty() {
            self.consumer.locate(fresh).await;
        }
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
        });
        self.prefetch.add_lane();
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
            if let Some((fetched, flow)) = self.prefetch.take(at) {
                self.set(at, flow)?;
                self.lanes[at].read = fetched.offset + 1;
                return Ok(fetched);
            }
            let flow = self.prefetch.want(at);
            self.set(at, flow)?;
            self.metrics
                .prefetched_bytes
                .set(i64::try_from(self.prefetch.bytes()).unwrap_or(i64::MAX));
            // A clock for those only that have to be waited for.
            let received = match self.receive(at).now_or_never() {
                Some(received) => Ok(received),
                None => timeout(STALL_LIMIT, self.receive(at)).await,
            };
            match received {
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
        let (topic, partition) = (message.topic(), message.partition());
        let is_of = |lane: &Lane| lane.partition == partition && lane.topic == topic;
        let lane = match self.lanes.get(self.recent).is_some_and(is_of) {
            true => Some(self.recent),
            false => self.find(topic, partition),
        };
        let fetched = Fetched {
            offset: message.offset(),
            value: message.payload().map(Box::from),
        };
        drop(message);
        let lane = lane.expect("only assigned partitions are fetched");
        self.recent = lane;
        let flow = self.prefetch.put(lane, fetched, wanted);
        self.set(lane, flow)
            .map_err(|error| Trouble::Broken(service::chain(&error)))
    }

    fn set(&self, lane: usize, flow: Flow) -> Result<(), Error> {
        let partitions = || {
            let mut partitions = TopicPartitionList::with_capacity(1);
            let lane = &self.lanes[lane];
            partitions.add_partition(&lane.topic, lane.partition);
            partitions
        };
        match flow {
            Flow::AsItIs => Ok(()),
            Flow::Pause => self.consumer.pause(&partitions()),
            Flow::Resume => self.consumer.resume(&partitions()),
        }
        .map_err(|error| self.consumer.failure("pause or resume a partition", &error))
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
