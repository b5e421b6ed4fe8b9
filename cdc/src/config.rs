//! The settings of capture.

use std::path::PathBuf;
use std::time::Duration;

use change::topic::{RECORD_BYTES_MAX, Topics};
use service::KafkaOption;
use service::postgres::Dsn;

use crate::source::SlotName;

/// The settings of capture.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Source database (DB1): a libpq URL or keywords, for a role with REPLICATION and SELECT.
    #[arg(long, env = "LOCKSTEP_SOURCE", value_name = "DSN")]
    pub source: Dsn,
    /// Kafka brokers to start from, host:port separated by commas.
    #[arg(
        long,
        env = "LOCKSTEP_KAFKA",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    pub kafka: String,
    /// A setting for the Kafka client, as librdkafka names it (security.protocol=SASL_SSL); repeatable.
    #[arg(
        long,
        env = "LOCKSTEP_KAFKA_OPTION",
        value_name = "KEY=VALUE",
        value_delimiter = ';'
    )]
    pub kafka_option: Vec<KafkaOption>,
    /// Schema registry, path included.
    #[arg(
        long,
        env = "LOCKSTEP_REGISTRY",
        value_name = "URL",
        default_value = "http://127.0.0.1:8081"
    )]
    pub registry: String,
    /// Name of the pipeline, which is what all its topics' names start with.
    #[arg(long, env = "LOCKSTEP_PREFIX", default_value = "lockstep")]
    pub prefix: Topics,
    /// Replication slot; made when missing.
    #[arg(long, env = "LOCKSTEP_SLOT", default_value = "lockstep")]
    pub slot: SlotName,
    /// Publication; made for all tables when missing.
    #[arg(long, env = "LOCKSTEP_PUBLICATION", default_value = "lockstep")]
    pub publication: String,
    /// Directory for transactions that are still in progress on the source; emptied at start.
    #[arg(
        long,
        env = "LOCKSTEP_SPOOL_DIR",
        value_name = "DIR",
        default_value = ".lockstep/spool"
    )]
    pub spool_dir: PathBuf,
    /// Partitions of a table's topic when it is made.
    #[arg(long, env = "LOCKSTEP_PARTITIONS", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Copies of each topic when it is made.
    #[arg(long, env = "LOCKSTEP_REPLICATION_FACTOR", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=9))]
    pub replication_factor: i32,
    /// How long topics keep records: the window for replay, in hours.
    #[arg(long, env = "LOCKSTEP_RETENTION_HOURS", value_name = "HOURS", default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..))]
    pub retention_hours: u32,
    /// Bytes of a change's record at most, no more than its topic's max.message.bytes.
    #[arg(long, env = "LOCKSTEP_RECORD_BYTES_MAX", value_name = "BYTES", default_value_t = 4_194_304, value_parser = record_bytes)]
    pub record_bytes_max: usize,
    /// What becomes of changes whose record would be longer.
    #[arg(
        long,
        env = "LOCKSTEP_LARGE_RECORDS",
        value_enum,
        default_value_t = LargeRecords::Split
    )]
    pub large_records: LargeRecords,
    /// Connections that read tables at once during the first snapshot.
    #[arg(long, env = "LOCKSTEP_SNAPSHOT_READERS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub snapshot_readers: u16,
    /// The source's timeline, after a failover to a server that has all that was captured.
    #[arg(long, env = "LOCKSTEP_ACCEPT_TIMELINE", value_name = "TIMELINE")]
    pub accept_timeline: Option<u32>,
    /// Seconds without a change after which the source is asked for a sign of life.
    #[arg(long, env = "LOCKSTEP_HEARTBEAT_SECONDS", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub heartbeat_seconds: Duration,
}

/// What becomes of changes whose record would be too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LargeRecords {
    /// Their record travels in parts, which apply joins.
    Split,
    /// Capture stops before it, and names the row.
    Refuse,
}

fn record_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ RECORD_BYTES_MIN..=RECORD_BYTES_MAX) => Ok(bytes),
        _ => Err(format!(
            "expected {RECORD_BYTES_MIN} to {RECORD_BYTES_MAX} bytes"
        )),
    }
}

const RECORD_BYTES_MIN: usize = 64 * 1024;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1 to 86400 seconds".to_owned()),
    }
}
