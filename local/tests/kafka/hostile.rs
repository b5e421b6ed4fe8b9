//! What is no request ends its own connection and nothing else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};

use crate::cluster::Cluster;
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
fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(read) => assert_eq!(read, 0, "an answer came"),
        // What was sent and not read makes the end a reset.
        Err(failure) => assert_eq!(failure.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn impossible_lengths_close_the_connection() {
    let cluster = Cluster::start();
    check_closed(&cluster, b"\x7f\xff\xff\xff");
    check_closed(&cluster, b"\xff\xff\xff\xff");
    check_closed(&cluster, b"\0\0\0\0");
    check_closed(&cluster, b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn arrays_of_impossible_length_close_the_connection_and_take_no_memory() {
    let cluster = Cluster::start();
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
    let cluster = Cluster::start();
    let mut unknown_kind = frame(0, 1, &ApiVersionsRequest::default()).to_vec();
    unknown_kind[4..6].copy_from_slice(&999i16.to_be_bytes());
    check_closed(&cluster, &unknown_kind);
    let mut unknown_version = frame(1, 1, &MetadataRequest::default()).to_vec();
    unknown_version[6..8].copy_from_slice(&99i16.to_be_bytes());
    check_closed(&cluster, &unknown_version);
}

#[test]
fn random_changes_to_a_request_never_end_the_broker() {
    let cluster = Cluster::start();
    let request = frame(9, 1, &MetadataRequest::default());
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..300 {
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
    let mut other = connect(cluster.bootstrap());
    assert_eq!(
        exchange(&mut other, 0, &ApiVersionsRequest::default()).error_code,
        0
    );
}

#[test]
fn connections_beyond_the_limit_are_closed_and_places_become_free_again() {
    let cluster = Cluster::start_with(|config| config.connections_max = 3);
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
    let cluster = Cluster::start_with(|config| config.request_bytes_max = 1000);
    check_closed(&cluster, &1001u32.to_be_bytes());
}
