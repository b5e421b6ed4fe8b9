//! What a broker does by itself: retention, compaction, checkpoints, ends of late transactions, and
//! fsync where that goes by time.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use uuid::Uuid;

use super::cluster::{Cluster, now_ms};
use super::config::Fsync;
use super::log::{CompactError, Compacted, Partition};
use super::topic_config::TopicConfig;
use super::topics::Topic;

/// How much of the log a start after a kill has to read again, in time.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is looked whether that would be much, in bytes.
const LENGTH_INTERVAL: Duration = Duration::from_millis(500);

/// How long the offsets of a group without members are kept; Kafka's `offsets.retention.minutes`.
const OFFSETS_RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How often transactions are looked at that are open for too long.
const TRANSACTION_INTERVAL: Duration = Duration::from_secs(1);

/// How long an unused transactional id is remembered; Kafka's `transactional.id.expiration.ms`.
const TRANSACTIONAL_ID_EXPIRATION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Runs until `stop` is requested.
pub(super) async fn run(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut retention = every(cluster.config.retention_interval);
    let mut checkpoint = every(CHECKPOINT_INTERVAL);
    let mut transactions = every(TRANSACTION_INTERVAL);
    let mut length = every(LENGTH_INTERVAL);
    let (mut sync, syncs) = match cluster.config.fsync {
        Fsync::Every(interval) => (every(interval), true),
        Fsync::OperatingSystem | Fsync::EachRequest => (every(CHECKPOINT_INTERVAL), false),
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = sync.tick(), if syncs => {
                each_partition(&cluster, "fsync", sync_one).await;
                sync_journals(&cluster).await;
            }
            _ = transactions.tick() => end_late_transactions(&cluster).await,
            _ = checkpoint.tick() => each_partition(&cluster, "checkpoint", checkpoint_one).await,
            _ = length.tick() => each_partition(&cluster, "checkpoint", checkpoint_if_long).await,
            _ = retention.tick() => {
                each_partition(&cluster, "retention", retain_one).await;
                expire_offsets(&cluster).await;
                expire_transactional_ids(&cluster).await;
            }
        }
    }
}

/// Forces finished segments to the disk, until `stop` is requested.
pub(super) async fn flush(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut look = every(CHECKPOINT_INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = look.tick() => each_partition(&cluster, "flush", flush_one).await,
        }
    }
}

/// Compacts what is due, one partition after the other, until `stop` is requested.
pub(super) async fn compact(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut look = every(cluster.config.compaction_interval);
    // Partitions with records that cannot be read. They stay as they are until the next start, as
    // with Kafka: a pass would end at the same place each time.
    let mut unreadable = HashSet::<(Uuid, usize)>::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        for topic in cluster.topics.all() {
            for (number, partition) in topic.partitions().into_iter().enumerate() {
                if stop.is_cancelled() || unreadable.contains(&(topic.id, number)) {
                    continue;
                }
                let compacted = compact_one(&cluster, &topic, &partition, &stop).await;
                if !report_compaction(&topic, number, &partition, compacted) {
                    unreadable.insert((topic.id, number));
                }
            }
        }
    }
}

async fn compact_one(
    cluster: &Cluster,
    topic: &Topic,
    partition: &Arc<Partition>,
    stop: &CancellationToken,
) -> Result<Option<Compacted>, CompactError> {
    let config = topic.config();
    if !config.compacts() {
        return Ok(None);
    }
    let (partition, stop) = (Arc::clone(partition), stop.clone());
    let pass = move || partition.compact(&config, now_ms(), &|| !stop.is_cancelled());
    cluster.disk.run(pass).await
}

/// Says how a pass ended; false when another would end in the same way.
fn report_compaction(
    topic: &Topic,
    number: usize,
    partition: &Partition,
    compacted: Result<Option<Compacted>, CompactError>,
) -> bool {
    let name = &topic.name;
    match compacted {
        Ok(None) => true,
        Ok(Some(Compacted {
            bytes_before,
            bytes_after,
            until,
        })) => {
            info!(
                topic = name,
                partition = number,
                bytes_before,
                bytes_after,
                until,
                "compacted"
            );
            true
        }
        Err(_) if partition.is_deleted() => true,
        Err(cause) => {
            let chain = &cause as &dyn std::error::Error;
            error!(
                topic = name,
                partition = number,
                cause = chain,
                "compaction failed"
            );
            cause.is_transient()
        }
    }
}

/// Ends the sessions and rebalances of consumer groups in time, until `stop` is requested.
pub(super) async fn keep_group_time(cluster: Arc<Cluster>, stop: CancellationToken) {
    cluster.groups.keep_time(stop).await;
}

fn every(period: Duration) -> Interval {
    // A period of zero is not one.
    let mut interval = tokio::time::interval(period.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// One partition's part of the work, with the name of its topic for the log.
type Work = fn(&str, &TopicConfig, &Partition) -> io::Result<()>;

async fn each_partition(cluster: &Arc<Cluster>, what: &'static str, work: Work) {
    let topics = Arc::clone(&cluster.topics);
    let all = move || {
        for topic in topics.all() {
            let config = topic.config();
            for (number, partition) in topic.partitions().iter().enumerate() {
                if let Err(cause) = work(&topic.name, &config, partition)
                    && !partition.is_deleted()
                {
                    error!(topic = topic.name, partition = number, %cause, "{what} failed");
                }
            }
        }
    };
    cluster.disk.run(all).await;
}

async fn sync_journals(cluster: &Arc<Cluster>) {
    let offsets = Arc::clone(&cluster.offsets);
    let transactions = Arc::clone(&cluster.transactions);
    let sync = move || offsets.sync().and_then(|()| transactions.sync());
    if let Err(cause) = cluster.disk.run(sync).await {
        error!(%cause, "fsync committed offsets and transactions");
    }
}

async fn end_late_transactions(cluster: &Arc<Cluster>) {
    let transactions = Arc::clone(&cluster.transactions);
    let end = move || transactions.keep_time(now_ms());
    cluster.disk.run(end).await;
}

async fn expire_transactional_ids(cluster: &Arc<Cluster>) {
    let transactions = Arc::clone(&cluster.transactions);
    let expire = move || transactions.expire(now_ms() - TRANSACTIONAL_ID_EXPIRATION_MS);
    if let Err(cause) = cluster.disk.run(expire).await {
        error!(%cause, "expire transactional ids");
    }
}

async fn expire_offsets(cluster: &Arc<Cluster>) {
    let work_cluster = Arc::clone(cluster);
    let expire = move || {
        let before = now_ms() - OFFSETS_RETENTION_MS;
        let has_members = |group: &str| work_cluster.groups.has_members(group);
        work_cluster.offsets.expire(before, has_members)?;
        let has_offsets = |group: &str| work_cluster.offsets.has(group);
        work_cluster.groups.forget_empty(has_offsets);
        Ok::<(), io::Error>(())
    };
    if let Err(cause) = cluster.disk.run(expire).await {
        error!(%cause, "expire committed offsets");
    }
}

fn sync_one(_: &str, _: &TopicConfig, partition: &Partition) -> io::Result<()> {
    partition.sync()
}

fn checkpoint_one(_: &str, _: &TopicConfig, partition: &Partition) -> io::Result<()> {
    partition.close_unused_files();
    partition.checkpoint(now_ms())
}

fn checkpoint_if_long(_: &str, _: &TopicConfig, partition: &Partition) -> io::Result<()> {
    partition.checkpoint_if_long(now_ms())
}

fn flush_one(_: &str, _: &TopicConfig, partition: &Partition) -> io::Result<()> {
    partition.flush_finished()
}

fn retain_one(topic: &str, config: &TopicConfig, partition: &Partition) -> io::Result<()> {
    let removed = partition.enforce_retention(config, now_ms())?;
    if removed > 0 {
        info!(
            topic,
            segments = removed,
            "removed what is beyond retention"
        );
    }
    Ok(())
}
