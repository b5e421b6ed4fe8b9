//! The local Kafka broker as a stock client (librdkafka) sees it.
//!
//! With `TEST_KAFKA_BOOTSTRAP=host:port` the same tests run against that cluster instead.

mod cluster;
mod records;
