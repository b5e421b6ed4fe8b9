//! Follows the topics: the articles' for changes, the commits for how far capture is.

use std::collections::HashMap;
use std::time::Duration;

use change::commit::CommitRecord;
use change::{Position, TableName, framing};
use chrono::DateTime;
use service::{Backoff, Health, Shutdown, chain};
use tokio::time::{Instant, sleep_until};

use super::change::{Told, tell};
use super::kafka::{Consumer, Fetched, KafkaError, Offsets, Trouble};
use super::registry::{ReadError, Registry};
use super::{Captured, Changes, Config, Lost};

/// What Kafka is called where health is shown.
pub(crate) const DEPENDENCY: &str = "kafka";

/// How often a topic is looked at for new partitions.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Publishes changes until the stop, whatever is away meanwhile.
pub(crate) async fn follow(
    config: &Config,
    brokers: &str,
    changes: &Changes,
    health: &Health,
    stop: &Shutdown,
) {
    let mut follower = match Follower::new(config, brokers, changes) {
        Ok(follower) => follower,
        Err(error) => {
            tracing::error!(error, "there are no subscriptions");
            health.set(DEPENDENCY, Err(error));
            return stop.requested().await;
        }
    };
    let mut backoff = Backoff::default();
    let mut said = String::new();
    while !stop.is_requested() {
        let ended = tokio::select! {
            biased;
            () = stop.requested() => return,
            ended = follower.run(health, &mut backoff) => ended,
        };
        let (is_early, reason) = match ended {
            Ok(reason) => (false, reason),
            Err(error) => (matches!(error, KafkaError::NoTopic(_)), chain(&error)),
        };
        // Each reason once: an outage has many attempts.
        match (reason == said, is_early) {
            (true, _) => {}
            (false, true) => tracing::info!(reason, "waiting for capture"),
            (false, false) => tracing::warn!(reason, "cannot follow the changes, trying again"),
        }
        health.set(DEPENDENCY, Err(reason.clone()));
        said = reason;
        backoff.pause(stop).await;
    }
}

struct Follower<'a> {
    config: &'a Config,
    brokers: &'a str,
    changes: &'a Changes,
    registry: Registry,
    articles: String,
    commits: String,
    /// Kept over attempts, so that nothing is missed or read again.
    offsets: Offsets,
    /// The highest position seen in each partition. Capture writes a partition's changes in their
    /// order; after a crash it writes again what did not count, in the same partition, since the key
    /// decides which. So what is not above the highest has been seen.
    seen: HashMap<i32, Position>,
}

impl<'a> Follower<'a> {
    fn new(config: &'a Config, brokers: &'a str, changes: &'a Changes) -> Result<Self, String> {
        let table = TableName::new("public", "articles");
        let articles = config.prefix.data(&table);
        Ok(Self {
            config,
            brokers,
            changes,
            registry: Registry::new(&config.registry)?,
            articles: articles.map_err(|error| chain(&error))?,
            commits: config.prefix.commits(),
            offsets: Offsets::new(),
            seen: HashMap::new(),
        })
    }

    /// From connecting until something is in the way; what.
    async fn run(&mut self, health: &Health, backoff: &mut Backoff) -> Result<String, KafkaError> {
        let consumer = Consumer::new(self.config, self.brokers)?;
        self.find_partitions(&consumer).await?;
        self.changes.begin();
        consumer.assign(&self.offsets)?;
        health.set(DEPENDENCY, Ok(()));
        backoff.reset();
        let mut look_at = Instant::now() + LOOK_INTERVAL;
        loop {
            let fetched = tokio::select! {
                biased;
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + LOOK_INTERVAL;
                    if self.find_partitions(&consumer).await? {
                        consumer.assign(&self.offsets)?;
                    }
                    continue;
                }
                fetched = consumer.next() => fetched,
            };
            match fetched {
                Ok(fetched) => {
                    health.set(DEPENDENCY, Ok(()));
                    if let Err(error) = self.take(&fetched).await {
                        // The record is read again, by the next attempt.
                        return Ok(chain(&error));
                    }
                    let next = fetched.offset + 1;
                    self.offsets
                        .insert((fetched.topic, fetched.partition), next);
                }
                Err(Trouble::Passing(text)) => health.set(DEPENDENCY, Err(text)),
                Err(Trouble::Broken(text)) => return Ok(text),
                Err(Trouble::Removed) => {
                    self.changes.lose(Lost::Removed);
                    self.offsets.clear();
                    return Ok("retention has passed the place in a topic".to_owned());
                }
            }
        }
    }

    /// Takes in partitions that are new to us: at first from their end, later from their beginning,
    /// since all that is in them came after we began. Whether there were any.
    async fn find_partitions(&mut self, consumer: &Consumer) -> Result<bool, KafkaError> {
        let first = self.offsets.is_empty();
        let mut found = Offsets::new();
        for topic in [&self.articles, &self.commits] {
            for partition in 0..consumer.partitions(topic).await? {
                if self.offsets.contains_key(&(topic.clone(), partition)) {
                    continue;
                }
                let (low, high) = consumer.reach(topic, partition).await?;
                let start = match first {
                    false => low,
                    // The last commits record says how far capture is.
                    true if *topic == self.commits => (high - 1).max(low),
                    true => high,
                };
                found.insert((topic.clone(), partition), start);
            }
        }
        let any = !found.is_empty();
        self.offsets.extend(found);
        Ok(any)
    }

    /// Publishes a record. An error is for what may pass; what never will is told to subscribers.
    async fn take(&mut self, fetched: &Fetched) -> Result<(), ReadError> {
        let Some(value) = &fetched.value else {
            return Ok(());
        };
        if fetched.topic == self.commits {
            self.capture(value);
            return Ok(());
        }
        let envelope = match self.registry.read(value).await {
            Ok(envelope) => envelope,
            Err(error @ ReadError::Registry { .. }) => return Err(error),
            Err(error) => {
                self.refuse(fetched, &chain(&error));
                return Ok(());
            }
        };
        match tell(&envelope) {
            Ok(Told::Snapshot) => {}
            Ok(Told::Truncation(position)) => {
                if self.is_new(fetched.partition, position) {
                    self.changes.lose(Lost::Truncated);
                }
            }
            Ok(Told::Change(change)) => {
                if self.is_new(fetched.partition, change.position) {
                    self.changes.publish(*change);
                }
            }
            Err(error) => self.refuse(fetched, &chain(&error)),
        }
        Ok(())
    }

    fn is_new(&mut self, partition: i32, position: Position) -> bool {
        let seen = self.seen.get(&partition);
        let new = seen.is_none_or(|seen| *seen < position);
        if new {
            self.seen.insert(partition, position);
        }
        new
    }

    fn capture(&self, value: &[u8]) {
        let record = framing::split(value).map(|(_, datum)| CommitRecord::decode(datum));
        let Ok(Ok(record)) = record else {
            tracing::warn!(topic = self.commits, "a commits record cannot be read");
            return;
        };
        let committed_at = DateTime::from_timestamp_micros(record.commit_time).unwrap_or_default();
        self.changes.capture(Captured {
            position: record.commit_lsn,
            epoch: record.epoch,
            committed_at,
            transactions: record.transactions.len(),
        });
    }

    fn refuse(&self, fetched: &Fetched, error: &str) {
        let Fetched {
            topic,
            partition,
            offset,
            ..
        } = fetched;
        tracing::error!(topic, partition, offset, error, "a change cannot be read");
        self.changes.lose(Lost::Unreadable);
    }
}
