//! What every client does, and what must be seen of it.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::consumer::Consumer;
use rdkafka::message::{Headers, OwnedMessage};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, unique};
use crate::offsets::now_ms;
use crate::records::take;
use crate::wire::{connect, exchange};

pub(super) const PARTITIONS: i32 = 3;
pub(super) const RETENTION_MS: &str = "3600000";
pub(super) const RECORDS_IN_ROUND: usize = 6;
pub(super) const ALL_CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
/// What is produced after the first member of the group has left.
pub(super) const LATE: &str = "late";

/// Steps that need what the broker may not serve, by the request that tells. Where it is announced
/// the step is done.
const EXTRAS: &[(&str, ApiKey)] = &[
    ("transactions", ApiKey::EndTxn),
    ("groups", ApiKey::DeleteGroups),
    ("delete-records", ApiKey::DeleteRecords),
    ("partitions", ApiKey::CreatePartitions),
];

/// All steps, in the order of the table.
const STEPS: &[&str] = &[
    "brokers",
    "create",
    "produce",
    "consume",
    "resume",
    "times",
    "describe",
    "transactions",
    "groups",
    "delete-records",
    "partitions",
    "delete",
];

/// What is known of a client before it is run.
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) codecs: &'static [&'static str],
    /// Steps that it has no call for.
    pub(super) lacks: &'static [&'static str],
    pub(super) clock: Clock,
}

/// Who gives the records their timestamps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Script,
    /// The client has no way to set them.
    Client,
}

/// What a client said of each step it did, as JSON.
pub(super) type Said = BTreeMap<String, Value>;

/// One record: partition, offset, key, value, headers, timestamp.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub(super) struct Seen(
    pub(super) i32,
    pub(super) i64,
    pub(super) String,
    pub(super) String,
    pub(super) Vec<(String, String)>,
    pub(super) i64,
);

impl Seen {
    pub(super) fn of(message: &OwnedMessage) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        let headers = message.headers().unwrap().iter();
        Self(
            message.partition(),
            message.offset(),
            text(message.key()),
            text(message.payload()),
            headers
                .map(|header| (header.key.to_owned(), text(header.value)))
                .collect(),
            message.timestamp().to_millis().unwrap(),
        )
    }
}

/// What is sent; where it goes is its key's doing.
pub(super) struct Sent {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timestamp: i64,
}

/// How a client that is driven from here does each step; what it says of it.
pub(super) struct Steps {
    pub(super) brokers: fn(&Script) -> Value,
    pub(super) create: fn(&Script) -> Value,
    /// A round, in a compression.
    pub(super) produce: fn(&Script, &str, &str),
    /// So many records.
    pub(super) consume: fn(&Script, usize) -> Value,
    /// The offsets at a time.
    pub(super) times: fn(&Script, i64) -> Value,
    pub(super) describe: fn(&Script) -> Value,
    /// One of the steps that need what the broker may not serve.
    pub(super) extra: fn(&Script, &str) -> Value,
    pub(super) delete: fn(&Script) -> Value,
}

/// The script for one client, on a topic and a group of its own.
pub(super) struct Script {
    pub(super) cluster: Cluster,
    pub(super) client: &'static Client,
    pub(super) topic: String,
    pub(super) group: String,
    /// Of the first record, so that retention leaves all of them alone.
    pub(super) base_ms: i64,
    pub(super) extras: Vec<&'static str>,
}

impl Script {
    pub(super) fn new(client: &'static Client) -> Self {
        let cluster = Cluster::start();
        let announced = announced(&cluster);
        let served = |(step, key): &(&'static str, ApiKey)| {
            let does = !client.lacks.contains(step) && announced.contains(key);
            does.then_some(*step)
        };
        Self {
            topic: unique("client"),
            group: unique("group"),
            base_ms: now_ms() - 600_000,
            extras: EXTRAS.iter().filter_map(served).collect(),
            cluster,
            client,
        }
    }

    /// Has a client that is driven from here do all steps, and checks what it says.
    #[track_caller]
    pub(super) fn walk(&self, steps: &Steps) {
        let mut said = Said::new();
        let mut say = |step: &str, seen: Value| said.insert(step.to_owned(), seen);
        say("brokers", (steps.brokers)(self));
        say("create", (steps.create)(self));
        for codec in ALL_CODECS {
            (steps.produce)(self, codec, codec);
        }
        say("produce", json!(ALL_CODECS));
        let count = ALL_CODECS.len() * RECORDS_IN_ROUND;
        say("consume", (steps.consume)(self, count));
        (steps.produce)(self, LATE, "none");
        say("resume", (steps.consume)(self, RECORDS_IN_ROUND));
        self.check_stored();
        let (stored, time_ms) = (self.stored(), self.time_ms());
        say("times", (steps.times)(self, time_ms));
        say("describe", (steps.describe)(self));
        for step in &self.extras {
            say(step, (steps.extra)(self, step));
        }
        say("delete", (steps.delete)(self));
        self.check_said(&said, &stored, time_ms);
    }

    /// The records of one round. A round is named after its compression, but for the last.
    pub(super) fn records(&self, round: &str) -> Vec<Sent> {
        let place = ALL_CODECS.iter().position(|codec| *codec == round);
        let first = place.unwrap_or(ALL_CODECS.len()) * RECORDS_IN_ROUND;
        let record = |number: usize| Sent {
            key: format!("{round}-{number}"),
            value: format!("ä value {number} of {round} ").repeat(20),
            headers: [("round", round), ("number", &number.to_string())]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            timestamp: self.base_ms + i64::try_from((first + number) * 1000).unwrap(),
        };
        (0..RECORDS_IN_ROUND).map(record).collect()
    }

    /// The time of which the offsets are asked: inside of the third round, or that of the last.
    pub(super) fn time_ms(&self) -> i64 {
        match self.client.clock {
            Clock::Script => self.base_ms + 15_500,
            Clock::Client => {
                let stored = self.stored();
                let late = stored.iter().filter(|record| is_late(record));
                late.map(|record| record.5).min().unwrap()
            }
        }
    }

    /// What is in the topic, by another client.
    pub(super) fn stored(&self) -> Vec<Seen> {
        let consumer = self.cluster.consumer(&[("check.crcs", "true")]);
        let mut all = TopicPartitionList::new();
        let mut count = 0;
        for partition in 0..PARTITIONS {
            let ends = consumer.fetch_watermarks(&self.topic, partition, PATIENCE);
            let (low, high) = ends.unwrap();
            count += usize::try_from(high - low).unwrap();
            all.add_partition_offset(&self.topic, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&all).unwrap();
        let mut stored: Vec<_> = take(&consumer, count).iter().map(Seen::of).collect();
        stored.sort();
        stored
    }

    /// Checks what the client produced, while the topic is still there.
    #[track_caller]
    pub(super) fn check_stored(&self) {
        let mut stored = self.stored();
        if self.client.clock == Clock::Client {
            for record in &mut stored {
                assert!((self.base_ms..=now_ms()).contains(&record.5), "{record:?}");
                record.5 = 0;
            }
        }
        let mut next = [0; 3];
        let mut expected = Vec::new();
        for sent in self.rounds().flat_map(|round| self.records(round)) {
            let partition = partition_of(&sent.key);
            let offset = &mut next[usize::try_from(partition).unwrap()];
            let timestamp = match self.client.clock {
                Clock::Script => sent.timestamp,
                Clock::Client => 0,
            };
            expected.push(Seen(
                partition,
                *offset,
                sent.key,
                sent.value,
                sent.headers,
                timestamp,
            ));
            *offset += 1;
        }
        expected.sort();
        assert_eq!(stored, expected, "{}: what is stored", self.client.name);
        self.check_batches();
    }

    fn rounds(&self) -> impl Iterator<Item = &'static str> {
        self.client.codecs.iter().copied().chain([LATE])
    }

    /// Each compression was used, and every batch is of an idempotent producer.
    fn check_batches(&self) {
        let mut codecs = BTreeSet::new();
        for partition in 0..PARTITIONS {
            for batch in self.batches(partition) {
                let attributes = usize::from(batch[22] & 0b111);
                codecs.insert(ALL_CODECS[attributes]);
                let producer_id = i64::from_be_bytes(batch[43..51].try_into().unwrap());
                assert!(producer_id >= 0, "{}: not idempotent", self.client.name);
            }
        }
        let expected: BTreeSet<_> = self.client.codecs.iter().copied().collect();
        assert_eq!(codecs, expected, "{}: compressions", self.client.name);
    }

    fn batches(&self, partition: i32) -> Vec<Vec<u8>> {
        let asked = FetchPartition::default()
            .with_partition(partition)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partitions(vec![asked]);
        let request = FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        let answer = exchange(&mut connect(self.cluster.bootstrap()), 12, &request);
        let mut rest = &answer.responses[0].partitions[0].records.clone().unwrap()[..];
        let mut batches = Vec::new();
        while let Some(length) = rest.get(8..12) {
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let (batch, after) = rest.split_at(12 + usize::try_from(length).unwrap());
            batches.push(batch.to_vec());
            rest = after;
        }
        batches
    }

    /// Checks what the client said, and prints its row of the table.
    #[track_caller]
    pub(super) fn check_said(&self, said: &Said, stored: &[Seen], time_ms: i64) {
        let name = self.client.name;
        for (step, seen) in said {
            let expected = self.expected(step, stored, time_ms);
            let seen = match step.as_str() {
                "consume" | "resume" => {
                    let mut records: Vec<Seen> = serde_json::from_value(seen.clone()).unwrap();
                    records.sort();
                    json!(records.iter().map(fields).collect::<Vec<_>>())
                }
                "times" => {
                    let mut offsets: Vec<(i32, i64)> =
                        serde_json::from_value(seen.clone()).unwrap();
                    offsets.sort_unstable();
                    json!(offsets)
                }
                _ => seen.clone(),
            };
            assert_eq!(seen, expected, "{name}: {step}");
        }
        let row: Vec<_> = STEPS
            .iter()
            .map(|step| match (said.contains_key(*step), *step) {
                (true, "produce") => self.client.codecs.join(" "),
                (true, _) => "yes".to_owned(),
                (false, step) if self.client.lacks.contains(&step) => "no call".to_owned(),
                (false, step) => {
                    let optional = EXTRAS.iter().any(|(extra, _)| *extra == step);
                    let served = self.extras.contains(&step);
                    assert!(optional && !served, "{name} did not say {step}");
                    "not served".to_owned()
                }
            })
            .collect();
        println!("{}\n| {name} | {} |", head(), row.join(" | "));
    }

    fn expected(&self, step: &str, stored: &[Seen], time_ms: i64) -> Value {
        let records = |late: bool| {
            let those = stored.iter().filter(|record| is_late(record) == late);
            json!(those.map(fields).collect::<Vec<_>>())
        };
        match step {
            "brokers" => json!([self.cluster.bootstrap()]),
            "create" | "delete" => json!(true),
            "produce" => json!(self.client.codecs),
            "consume" => records(false),
            "resume" => records(true),
            "times" => json!(times(stored, time_ms)),
            "describe" if self.client.lacks.contains(&"config") => {
                json!({ "partitions": PARTITIONS })
            }
            "describe" => json!({ "partitions": PARTITIONS, "retention.ms": RETENTION_MS }),
            "transactions" => json!(["committed"]),
            "groups" => json!({ "listed": true, "empty": true, "deleted": true }),
            "delete-records" => json!({ "first": 1 }),
            "partitions" => json!({ "partitions": PARTITIONS + 1 }),
            other => panic!("{}: there is no step {other}", self.client.name),
        }
    }
}

/// The head of the table of clients.
fn head() -> String {
    let rule = "|---".repeat(STEPS.len() + 1);
    format!("| client | {} |\n{rule}|", STEPS.join(" | "))
}

pub(super) fn fields(record: &Seen) -> Value {
    let Seen(partition, offset, key, value, headers, timestamp) = record;
    json!([partition, offset, key, value, headers, timestamp])
}

fn is_late(record: &Seen) -> bool {
    record.2.starts_with(LATE)
}

/// Of each partition the offset of the first record at or after the time.
fn times(stored: &[Seen], time_ms: i64) -> Vec<(i32, i64)> {
    let first = |partition| {
        let mut after = stored
            .iter()
            .filter(|record| record.0 == partition && record.5 >= time_ms);
        (partition, after.next().unwrap().1)
    };
    (0..PARTITIONS).map(first).collect()
}

fn announced(cluster: &Cluster) -> Vec<ApiKey> {
    let mut stream = connect(cluster.bootstrap());
    let answer = exchange(&mut stream, 0, &ApiVersionsRequest::default());
    let keys = answer.api_keys.iter();
    keys.filter_map(|api| ApiKey::try_from(api.api_key).ok())
        .collect()
}

/// Kafka's `BuiltInPartitioner.partitionForKey`: murmur2 of the key, without its sign.
fn partition_of(key: &str) -> i32 {
    let hash = murmur2(key.as_bytes()) & 0x7fff_ffff;
    i32::try_from(hash).unwrap() % PARTITIONS
}

/// Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap();
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        word = (word ^ (word >> 24)).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ word;
    }
    for (place, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[test]
fn keys_go_where_javas_client_sends_them() {
    // Of org.apache.kafka.common.utils.UtilsTest.
    assert_eq!(murmur2(b"21").cast_signed(), -973_932_308);
    assert_eq!(murmur2(b"foobar").cast_signed(), -790_332_482);
    assert_eq!(
        murmur2(b"a-little-bit-long-string").cast_signed(),
        -985_981_536
    );
    assert_eq!(murmur2(b"abc").cast_signed(), 479_470_107);
}
