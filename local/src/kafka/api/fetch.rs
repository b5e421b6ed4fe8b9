use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProducerId, TopicName};
use tokio::time::Instant;
use tracing::error;

use super::error::{NO_ERROR, epoch_code, read_code};
use super::isolation::Isolation;
use crate::kafka::cluster::Cluster;
use crate::kafka::log::{Aborted, FirstBatch, Partition, ReadError, Records, Wait};
use crate::kafka::topics::Topics;

/// Records in one response, whatever the client would take; a larger first batch is returned whole.
/// Enough to keep a reader on loopback busy, small enough for many readers.
const RESPONSE_BYTES_MAX: usize = 2 << 20;

/// Returns what there is to read, or waits for it as long as the client allows. Cancel-safe.
pub(super) async fn handle(cluster: &Arc<Cluster>, request: FetchRequest) -> FetchResponse {
    // Fetch sessions (KIP-227) are not kept: 0 tells the client to ask in full each time.
    if request.session_id != 0 {
        return FetchResponse::default()
            .with_error_code(ResponseError::FetchSessionIdNotFound.code());
    }
    let deadline = Instant::now() + millis(request.max_wait_ms);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let limit = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(RESPONSE_BYTES_MAX);
    let isolation = Isolation::from_wire(request.isolation_level);
    let wanted = Arc::new(Wanted::new(&cluster.topics, request.topics, isolation));
    let wait = Wait::arm(wanted.partitions().cloned().collect());
    loop {
        let appended = wanted.appended_bytes();
        let ended = wanted.ended_transactions();
        let answers = if wanted.may_be_answered() {
            let wanted = Arc::clone(&wanted);
            cluster.disk.run(move || wanted.read(limit)).await
        } else {
            wanted.nothing()
        };
        if answers.error || answers.bytes >= min_bytes || Instant::now() >= deadline {
            return FetchResponse::default().with_responses(answers.topics);
        }
        let missing = (min_bytes - answers.bytes) as u64;
        loop {
            if tokio::time::timeout_at(deadline, wait.notified())
                .await
                .is_err()
            {
                break;
            }
            // Reading again pays only once there may be enough.
            if wanted.appended_bytes() - appended >= missing
                || wanted.ended_transactions() != ended
                || wanted.lost_a_partition()
            {
                break;
            }
        }
    }
}

/// What a client asks for, with the partitions looked up.
struct Wanted {
    topics: Vec<(TopicName, Vec<WantedPartition>)>,
    isolation: Isolation,
}

struct WantedPartition {
    asked: FetchPartition,
    partition: Option<Arc<Partition>>,
}

struct Answers {
    topics: Vec<FetchableTopicResponse>,
    bytes: usize,
    /// Whether any partition has an error, which ends the waiting for the others.
    error: bool,
}

impl Wanted {
    fn new(topics: &Topics, asked: Vec<FetchTopic>, isolation: Isolation) -> Self {
        let look_up = |asked: FetchTopic| {
            let topic = topics.named(&asked.topic);
            let partitions = asked.partitions.into_iter().map(|asked| {
                let partition = topic
                    .as_ref()
                    .and_then(|topic| topic.partition(asked.partition));
                WantedPartition { asked, partition }
            });
            (asked.topic, partitions.collect())
        };
        Self {
            topics: asked.into_iter().map(look_up).collect(),
            isolation,
        }
    }

    fn all(&self) -> impl Iterator<Item = &WantedPartition> {
        self.topics.iter().flat_map(|(_, partitions)| partitions)
    }

    fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.all().filter_map(|wanted| wanted.partition.as_ref())
    }

    fn appended_bytes(&self) -> u64 {
        self.partitions()
            .map(|partition| partition.appended_bytes())
            .sum()
    }

    fn ended_transactions(&self) -> u64 {
        self.partitions()
            .map(|partition| partition.ended_transactions())
            .sum()
    }

    fn lost_a_partition(&self) -> bool {
        self.partitions().any(|partition| partition.is_deleted())
    }

    /// Whether any partition has records to read, or an error to tell.
    fn may_be_answered(&self) -> bool {
        self.all().any(|wanted| match &wanted.partition {
            Some(partition) => {
                let (at, end) = (wanted.asked.fetch_offset, partition.end_offset());
                at < self.isolation.end_of(partition)
                    || at > end
                    || wanted.names_another_epoch(partition)
            }
            None => true,
        })
    }

    /// Reads the partitions in the order of the request until `limit` bytes are there. Blocks.
    fn read(&self, limit: usize) -> Answers {
        let mut answers = Answers {
            topics: Vec::new(),
            bytes: 0,
            error: false,
        };
        for (name, partitions) in &self.topics {
            let mut read = Vec::with_capacity(partitions.len());
            for wanted in partitions {
                let left = limit.saturating_sub(answers.bytes);
                let data = wanted.read(left, answers.bytes, self.isolation);
                answers.bytes += data.records.as_ref().map_or(0, Bytes::len);
                answers.error |= data.error_code != NO_ERROR;
                read.push(data);
            }
            let topic = FetchableTopicResponse::default().with_topic(name.clone());
            answers.topics.push(topic.with_partitions(read));
        }
        answers
    }

    /// The answer when every partition has been read to its end.
    fn nothing(&self) -> Answers {
        let topics = self.topics.iter().map(|(name, partitions)| {
            let ends = partitions.iter().map(WantedPartition::nothing).collect();
            FetchableTopicResponse::default()
                .with_topic(name.clone())
                .with_partitions(ends)
        });
        Answers {
            topics: topics.collect(),
            bytes: 0,
            error: false,
        }
    }
}

impl WantedPartition {
    fn read(&self, left: usize, so_far: usize, isolation: Isolation) -> PartitionData {
        let Some(partition) = self.partition.as_ref().filter(|found| !found.is_deleted()) else {
            return self.failed(ResponseError::UnknownTopicOrPartition);
        };
        if let Some(code) = epoch_code(self.asked.current_leader_epoch, partition.leader_epoch()) {
            return self.failed(code);
        }
        if let Some(diverging) = self.divergence(partition) {
            return diverging;
        }
        let own_limit = usize::try_from(self.asked.partition_max_bytes).unwrap_or(0);
        let first = if so_far == 0 {
            FirstBatch::Whole
        } else {
            FirstBatch::WithinLimit
        };
        let (offset, limit) = (self.asked.fetch_offset, own_limit.min(left));
        let read = match isolation {
            Isolation::Uncommitted => partition
                .read(offset, limit, first)
                .map(|records| self.answer(records)),
            Isolation::Committed => {
                partition
                    .read_committed(offset, limit, first)
                    .map(|(records, aborted)| {
                        let aborted = aborted.into_iter().map(aborted_transaction);
                        self.answer(records)
                            .with_aborted_transactions(Some(aborted.collect()))
                    })
            }
        };
        match read {
            Ok(data) => data,
            // Deleted while it was read.
            Err(_) if partition.is_deleted() => self.failed(ResponseError::UnknownTopicOrPartition),
            Err(cause) => {
                if let ReadError::Scan(cause) = &cause {
                    error!(cause = cause as &dyn std::error::Error, "read the log");
                }
                self.failed(read_code(&cause))
            }
        }
    }

    fn names_another_epoch(&self, partition: &Partition) -> bool {
        self.asked.last_fetched_epoch >= 0
            || epoch_code(self.asked.current_leader_epoch, partition.leader_epoch()).is_some()
    }

    /// The answer when the log no longer holds what the client says it has read (KIP-595).
    fn divergence(&self, partition: &Partition) -> Option<PartitionData> {
        let last = self.asked.last_fetched_epoch;
        if last < 0 {
            return None;
        }
        let Some(known) = partition.end_of_epoch(last) else {
            return Some(self.failed(ResponseError::OffsetOutOfRange));
        };
        if known.epoch == last && known.end_offset >= self.asked.fetch_offset {
            return None;
        }
        let end = EpochEndOffset::default()
            .with_epoch(known.epoch)
            .with_end_offset(known.end_offset);
        Some(self.no_records(partition).with_diverging_epoch(end))
    }

    fn nothing(&self) -> PartitionData {
        match &self.partition {
            Some(partition) => self.no_records(partition),
            None => self.failed(ResponseError::UnknownTopicOrPartition),
        }
    }

    fn no_records(&self, partition: &Partition) -> PartitionData {
        self.answer(Records {
            bytes: Bytes::new(),
            stable_offset: partition.last_stable_offset(),
            end_offset: partition.end_offset(),
            start_offset: partition.start_offset(),
        })
    }

    fn answer(&self, records: Records) -> PartitionData {
        PartitionData::default()
            .with_partition_index(self.asked.partition)
            .with_high_watermark(records.end_offset)
            .with_last_stable_offset(records.stable_offset)
            .with_log_start_offset(records.start_offset)
            .with_records(Some(records.bytes))
    }

    fn failed(&self, code: ResponseError) -> PartitionData {
        let nothing = Records {
            bytes: Bytes::new(),
            end_offset: -1,
            stable_offset: -1,
            start_offset: -1,
        };
        self.answer(nothing).with_error_code(code.code())
    }
}

fn aborted_transaction(aborted: Aborted) -> AbortedTransaction {
    AbortedTransaction::default()
        .with_producer_id(ProducerId(aborted.producer_id))
        .with_first_offset(aborted.first_offset)
}

fn millis(wait: i32) -> Duration {
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}
