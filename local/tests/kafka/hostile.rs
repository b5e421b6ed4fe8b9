//! What is no request ends its own connection and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, ApiVersionsRequest, FetchRequest, ListOffsetsRequest,
    MetadataRequest, OffsetFetchRequest, ProduceRequest, TopicName, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::{Cluster, PATIENCE};
use crate::wire::{connect, exchange, frame, response};

/// Expects that the broker closes the connection without a word and still serves others.
#[track_caller]
fn check_closed(cluster: &Cluster, bytes: &[u8]) {
    let mut stream = connect(cluster.bootstrap());
    stream.write_all(bytes).unwrap();
    expect_end(&mut stream);
    let mut other = connect(cluster.bootstrap());
    assert_eq!(
        exchange(&mut other, 0, &ApiVersionsRequest::default()).error_code,
        0
    );
}

#[track_caller]
pub(crate) fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(read) => assert_eq!(read, 0, "an answer came"),
        // What was sent and not read makes the end a reset.
        Err(failure) => assert_eq!(failure.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn impossible_lengths_close_the_connection() {
    let cluster = Cluster::local(|_| {});
    check_closed(&cluster, b"\x7f\xff\xff\xff");
    check_closed(&cluster, b"\xff\xff\xff\xff");
    check_closed(&cluster, b"\0\0\0\0");
    check_closed(&cluster, b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn arrays_of_impossible_length_close_the_connection() {
    let cluster = Cluster::local(|_| {});
    for version in [1, 9] {
        let mut request = frame(version, 1, &MetadataRequest::default()).to_vec();
        let at = if version == 1 {
            request.len() - 4
        } else {
            request.len() - 5
        };
        request.truncate(at);
        request.extend_from_slice(if version == 1 {
            b"\x7f\xff\xff\xff"
        } else {
            b"\xff\xff\xff\xff\x07"
        });
        let length = u32::try_from(request.len() - 4).unwrap();
        request[..4].copy_from_slice(&length.to_be_bytes());
        check_closed(&cluster, &request);
    }
}

#[test]
fn requests_that_are_not_served_close_the_connection() {
    let cluster = Cluster::local(|_| {});
    let mut unknown_kind = frame(0, 1, &ApiVersionsRequest::default()).to_vec();
    unknown_kind[4..6].copy_from_slice(&999i16.to_be_bytes());
    check_closed(&cluster, &unknown_kind);
    let mut unknown_version = frame(1, 1, &MetadataRequest::default()).to_vec();
    unknown_version[6..8].copy_from_slice(&99i16.to_be_bytes());
    check_closed(&cluster, &unknown_version);
}

#[test]
fn random_changes_to_requests_never_end_the_broker() {
    let cluster = Cluster::local(|_| {});
    let topic = TopicName(StrBytes::from_string(cluster.topic(1, &[])));
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    for request in sound_requests(&topic) {
        for _ in 0..100 {
            let mut bytes = request.to_vec();
            for _ in 0..=random(4) {
                let at = 4 + random(bytes.len() - 4);
                bytes[at] = u8::try_from(random(256)).unwrap();
            }
            let mut stream = connect(cluster.bootstrap());
            stream.write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
    }
    let mut other = connect(cluster.bootstrap());
    assert_eq!(
        exchange(&mut other, 0, &ApiVersionsRequest::default()).error_code,
        0
    );
}

/// One request of each kind whose lengths matter, with something in its arrays.
pub(crate) fn sound_requests(topic: &TopicName) -> Vec<Bytes> {
    let metadata = MetadataRequestTopic::default().with_name(Some(topic.clone()));
    let fetch = FetchTopic::default()
        .with_topic(topic.clone())
        .with_partitions(vec![
            FetchPartition::default().with_partition_max_bytes(1000),
        ]);
    let batch = Bytes::from_static(include_bytes!("../../src/kafka/batch.golden"));
    let produce = TopicProduceData::default()
        .with_name(topic.clone())
        .with_partition_data(vec![
            PartitionProduceData::default().with_records(Some(batch)),
        ]);
    let offsets = OffsetFetchRequestTopics::default()
        .with_name(topic.clone())
        .with_partition_indexes(vec![0, 1]);
    let offsets = OffsetFetchRequestGroup::default().with_topics(Some(vec![offsets]));
    let added = AddPartitionsToTxnTopic::default()
        .with_name(topic.clone())
        .with_partitions(vec![0, 1]);
    let pending = TxnOffsetCommitRequestTopic::default()
        .with_name(topic.clone())
        .with_partitions(vec![TxnOffsetCommitRequestPartition::default()]);
    let list = ListOffsetsTopic::default()
        .with_name(topic.clone())
        .with_partitions(vec![ListOffsetsPartition::default().with_timestamp(-1)]);
    vec![
        frame(
            9,
            1,
            &MetadataRequest::default().with_topics(Some(vec![metadata])),
        ),
        frame(
            12,
            2,
            &FetchRequest::default()
                .with_max_bytes(1000)
                .with_topics(vec![fetch]),
        ),
        frame(
            9,
            3,
            &ProduceRequest::default()
                .with_acks(1)
                .with_topic_data(vec![produce]),
        ),
        frame(
            8,
            4,
            &OffsetFetchRequest::default().with_groups(vec![offsets]),
        ),
        frame(5, 5, &ListOffsetsRequest::default().with_topics(vec![list])),
        frame(
            3,
            6,
            &AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![added]),
        ),
        frame(
            4,
            7,
            &TxnOffsetCommitRequest::default().with_topics(vec![pending]),
        ),
    ]
}

#[test]
fn connections_beyond_the_limit_are_closed_and_places_become_free_again() {
    let cluster = Cluster::local(|config| config.connections_max = 3);
    let mut streams: Vec<TcpStream> = (0..3).map(|_| connect(cluster.bootstrap())).collect();
    for stream in &mut streams {
        assert_eq!(
            exchange(stream, 0, &ApiVersionsRequest::default()).error_code,
            0
        );
    }
    expect_end(&mut connect(cluster.bootstrap()));
    drop(streams);
    let deadline = std::time::Instant::now() + crate::cluster::PATIENCE;
    let served = || {
        let mut stream = connect(cluster.bootstrap());
        let sent = stream.write_all(&frame(0, 1, &ApiVersionsRequest::default()));
        sent.is_ok() && response::<ApiVersionsRequest>(&mut stream, 0).is_ok()
    };
    while !served() {
        assert!(
            std::time::Instant::now() < deadline,
            "the places stay taken"
        );
    }
}

#[test]
fn a_request_beyond_the_limit_closes_the_connection() {
    let cluster = Cluster::local(|config| config.request_bytes_max = 1000);
    check_closed(&cluster, &1001u32.to_be_bytes());
}

/// Neither side of these connections is closed by the client, nor reset: so a client looks whose
/// machine lost its power or its network.
#[test]
fn a_client_that_falls_silent_is_taken_for_gone() {
    let cluster = Cluster::local(|config| config.connection_idle_max = Duration::from_millis(300));
    let mut between = connect(cluster.bootstrap());
    exchange(&mut between, 0, &ApiVersionsRequest::default());
    expect_end(&mut between);
    let request = frame(0, 1, &ApiVersionsRequest::default());
    for amidst in [2, 10] {
        check_closed(&cluster, &request[..amidst]);
    }
}

#[test]
fn a_client_that_takes_no_answers_is_taken_for_gone() {
    let cluster = Cluster::local(|config| config.transfer_max = Duration::from_millis(300));
    let mut deaf = connect(cluster.bootstrap());
    deaf.set_write_timeout(Some(PATIENCE)).unwrap();
    let request = frame(0, 1, &ApiVersionsRequest::default());
    // Their answers are more than both ends of a connection hold.
    let many = request.repeat((64 << 20) / request.len());
    let failure = deaf.write_all(&many).unwrap_err();
    let is_closed = matches!(
        failure.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    );
    assert!(is_closed, "{failure}");
    let mut other = connect(cluster.bootstrap());
    let answer = exchange(&mut other, 0, &ApiVersionsRequest::default());
    assert_eq!(answer.error_code, 0);
}
