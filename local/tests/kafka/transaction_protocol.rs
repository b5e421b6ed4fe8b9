//! The rules of transactions, request by request, and what tools are told of them.

use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest, GroupId,
    InitProducerIdRequest, InitProducerIdResponse, ListTransactionsRequest, OffsetFetchRequest,
    ProduceRequest, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::cluster::{Cluster, unique};
use crate::transactions::wait_until;
use crate::wire::{connect, exchange, exchange_until};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const ILLEGAL_GENERATION: i16 = 22;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const INVALID_TRANSACTION_TIMEOUT: i16 = 50;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const OPERATION_NOT_ATTEMPTED: i16 = 55;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;
const PRODUCER_FENCED: i16 = 90;
const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A producer that says one thing at a time.
struct Producer {
    stream: TcpStream,
    id: TransactionalId,
    producer_id: ProducerId,
    epoch: i16,
}

impl Producer {
    fn new(cluster: &Cluster, id: &str) -> Self {
        let mut stream = connect(cluster.bootstrap());
        // A cluster that was just started may have to set up its coordinators first.
        for kind in [0, 1] {
            let find = FindCoordinatorRequest::default()
                .with_key(text(id))
                .with_key_type(kind);
            exchange_until(&mut stream, 2, &find, |answer| answer.error_code == 0);
        }
        let id = TransactionalId(text(id));
        let given = init(&mut stream, &id, 60_000, None);
        assert_eq!(given.error_code, 0);
        Self {
            stream,
            id,
            producer_id: given.producer_id,
            epoch: given.producer_epoch,
        }
    }

    /// The codes for some partitions, all of number 0.
    fn add(&mut self, topics: &[&str]) -> Vec<i16> {
        let topics = topics.iter().map(|name| {
            AddPartitionsToTxnTopic::default()
                .with_name(TopicName(text(name)))
                .with_partitions(vec![0])
        });
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(self.producer_id)
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(topics.collect());
        let answer = exchange_until(&mut self.stream, 3, &request, |answer| {
            let first = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
            first.partition_error_code != CONCURRENT_TRANSACTIONS
        });
        let topics = answer.results_by_topic_v3_and_below.iter();
        topics
            .map(|topic| topic.results_by_partition[0].partition_error_code)
            .collect()
    }

    fn add_group(&mut self, group: &str) -> i16 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(self.producer_id)
            .with_producer_epoch(self.epoch)
            .with_group_id(GroupId(text(group)));
        exchange(&mut self.stream, 3, &request).error_code
    }

    fn commit_offset(&mut self, group: &str, topic: &str, offset: i64) -> i16 {
        self.commit_offset_as((-1, ""), group, topic, offset)
    }

    fn commit_offset_as(
        &mut self,
        (generation, member_id): (i32, &str),
        group: &str,
        topic: &str,
        offset: i64,
    ) -> i16 {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.id.clone())
            .with_group_id(GroupId(text(group)))
            .with_producer_id(self.producer_id)
            .with_producer_epoch(self.epoch)
            .with_generation_id(generation)
            .with_member_id(text(member_id))
            .with_topics(vec![topic]);
        exchange(&mut self.stream, 3, &request).topics[0].partitions[0].error_code
    }

    fn end(&mut self, committed: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(self.producer_id)
            .with_producer_epoch(self.epoch)
            .with_committed(committed);
        let ended = |answer: i16| answer != CONCURRENT_TRANSACTIONS;
        exchange_until(&mut self.stream, 3, &request, |answer| {
            ended(answer.error_code)
        })
        .error_code
    }

    /// Sends one record as a part of a transaction.
    fn produce(&mut self, topic: &str, sequence: i32) -> i16 {
        let partition = PartitionProduceData::default().with_records(Some(self.batch(sequence)));
        let topic = TopicProduceData::default()
            .with_name(TopicName(text(topic)))
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_transactional_id(Some(self.id.clone()))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        exchange(&mut self.stream, 9, &request).responses[0].partition_responses[0].error_code
    }

    fn batch(&self, sequence: i32) -> Bytes {
        let record = Record {
            transactional: true,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: self.producer_id.0,
            producer_epoch: self.epoch,
            timestamp_type: TimestampType::Creation,
            timestamp: 1_000,
            sequence,
            offset: 0,
            key: None,
            value: Some(Bytes::from_static(b"v")),
            headers: IndexMap::new(),
        };
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        let mut batch = BytesMut::new();
        RecordBatchEncoder::encode(&mut batch, [&record], &options).unwrap();
        batch.freeze()
    }

    /// A transaction may be ended everywhere only after its producer has heard of it.
    fn wait_for(&mut self, state: &str) {
        let request =
            DescribeTransactionsRequest::default().with_transactional_ids(vec![self.id.clone()]);
        exchange_until(&mut self.stream, 0, &request, |answer| {
            &*answer.transaction_states[0].transaction_state == state
        });
    }
}

fn init(
    stream: &mut TcpStream,
    id: &TransactionalId,
    timeout_ms: i32,
    from: Option<(ProducerId, i16)>,
) -> InitProducerIdResponse {
    let (producer_id, epoch) = from.unwrap_or((ProducerId(-1), -1));
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id.clone()))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(producer_id)
        .with_producer_epoch(epoch);
    let passing = [14, 15, 16, CONCURRENT_TRANSACTIONS];
    exchange_until(stream, 4, &request, |answer| {
        !passing.contains(&answer.error_code)
    })
}

#[test]
fn a_transaction_ends_as_it_was_decided_first() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let mut producer = Producer::new(&cluster, &unique("t"));
    producer.wait_for("Empty");
    assert_eq!(producer.end(true), INVALID_TXN_STATE);
    assert_eq!(producer.add(&[&topic]), [0]);
    producer.wait_for("Ongoing");
    assert_eq!(producer.end(true), 0);
    // The answer may have been lost.
    assert_eq!(producer.end(true), 0);
    assert_eq!(producer.end(false), INVALID_TXN_STATE);
    producer.wait_for("CompleteCommit");
    assert_eq!(producer.add(&[&topic]), [0]);
    assert_eq!(producer.end(false), 0);
    assert_eq!(producer.end(false), 0);
    assert_eq!(producer.end(true), INVALID_TXN_STATE);
}

#[test]
fn only_who_has_the_transactional_id_takes_part() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let id = unique("t");
    let mut old = Producer::new(&cluster, &id);
    let mut new = Producer::new(&cluster, &id);
    assert_eq!(new.producer_id, old.producer_id);
    assert_eq!(new.epoch, old.epoch + 1);
    assert_eq!(old.add(&[&topic]), [PRODUCER_FENCED]);
    assert_eq!(old.add_group("g"), PRODUCER_FENCED);
    assert_eq!(old.end(true), PRODUCER_FENCED);
    assert_eq!(new.add(&[&topic]), [0]);
    assert_eq!(new.produce(&topic, 0), 0);
    assert_eq!(old.produce(&topic, 0), INVALID_PRODUCER_EPOCH);
    old.producer_id = ProducerId(old.producer_id.0 + 1_000_000);
    assert_eq!(old.add(&[&topic]), [INVALID_PRODUCER_ID_MAPPING]);
    assert_eq!(old.end(true), INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(new.end(true), 0);
}

#[test]
fn a_producer_goes_on_from_its_own_epoch_only() {
    let cluster = Cluster::start();
    let mut producer = Producer::new(&cluster, &unique("t"));
    let id = producer.id.clone();
    let own = (producer.producer_id, producer.epoch);
    let next = init(&mut producer.stream, &id, 60_000, Some(own));
    assert_eq!((next.error_code, next.producer_epoch), (0, own.1 + 1));
    // Asked again after a lost answer, the same is given.
    let again = init(&mut producer.stream, &id, 60_000, Some(own));
    assert_eq!((again.error_code, again.producer_epoch), (0, own.1 + 1));
    let third = init(&mut producer.stream, &id, 60_000, None);
    assert_eq!((third.error_code, third.producer_epoch), (0, own.1 + 2));
    let refused = init(&mut producer.stream, &id, 60_000, Some(own));
    assert_eq!(refused.error_code, PRODUCER_FENCED);
}

#[test]
fn timeouts_beyond_the_limit_are_refused() {
    let cluster = Cluster::start();
    let mut producer = Producer::new(&cluster, &unique("t"));
    let id = producer.id.clone();
    for timeout in [0, 900_001] {
        let refused = init(&mut producer.stream, &id, timeout, None);
        assert_eq!(refused.error_code, INVALID_TRANSACTION_TIMEOUT);
    }
}

#[test]
fn partitions_are_added_all_or_none() {
    let cluster = Cluster::start();
    let (topic, missing) = (cluster.topic(1, &[]), unique("missing"));
    let mut producer = Producer::new(&cluster, &unique("t"));
    let mut codes = producer.add(&[&topic, &missing]);
    codes.sort_unstable();
    assert_eq!(codes, [UNKNOWN_TOPIC_OR_PARTITION, OPERATION_NOT_ATTEMPTED]);
    producer.wait_for("Empty");
}

#[test]
fn a_partition_takes_records_only_while_it_is_part_of_the_transaction() {
    let cluster = Cluster::start();
    let (topic, other) = (cluster.topic(1, &[]), cluster.topic(1, &[]));
    let mut producer = Producer::new(&cluster, &unique("t"));
    assert_eq!(producer.add(&[&topic]), [0]);
    assert_eq!(producer.produce(&topic, 0), 0);
    // What is sent again is there since before.
    assert_eq!(producer.produce(&topic, 0), 0);
    assert_eq!(producer.produce(&other, 0), INVALID_TXN_STATE);
    assert_eq!(producer.end(true), 0);
    producer.wait_for("CompleteCommit");
    for late in [0, 1] {
        assert_eq!(producer.produce(&topic, late), INVALID_TXN_STATE);
    }
    let consumer = cluster.consumer(&[]);
    let ends = rdkafka::consumer::Consumer::fetch_watermarks(
        &consumer,
        &topic,
        0,
        crate::cluster::PATIENCE,
    );
    assert_eq!(ends.unwrap(), (0, 2));
}

/// The code and the offset for a topic's first partition.
fn fetch_offset(stream: &mut TcpStream, group: &str, topic: &str, stable: bool) -> (i16, i64) {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(Some(vec![topic]))
        .with_require_stable(stable);
    let answer = exchange(stream, 7, &request);
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

#[test]
fn offsets_are_pending_until_the_transaction_ends() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let mut producer = Producer::new(&cluster, &unique("t"));
    let mut stream = connect(cluster.bootstrap());
    assert_eq!(producer.commit_offset(&group, &topic, 5), INVALID_TXN_STATE);
    for (committed, before, offset, after) in [(true, -1, 5, 5), (false, 5, 9, 5), (true, 5, 7, 7)]
    {
        assert_eq!(producer.add(&[&topic]), [0]);
        assert_eq!(producer.add_group(&group), 0);
        assert_eq!(producer.commit_offset(&group, &topic, offset), 0);
        let unstable = fetch_offset(&mut stream, &group, &topic, true);
        assert_eq!(unstable, (UNSTABLE_OFFSET_COMMIT, -1));
        let any = fetch_offset(&mut stream, &group, &topic, false);
        assert_eq!(any, (0, before));
        assert_eq!(producer.end(committed), 0);
        wait_until(|| {
            let mut stream = connect(cluster.bootstrap());
            fetch_offset(&mut stream, &group, &topic, true).0 != UNSTABLE_OFFSET_COMMIT
        });
        let found = fetch_offset(&mut stream, &group, &topic, true);
        assert_eq!(found, (0, after));
    }
    // Only who has the transactional id may commit, and no member of a generation that is over.
    let other = unique("group");
    assert_eq!(producer.add_group(&other), 0);
    let refused = producer.commit_offset_as((5, "member"), &other, &topic, 1);
    assert_eq!(refused, ILLEGAL_GENERATION);
    producer.epoch -= 1;
    let refused = producer.commit_offset(&group, &topic, 1);
    assert!(matches!(
        refused,
        INVALID_PRODUCER_EPOCH | INVALID_TXN_STATE
    ));
}

#[test]
fn tools_see_open_transactions_and_their_producers() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let id = unique("t");
    let mut producer = Producer::new(&cluster, &id);
    assert_eq!(producer.add(&[&topic]), [0]);
    for sequence in 0..3 {
        assert_eq!(producer.produce(&topic, sequence), 0);
    }
    let describe = |id: &str| {
        let ids = vec![TransactionalId(text(id))];
        let request = DescribeTransactionsRequest::default().with_transactional_ids(ids);
        let answer = exchange(&mut connect(cluster.bootstrap()), 0, &request);
        answer.transaction_states.into_iter().next().unwrap()
    };
    let found = describe(&id);
    assert_eq!(
        (found.error_code, found.transaction_timeout_ms),
        (0, 60_000)
    );
    assert_eq!(
        (found.producer_id, found.producer_epoch),
        (producer.producer_id, 0)
    );
    assert!(found.transaction_start_time_ms > 0);
    assert_eq!(&*found.topics[0].topic.0, &*topic);
    assert_eq!(found.topics[0].partitions, [0]);
    assert_eq!(
        describe(&unique("missing")).error_code,
        TRANSACTIONAL_ID_NOT_FOUND
    );

    let list = |states: &[&str], producers: &[ProducerId]| {
        let request = ListTransactionsRequest::default()
            .with_state_filters(states.iter().map(|name| text(name)).collect())
            .with_producer_id_filters(producers.to_vec());
        let answer = exchange(&mut connect(cluster.bootstrap()), 0, &request);
        let found = answer.transaction_states.iter();
        let listed = found.filter(|found| &*found.transactional_id.0 == id.as_str());
        (listed.count(), answer.unknown_state_filters.len())
    };
    assert_eq!(list(&[], &[]), (1, 0));
    assert_eq!(list(&["Ongoing"], &[producer.producer_id]), (1, 0));
    assert_eq!(list(&["Empty", "Wrong"], &[]), (0, 1));
    assert_eq!(list(&[], &[ProducerId(i64::MAX)]), (0, 0));

    let describe_producer = || {
        let topic = TopicRequest::default()
            .with_name(TopicName(text(&topic)))
            .with_partition_indexes(vec![0]);
        let request = DescribeProducersRequest::default().with_topics(vec![topic]);
        let answer = exchange(&mut connect(cluster.bootstrap()), 0, &request);
        answer.topics[0].partitions[0].active_producers[0].clone()
    };
    let active = describe_producer();
    assert_eq!(
        (active.producer_id, active.producer_epoch),
        (producer.producer_id, 0)
    );
    assert_eq!(
        (active.last_sequence, active.current_txn_start_offset),
        (2, 0)
    );
    assert_eq!(producer.end(true), 0);
    producer.wait_for("CompleteCommit");
    assert_eq!(describe_producer().current_txn_start_offset, -1);
    assert_eq!(describe(&id).topics.len(), 0);
}
