use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How to run a broker. Only `data_dir` has no default.
#[derive(Debug, Clone)]
pub struct Config {
    /// Everything the broker keeps; created when missing, used by one process at a time.
    pub data_dir: PathBuf,
    /// A loopback address. Port 0 takes a free port; see [`Broker::addr`](super::Broker::addr).
    pub listen: SocketAddr,
    pub fsync: Fsync,
    /// Partitions of topics that are created without a number.
    pub default_partitions: i32,
    /// Whether a client's metadata request may create the topics it names.
    pub auto_create_topics: bool,
    /// `retention.ms` of topics that do not set it.
    pub default_retention: Duration,
    /// `max.message.bytes` of topics that do not set it.
    pub default_max_message_bytes: usize,
    /// `segment.bytes` of topics that do not set it.
    pub default_segment_bytes: u64,
    /// How often retention is enforced.
    pub retention_interval: Duration,
    /// How often compacted topics are looked at; Kafka's `log.cleaner.backoff.ms`.
    pub compaction_interval: Duration,
    /// Connections beyond this are closed as they arrive.
    pub connections_max: usize,
    /// A client that says nothing for so long is taken for gone, and its connection closed: its machine
    /// may have ended without a word. Kafka's `connections.max.idle.ms`.
    pub connection_idle_max: Duration,
    /// How long a large request may take to arrive, and a response to be taken.
    pub transfer_max: Duration,
    /// A longer request closes its connection.
    pub request_bytes_max: usize,
    /// `transaction.max.timeout.ms`: the longest time a producer may ask for its transactions.
    pub transaction_timeout_max: Duration,
    /// How long a new consumer group waits for more members before its first rebalance.
    pub group_initial_delay: Duration,
}

impl Config {
    /// The defaults, which are Apache Kafka's where it has the setting.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            fsync: Fsync::OperatingSystem,
            default_partitions: 1,
            auto_create_topics: true,
            default_retention: Duration::from_hours(7 * 24),
            default_max_message_bytes: 1_048_588,
            default_segment_bytes: 1 << 30,
            retention_interval: Duration::from_secs(30),
            compaction_interval: Duration::from_secs(15),
            connections_max: 500,
            connection_idle_max: Duration::from_mins(10),
            transfer_max: Duration::from_mins(1),
            request_bytes_max: 100 << 20,
            transaction_timeout_max: Duration::from_mins(15),
            group_initial_delay: Duration::from_millis(100),
        }
    }
}

/// When appended records are forced to the disk.
///
/// Every policy survives the end of the process at any moment: an acknowledged record has been
/// handed to the operating system. They differ in what a power failure may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// The operating system writes back when it likes, as Apache Kafka has it by default: a power
    /// failure may cost the last half minute or so.
    OperatingSystem,
    /// At least this often: a power failure costs no more than this time.
    Every(Duration),
    /// Before each answer: a power failure costs nothing acknowledged.
    EachRequest,
}
