//! The local Kafka broker as a stock client (librdkafka) sees it.
//!
//! With `TEST_KAFKA_BOOTSTRAP=host:port` the tests that only need a cluster run against that one.
//!
//! These make tests longer than they usually are:
//!
//! | variable | usually | is |
//! |---|---|---|
//! | `TEST_KAFKA_KILLS` | 5 | how often the broker is killed under load |
//! | `TEST_KAFKA_POWER_LOSSES` | 2 | how often it loses its power under load |
//! | `TEST_KAFKA_LOG_MB` | 200 | the size of the log with which it starts |
//! | `TEST_KAFKA_ROUNDS` | 30 | thousands of batches over which its memory is watched |

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod administration_versions;
mod clients;
mod cluster;
mod compaction;
mod configs;
mod crash;
mod deletion;
mod documented;
mod durability;
mod epochs;
mod group_admin;
mod group_protocol;
mod groups;
mod hostile;
mod idempotence;
mod memory;
mod offsets;
mod records;
mod requests;
mod restart;
mod retention;
mod siege;
mod start;
mod tailing;
mod topics;
mod transaction_crash;
mod transaction_protocol;
mod transactions;
mod versions;
mod wire;
