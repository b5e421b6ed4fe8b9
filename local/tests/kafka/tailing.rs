use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::{Message, Offset};

use crate::cluster::Cluster;
use crate::records::{assign, next, send};

/// A broker that looked for records only now and then, or at the end of the wait, would need longer.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_waiting_fetch_is_answered_when_a_record_arrives() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let consumer = cluster.consumer(&[
        ("fetch.wait.max.ms", "30000"),
        ("socket.timeout.ms", "60000"),
    ]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    let producer = cluster.producer(&[]);
    for number in 0..50 {
        let started = Instant::now();
        send(&cluster, &producer, &topic, "k", b"v");
        assert_eq!(next(&consumer).offset(), number);
        assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    }
}

#[test]
fn a_fetch_waits_for_as_many_bytes_as_it_asks_for() {
    let cluster = Cluster::start();
    let topic = cluster.topic(1, &[]);
    let wait = Duration::from_secs(2);
    let consumer = cluster.consumer(&[
        ("fetch.wait.max.ms", "2000"),
        ("fetch.min.bytes", "50000"),
        ("fetch.error.backoff.ms", "0"),
    ]);
    let producer = cluster.producer(&[]);
    send(&cluster, &producer, &topic, "k", b"small");
    let started = Instant::now();
    assign(&consumer, &topic, 0, Offset::Beginning);
    // Too little: it comes when the wait is over.
    assert_eq!(next(&consumer).offset(), 0);
    assert!(started.elapsed() >= wait, "{:?}", started.elapsed());
    consumer.unassign().unwrap();
    // Enough: it comes before.
    send(&cluster, &producer, &topic, "k", &[b'x'; 60_000]);
    let consumer = cluster.consumer(&[
        ("fetch.wait.max.ms", "30000"),
        ("socket.timeout.ms", "60000"),
        ("fetch.min.bytes", "50000"),
    ]);
    let started = Instant::now();
    assign(&consumer, &topic, 0, Offset::Beginning);
    assert_eq!(next(&consumer).offset(), 0);
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}
