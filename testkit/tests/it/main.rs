//! The testkit's Kafka, whichever it is, as tests use it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, not in what they share"
)]

mod browser;

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use testkit::{kafka, name};

#[tokio::test]
async fn tests_share_a_broker_and_have_topics_of_their_own() {
    let (first, second) = (name::unique(), name::unique());
    for topic in [&first, &second] {
        create(kafka::bootstrap().await, topic).await;
        produce(kafka::bootstrap().await, topic, topic).await;
    }
    assert_eq!(read_first(kafka::bootstrap().await, &second).await, second);
    assert_eq!(read_first(kafka::bootstrap().await, &first).await, first);
}

#[tokio::test]
async fn a_killed_broker_comes_back_at_its_address_with_its_records() {
    let server = kafka::Server::start().await;
    create(server.bootstrap(), "kept").await;
    produce(server.bootstrap(), "kept", "record").await;
    server.kill().await;
    tokio::net::TcpStream::connect(server.bootstrap())
        .await
        .unwrap_err();
    server.restart().await;
    assert_eq!(read_first(server.bootstrap(), "kept").await, "record");
}

async fn create(bootstrap: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap).create().unwrap();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let results = admin
        .create_topics([&new], &AdminOptions::new())
        .await
        .unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn produce(bootstrap: &str, topic: &str, payload: &str) {
    let producer: FutureProducer = client(bootstrap).set("acks", "all").create().unwrap();
    let record = FutureRecord::<str, str>::to(topic).payload(payload);
    producer
        .send(record, Duration::from_secs(30))
        .await
        .unwrap();
}

async fn read_first(bootstrap: &str, topic: &str) -> String {
    let (config, topic) = (client(bootstrap), topic.to_owned());
    let read = move || {
        let mut start = TopicPartitionList::new();
        start
            .add_partition_offset(&topic, 0, Offset::Beginning)
            .unwrap();
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.assign(&start).unwrap();
        let message = consumer.poll(Duration::from_secs(30)).unwrap().unwrap();
        String::from_utf8(message.payload().unwrap().to_vec()).unwrap()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // A consumer must have a group, though none is used.
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "test")
        .set("log_level", "0");
    config
}
