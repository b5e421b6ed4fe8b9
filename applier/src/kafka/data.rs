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

use super::prefetch::{Fetched, Prefetch};
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
    /// For how many lanes `consumer` is set up.
    fits: usize,
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
const FETCH_BYTES_MIN: usize = 1 << 20;
/// Less than a batch would bring one lane with each fetch.
const LANE_BYTES_MIN: usize = 16 << 10;
/// For how many lanes a consumer is set up at first. When there are more, the next is for
/// [`LANES_GROWTH`] times as many, so that hardly any time goes into setting up.
const LANES_MIN: usize = 16;
const LANES_GROWTH: usize = 4;

impl DataConsumer {
    pub(crate) fn new(config: &Config, metrics: &Metrics, health: &Health) -> Result<Self, Error> {
        Ok(Self {
            config: config.clone(),
            consumer: set_up(config, health, LANES_MIN)?,
            fits: LANES_MIN,
            lanes: Vec::new(),
            by_topic: HashMap::new(),
            recent: 0,
            prefetch: Prefetch::new(room(config) / 4 * 3),
            metrics: metrics.clone(),
            health: health.clone(),
        })
    }

    /// The lanes of the covered ranges, which are read from there on.
    ///
    /// # Errors
    /// When a range starts before what was read already.
    pub(crate) async fn cover(&mut self, ranges: &[PartitionRange]) -> Result<Vec<LaneId>, Error> {
        let lanes = self.lanes_with(ranges);
        if lanes > self.fits {
            Box::pin(self.renew(lanes)).await?;
        }
        self.locate(ranges).await;
        let known = self.lanes.len();
        let mut lanes = Vec::with_capacity(ranges.len());
        for range in ranges {
            let lane = match self.find(&range.topic, range.partition) {
                Some(lane) => lane,
                None => self.add(range),
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
        assign(&self.consumer, &self.lanes[known..])?;
        Ok(lanes)
    }

    /// How many lanes there will be with those of `ranges`.
    fn lanes_with(&self, ranges: &[PartitionRange]) -> usize {
        let is_new = |range: &&PartitionRange| self.find(&range.topic, range.partition).is_none();
        self.lanes.len() + ranges.iter().filter(is_new).count()
    }

    /// Has another client go on, which is set up for so many lanes. What waited is read again.
    async fn renew(&mut self, lanes: usize) -> Result<(), Error> {
        let mut fits = self.fits;
        while fits < lanes {
            fits *= LANES_GROWTH;
        }
        let consumer = set_up(&self.config, &self.health, fits)?;
        consumer
            .locate(self.by_topic.keys().cloned().collect())
            .await;
        assign(&consumer, &self.lanes)?;
        self.prefetch.clear();
        self.consumer = consumer;
        self.fits = fits;
        Ok(())
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
            let fetched = self.prefetch.take(at);
            let resumed = self.prefetch.resume(at);
            if !resumed.is_empty() {
                self.consumer
                    .resume(&self.partitions(&resumed))
                    .map_err(|error| self.consumer.failure("resume partitions", &error))?;
            }
            if let Some(fetched) = fetched {
                self.lanes[at].read = fetched.offset + 1;
                return Ok(fetched);
            }
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
        match self.prefetch.put(lane, fetched, wanted) {
            true => self
                .consumer
                .pause(&self.partitions(&[lane]))
                .map_err(|error| self.consumer.failure("pause a partition", &error))
                .map_err(|error| Trouble::Broken(service::chain(&error))),
            false => Ok(()),
        }
    }

    fn partitions(&self, lanes: &[usize]) -> TopicPartitionList {
        let mut partitions = TopicPartitionList::with_capacity(lanes.len());
        for lane in lanes.iter().map(|lane| &self.lanes[*lane]) {
            partitions.add_partition(&lane.topic, lane.partition);
        }
        partitions
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

/// A consumer for so many lanes.
///
/// What one fetch brings of a lane, decompressed, is about its share of the room: of what it brings
/// beyond, which is dropped when the lane is paused, everything would be fetched again.
fn set_up(config: &Config, health: &Health, lanes: usize) -> Result<Consumer, Error> {
    let room = room(config);
    let options = [
        // The rest waits here; a fetch may exceed the queue by itself.
        ("queued.max.messages.kbytes", room / 4 / 1024),
        ("fetch.max.bytes", (room / 4).max(FETCH_BYTES_MIN)),
        (
            "max.partition.fetch.bytes",
            (room / 4 / lanes).max(LANE_BYTES_MIN),
        ),
        // A partition that is assigned or resumed waits for the fetch that is under way, which the
        // broker holds for so long when the other partitions have nothing.
        ("fetch.wait.max.ms", 20),
    ];
    let context = Context {
        health: health.clone(),
        commits: None,
    };
    Consumer::new(
        config,
        &options.map(|(key, value)| (key, value.to_string())),
        context,
    )
}

/// Has `consumer` read lanes that are new to it from where they have been read to.
fn assign(consumer: &Consumer, lanes: &[Lane]) -> Result<(), Error> {
    if lanes.is_empty() {
        return Ok(());
    }
    let mut partitions = TopicPartitionList::with_capacity(lanes.len());
    for lane in lanes {
        partitions
            .add_partition_offset(&lane.topic, lane.partition, Offset::Offset(lane.read))
            .map_err(|error| consumer.failure("assign a partition", &error))?;
    }
    consumer
        .incremental_assign(&partitions)
        .map_err(|error| consumer.failure("assign partitions", &error))
}

/// Bytes that may be read ahead.
fn room(config: &Config) -> usize {
    usize::try_from(config.prefetch_megabytes).map_or(usize::MAX, |megabytes| megabytes << 20)
}
