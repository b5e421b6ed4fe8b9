//! The pipeline's topics.

use std::collections::HashMap;
use std::time::Duration;

use change::topic::Topics;
use serde::{Deserialize, Serialize};

use super::Kind;
use super::index::Index;
use crate::endpoints::Names;
use crate::kafka::{Kafka, Log, PartitionName, Reach, Settings};

/// Some of the topics.
#[derive(Debug, Deserialize, Serialize)]
pub struct Listing {
    /// How many there are in all that were asked for.
    pub total: usize,
    pub topics: Vec<Topic>,
}

/// Which topics are asked for.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// A part of the name; all when empty.
    pub name: String,
    pub skip: usize,
    pub limit: usize,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Topic {
    pub name: String,
    pub kind: Kind,
    pub partitions: Vec<Partition>,
    /// Offsets that the partitions hold. What was deleted in between, and markers, count too.
    pub offsets: Option<i64>,
    /// Records that apply has not applied yet, as far as commits records cover them; none of topics
    /// that it does not read.
    pub lag: Option<u64>,
    /// Milliseconds since 1970-01-01 UTC.
    pub last_record_ms: Option<i64>,
    /// How long records are kept; -1 is for ever.
    pub retention_ms: Option<i64>,
    /// How much of a partition is kept; -1 is all.
    pub retention_bytes: Option<i64>,
    pub cleanup_policy: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Partition {
    pub partition: i32,
    pub first_offset: Option<i64>,
    pub end_offset: Option<i64>,
    pub last_record_ms: Option<i64>,
}

/// A listing takes no longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Commits records that are read to count what is not applied; behind by more, it is not told.
const BEHIND_MAX: usize = 5_000;

/// The topics, by their names. What a broker does not tell is none, never 0.
///
/// # Errors
/// When no broker answers in time.
pub async fn list(kafka: &Kafka, names: &Names, slice: &Slice) -> anyhow::Result<Listing> {
    let topics = Topics::new(&names.prefix)?;
    let log = kafka.log(PATIENCE)?;
    let mut all = log.topics(&format!("{}.", names.prefix)).await?;
    all.retain(|(name, _)| name.contains(&slice.name));
    let total = all.len();
    let some: Vec<(String, i32)> = all.into_iter().skip(slice.skip).take(slice.limit).collect();
    let partitions: Vec<PartitionName> = some.iter().flat_map(partitions_of).collect();
    let topic_names: Vec<String> = some.iter().map(|(name, _)| name.clone()).collect();
    let ((reach, times), settings, lags) = tokio::try_join!(
        held(&log, &partitions),
        async { Ok(kafka.settings(&topic_names).await.unwrap_or_default()) },
        lags(kafka, &topics),
    )?;
    let found = Found { reach, times, lags };
    let mut settings = settings.into_iter();
    let topics = some.iter().map(|topic| {
        let settings = settings.next().flatten().unwrap_or_default();
        found.topic(topic, &topics, &settings)
    });
    Ok(Listing {
        total,
        topics: topics.collect(),
    })
}

/// What the partitions hold, and when their last records were made, in milliseconds.
async fn held(log: &Log, partitions: &[PartitionName]) -> anyhow::Result<(Reaches, Times)> {
    let reach = log.reach(partitions).await?;
    let last = reach.iter();
    let last = last.filter(|(_, reach)| reach.end_offset > reach.first_offset);
    let last = last.map(|(name, reach)| (name.clone(), reach.end_offset - 1));
    let times = log.times(last.collect()).await?;
    Ok((reach, times))
}

type Reaches = HashMap<PartitionName, Reach>;
type Times = HashMap<PartitionName, i64>;

fn partitions_of((topic, count): &(String, i32)) -> Vec<PartitionName> {
    let name = |partition| PartitionName {
        topic: topic.clone(),
        partition,
    };
    (0..*count).map(name).collect()
}

struct Found {
    reach: Reaches,
    times: Times,
    /// None when it is not known.
    lags: Option<HashMap<String, u64>>,
}

impl Found {
    fn topic(&self, topic: &(String, i32), topics: &Topics, settings: &Settings) -> Topic {
        let kind = Kind::of(&topic.0, topics);
        let number = |name| settings.get(name).and_then(|it: &String| it.parse().ok());
        let partitions: Vec<Partition> = partitions_of(topic)
            .into_iter()
            .map(|name| Partition {
                partition: name.partition,
                first_offset: self.reach.get(&name).map(|it| it.first_offset),
                end_offset: self.reach.get(&name).map(|it| it.end_offset),
                last_record_ms: self.times.get(&name).copied(),
            })
            .collect();
        let held = |it: &Partition| Some(it.end_offset? - it.first_offset?);
        Topic {
            name: topic.0.clone(),
            offsets: partitions.iter().map(held).sum(),
            lag: match kind {
                Kind::Messages | Kind::Other => None,
                Kind::Table(_) | Kind::Commits | Kind::SchemaChanges => self
                    .lags
                    .as_ref()
                    .map(|lags| lags.get(&topic.0).copied().unwrap_or(0)),
            },
            kind,
            last_record_ms: partitions.iter().filter_map(|it| it.last_record_ms).max(),
            partitions,
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            cleanup_policy: settings.get("cleanup.policy").cloned(),
        }
    }
}

/// By topic, how many records the commits records cover that the applier's group has not reported as
/// applied; a topic that is missing has none.
async fn lags(kafka: &Kafka, topics: &Topics) -> anyhow::Result<Option<HashMap<String, u64>>> {
    let commits = PartitionName {
        topic: topics.commits(),
        partition: 0,
    };
    // One of its own: reading another's would end what that reads.
    let log = kafka.log(PATIENCE)?;
    let Ok(Some(applied)) = log.committed(commits).await else {
        return Ok(None);
    };
    let mut index = Index::open(&log, &topics.commits()).await?;
    let mut lags: HashMap<String, u64> = HashMap::new();
    let mut next = applied;
    let mut read = 0;
    while next < index.end_offset() {
        let Some(entry) = index.from(next).await? else {
            break;
        };
        *lags.entry(topics.commits()).or_default() += 1;
        for range in &entry.record.partitions {
            *lags.entry(range.topic.clone()).or_default() += range.records;
        }
        next = entry.offset + 1;
        read += 1;
        if read >= BEHIND_MAX {
            return Ok(None);
        }
    }
    Ok(Some(lags))
}
