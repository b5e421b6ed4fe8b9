//! Whatever bytes a request is, it is answered or refused, in time.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

use crate::cluster::{Cluster, PATIENCE};
use crate::hostile::sound_requests;
use crate::wire::{connect, exchange};

const CASES: u32 = 3_000;

/// Requests that may wait for records or for other members.
const WAITING: [ApiKey; 3] = [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup];

#[test]
fn any_bytes_are_answered_or_refused() {
    let cluster = Cluster::local(|_| {});
    let topic = TopicName(StrBytes::from_string(cluster.topic(1, &[])));
    let mut stream = connect(cluster.bootstrap());
    let announced = exchange(&mut stream, 0, &ApiVersionsRequest::default()).api_keys;
    let requests = prop_oneof![
        3 => headed(announced),
        2 => changed(sound_requests(&topic)),
        1 => proptest::collection::vec(any::<u8>(), 0..64),
    ];
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let answered = TestRunner::new(config).run(&requests, |request| {
        let key = request
            .first_chunk()
            .map(|key| i16::from_be_bytes(*key))
            .and_then(|key| ApiKey::try_from(key).ok());
        let may_wait = key.is_some_and(|key| WAITING.contains(&key));
        let limit = if may_wait {
            Duration::from_millis(20)
        } else {
            PATIENCE
        };
        let answer = cluster.answer(Bytes::from(request), limit);
        assert!(may_wait || answer.is_ok(), "no answer within {limit:?}");
        Ok(())
    });
    answered.unwrap();
    exchange(&mut stream, 0, &ApiVersionsRequest::default());
}

/// Requests that have a sound header and come from a source that knows how fields look.
fn headed(announced: Vec<ApiVersion>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        8 => Just(0u8),
        4 => 1..4u8,
        1 => Just(0xff),
        1 => any::<u8>(),
    ];
    let body = proptest::collection::vec(byte, 0..150);
    (select(announced), any::<Index>(), body).prop_map(|(api, version, body)| {
        let versions = usize::try_from(api.max_version - api.min_version + 1).unwrap();
        let version = api.min_version + i16::try_from(version.index(versions)).unwrap();
        // Correlation id 1, no client id.
        let rest: &[u8] = &[0, 0, 0, 1, 0xff, 0xff];
        let (key, version) = (api.api_key.to_be_bytes(), version.to_be_bytes());
        [&key, &version, rest, &body].concat()
    })
}

/// Sound requests with some bytes changed, and an end too few or too many.
fn changed(sound: Vec<Bytes>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6);
    (select(sound), changes, any::<Index>()).prop_map(|(frame, changes, length)| {
        let mut request = frame[4..].to_vec();
        for (at, byte) in changes {
            // The header is another strategy's.
            let at = 8 + at.index(request.len() - 8);
            request[at] = byte;
        }
        request.truncate(length.index(request.len() * 2));
        request
    })
}
