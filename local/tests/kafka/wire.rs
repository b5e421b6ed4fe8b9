//! A client that says exactly what it is told to.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::cluster::PATIENCE;

pub(crate) fn connect(bootstrap: &str) -> TcpStream {
    let stream = TcpStream::connect(bootstrap).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> Bytes {
    let mut body = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    header
        .encode(&mut body, R::header_version(version))
        .unwrap();
    request.encode(&mut body, version).unwrap();
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame.into()
}

/// The next response; its correlation id and what follows.
pub(crate) fn response<R: Request>(
    stream: &mut TcpStream,
    version: i16,
) -> io::Result<(i32, R::Response)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut body)?;
    let mut body = Bytes::from(body);
    let header = ResponseHeader::decode(&mut body, R::Response::header_version(version)).unwrap();
    let response = R::Response::decode(&mut body, version).unwrap();
    assert_eq!(body.remaining(), 0, "bytes follow the response");
    Ok((header.correlation_id, response))
}

pub(crate) fn exchange<R: Request>(
    stream: &mut TcpStream,
    version: i16,
    request: &R,
) -> R::Response {
    stream
        .write_all(&frame(version, i32::from(version), request))
        .unwrap();
    let (correlation_id, response) = response::<R>(stream, version).unwrap();
    assert_eq!(correlation_id, i32::from(version));
    response
}

/// Asks again until the answer is as wanted: a cluster may be about to set something up, or to end
/// what was asked for before.
#[track_caller]
pub(crate) fn exchange_until<R: Request>(
    stream: &mut TcpStream,
    version: i16,
    request: &R,
    wanted: impl Fn(&R::Response) -> bool,
) -> R::Response {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = exchange(stream, version, request);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
