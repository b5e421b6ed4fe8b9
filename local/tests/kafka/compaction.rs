//! Compacted topics: of each key the last record stays, and every record has a key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset};

use crate::cluster::{Cluster, PATIENCE, Restarting};
use crate::offsets::now_ms;
use crate::records::{assign, next};
use crate::wire::{connect, exchange};

/// Compacted as soon as there is a finished segment.
const EAGER: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1048576"),
    ("min.cleanable.dirty.ratio", "0.001"),
];
/// Kafka looks at one log after the other, and may be busy with those of other tests.
const COMPACTION: Duration = Duration::from_secs(90);

fn often(config: &mut local::kafka::Config) {
    config.compaction_interval = Duration::from_millis(50);
    config.retention_interval = Duration::from_millis(50);
}

/// Key and value of every record, by offset.
pub(crate) type Rows = BTreeMap<i64, (String, Option<Vec<u8>>)>;

/// Everything that is in the first partition, up to the end as it is now.
#[track_caller]
pub(crate) fn read_all(cluster: &Cluster, topic: &str) -> Rows {
    let consumer = cluster.consumer(&[
        ("enable.partition.eof", "true"),
        ("check.crcs", "true"),
        // Retention may take away what is about to be read; the client would go on at the end.
        ("auto.offset.reset", "earliest"),
    ]);
    assign(&consumer, topic, 0, Offset::Beginning);
    let mut rows = Rows::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(
            Instant::now() < deadline,
            "no end after {} records",
            rows.len()
        );
        match consumer.poll(PATIENCE) {
            Some(Ok(record)) => {
                let key = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
                let value = record.payload().map(<[u8]>::to_vec);
                let last = rows.last_key_value().map_or(-1, |(offset, _)| *offset);
                assert!(record.offset() > last, "offsets rise");
                rows.insert(record.offset(), (key, value));
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return rows,
            Some(Err(cause)) => panic!("{cause}"),
            None => {}
        }
    }
}

/// The last value of each key.
fn state(rows: &Rows) -> BTreeMap<String, Option<Vec<u8>>> {
    rows.values().cloned().collect()
}

/// Reads until what is there fits.
#[track_caller]
fn read_until(cluster: &Cluster, topic: &str, fits: impl Fn(&Rows) -> bool) -> Rows {
    let deadline = Instant::now() + COMPACTION;
    loop {
        let rows = read_all(cluster, topic);
        if fits(&rows) {
            return rows;
        }
        assert!(
            Instant::now() < deadline,
            "still {} records: {:?}",
            rows.len(),
            rows.iter()
                .map(|(at, (key, _))| (at, key))
                .take(50)
                .collect::<Vec<_>>()
        );
    }
}

/// A value that no compression makes much smaller.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::try_from(state >> 56).unwrap()
    };
    (0..length).map(byte).collect()
}

/// Sends records and waits for all of them; gives what is then in the topic.
fn send_all(
    cluster: &Cluster,
    producer: &FutureProducer,
    topic: &str,
    rows: impl IntoIterator<Item = (String, Option<Vec<u8>>)>,
) -> Rows {
    let sent: Vec<_> = rows
        .into_iter()
        .map(|(key, value)| {
            let mut record = FutureRecord::to(topic).key(&key).partition(0);
            record.payload = value.as_deref();
            let delivery = producer.send_result(record).map_err(|(cause, _)| cause);
            (delivery.unwrap(), key.clone(), value)
        })
        .collect();
    let rows = sent.into_iter().map(|(delivery, key, value)| {
        let delivered = cluster.wait(delivery).unwrap().unwrap();
        (delivered.offset, (key, value))
    });
    rows.collect()
}

/// Rounds of ten keys with values of 20 KB, so that five rounds fill a segment.
fn rounds(numbers: std::ops::Range<u64>) -> impl Iterator<Item = (String, Option<Vec<u8>>)> {
    numbers.flat_map(|round| {
        (0..10).map(move |key| {
            let seed = round * 10 + key;
            (format!("key {key}"), Some(noise(seed, 20_000)))
        })
    })
}

#[test]
fn of_each_key_the_last_record_stays_in_every_compression() {
    let cluster = Cluster::start_with(often);
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = cluster.topic(1, &EAGER);
        let settings = [
            ("compression.type", compression),
            ("linger.ms", "50"),
            ("batch.num.messages", "7"),
        ];
        let sent = send_all(
            &cluster,
            &cluster.producer(&settings),
            &topic,
            rounds(0..30),
        );
        // Five rounds at most are in the last segment, and ten records before it.
        let left = read_until(&cluster, &topic, |rows| rows.len() <= 75);
        assert_eq!(state(&left), state(&sent), "{compression}");
        assert!(left.iter().all(|(offset, row)| sent[offset] == *row));
        let ends = cluster.consumer(&[]).fetch_watermarks(&topic, 0, PATIENCE);
        assert_eq!(ends.unwrap(), (0, 300));
        // An offset whose record is gone leads to the next that is there.
        let gap = (0..300).find(|offset| !left.contains_key(offset)).unwrap();
        let after = *left.range(gap..).next().unwrap().0;
        let consumer = cluster.consumer(&[]);
        assign(&consumer, &topic, 0, Offset::Offset(gap));
        assert_eq!(next(&consumer).offset(), after);
    }
}

#[test]
fn a_tombstone_takes_the_records_before_it_and_then_goes_itself() {
    let cluster = Cluster::start_with(often);
    let settings = [&EAGER[..], &[("delete.retention.ms", "100")]].concat();
    let topic = cluster.topic(1, &settings);
    let producer = cluster.producer(&[]);
    let gone = |value: Option<&[u8]>| [("gone".to_owned(), value.map(<[u8]>::to_vec))];
    send_all(&cluster, &producer, &topic, gone(Some(b"value")));
    send_all(&cluster, &producer, &topic, gone(None));
    let mut round = 0;
    let has = |fits: &dyn Fn(&Option<Vec<u8>>) -> bool| {
        let rows = read_all(&cluster, &topic);
        rows.values()
            .any(|(key, value)| key == "gone" && fits(value))
    };
    // It goes with a later pass than the one that meets it first, and passes need new segments.
    let deadline = Instant::now() + COMPACTION;
    while has(&|_| true) {
        assert!(Instant::now() < deadline, "the tombstone stays");
        send_all(&cluster, &producer, &topic, rounds(round..round + 6));
        round += 6;
        let tombstone_alone = !has(&Option::is_some) && has(&Option::is_none);
        assert!(round == 6 || tombstone_alone || !has(&|_| true) || round < 60);
    }
}

#[test]
fn an_idempotent_producer_goes_on_in_a_topic_that_is_compacted_under_it() {
    let mut cluster = Restarting::start_with(often);
    let topic = cluster.now().topic(1, &EAGER);
    let producer = cluster.now().producer(&[("enable.idempotence", "true")]);
    let other = cluster.now().producer(&[]);
    let own = |number: u64| [("key 0".to_owned(), Some(noise(number, 100)))];
    for number in 0..3 {
        send_all(cluster.now(), &producer, &topic, own(number));
        send_all(
            cluster.now(),
            &other,
            &topic,
            rounds(number * 10..number * 10 + 10),
        );
        let own_offset = i64::try_from(number).unwrap() * 101;
        read_until(cluster.now(), &topic, |rows| {
            !rows.contains_key(&own_offset)
        });
        cluster.restart();
    }
    send_all(cluster.now(), &producer, &topic, own(3));
    let ends = cluster
        .now()
        .consumer(&[])
        .fetch_watermarks(&topic, 0, PATIENCE);
    assert_eq!(ends.unwrap(), (0, 304));
}

#[test]
fn a_topic_that_is_compacted_and_deleted_loses_old_segments_too() {
    let cluster = Cluster::start_with(often);
    let settings = [
        ("cleanup.policy", "compact,delete"),
        ("segment.bytes", "1048576"),
        ("retention.ms", "600000"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    let topic = cluster.topic(1, &settings);
    let producer = cluster.producer(&[]);
    let old = now_ms() - 3_600_000;
    for number in 0..30u64 {
        let value = noise(number, 100_000);
        // No later record has this key: Kafka takes a segment that compaction has emptied for as old as
        // its file, and stops there.
        let key = format!("old {number}");
        let record = FutureRecord::to(&topic)
            .key(&key)
            .payload(&value)
            .partition(0);
        let sent = producer.send(record.timestamp(old), PATIENCE);
        cluster.wait(sent).unwrap();
    }
    let sent = send_all(&cluster, &producer, &topic, rounds(0..30));
    let left = read_until(&cluster, &topic, |rows| {
        rows.len() <= 75
            && rows
                .values()
                .all(|(_, value)| value.as_ref().unwrap().len() < 100_000)
    });
    assert_eq!(state(&left), state(&sent));
}

/// Sends one batch as it is and gives the answer for it.
fn produce(cluster: &Cluster, topic: &str, version: i16, batch: Bytes) -> PartitionProduceResponse {
    let data = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic]);
    let mut stream = connect(cluster.bootstrap());
    exchange(&mut stream, version, &request).responses[0].partition_responses[0].clone()
}

/// A batch with one record for each key.
pub(crate) fn batch(keys: &[Option<&'static str>], compression: Compression) -> Bytes {
    let records: Vec<_> = (0..)
        .zip(keys)
        .map(|(number, key)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: number,
            sequence: i32::try_from(number).unwrap() - 1,
            timestamp: now_ms(),
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            value: Some(Bytes::from_static(b"value")),
            headers: Default::default(),
        })
        .collect();
    let mut encoded = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    RecordBatchEncoder::encode(&mut encoded, &records, &options).unwrap();
    encoded.freeze()
}

#[test]
fn records_without_a_key_are_refused_by_number_in_every_compression() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &EAGER);
    let keys = [Some("a"), None, Some("b"), None];
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        for version in [8, 9, 11] {
            let answer = produce(&cluster, &topic, version, batch(&keys, compression));
            assert_eq!((answer.error_code, answer.base_offset), (87, -1));
            assert!(answer.error_message.is_some());
            let text = format!(
                "Compacted topic cannot accept message without key in topic partition {topic}-0"
            );
            let errors: Vec<_> = answer
                .record_errors
                .iter()
                .map(|error| {
                    (
                        error.batch_index,
                        error.batch_index_error_message.as_deref(),
                    )
                })
                .collect();
            assert_eq!(errors, [(1, Some(&*text)), (3, Some(&*text))]);
        }
    }
    let answer = produce(&cluster, &topic, 11, batch(&[Some("a")], Compression::Zstd));
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    let record = FutureRecord::<str, _>::to(&topic).payload("v").partition(0);
    let producer = cluster.producer(&[]);
    let (refused, _) = cluster.wait(producer.send(record, PATIENCE)).unwrap_err();
    assert_eq!(
        refused.rdkafka_error_code(),
        Some(RDKafkaErrorCode::InvalidRecord)
    );
}
