//! The settings of the applier.

use change::topic::Topics;
use service::KafkaOption;
use service::postgres::Dsn;

use crate::conflicts::Conflicts;
use crate::differences::Differences;
use crate::schema_change::SchemaChanges;

/// The settings of the applier.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Target database (DB2): a libpq URL or keywords.
    #[arg(long, env = "LOCKSTEP_TARGET", value_name = "DSN")]
    pub target: Dsn,
    /// Kafka brokers to start from, host:port separated by commas.
    #[arg(
        long,
        env = "LOCKSTEP_KAFKA",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    pub kafka: String,
    /// A setting for the Kafka client, as librdkafka names it (security.protocol=SASL_SSL);
    /// repeatable.
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
    /// What the names of the pipeline's topics start with.
    #[arg(long, env = "LOCKSTEP_PREFIX", default_value = "lockstep")]
    pub prefix: Topics,
    /// Name of the pipeline's progress on the target, and of its consumer group.
    #[arg(long, env = "LOCKSTEP_PIPELINE", default_value = "lockstep")]
    pub pipeline: String,
    /// Rows that are applied at once; a larger transaction is applied in several steps.
    #[arg(long, env = "LOCKSTEP_BATCH_ROWS", value_name = "ROWS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch_rows: u32,
    /// Megabytes of rows that are applied at once.
    #[arg(long, env = "LOCKSTEP_BATCH_MEGABYTES", value_name = "MB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub batch_megabytes: u32,
    /// Megabytes of records that are read ahead, whatever the number of partitions.
    #[arg(long, env = "LOCKSTEP_PREFETCH_MEGABYTES", value_name = "MB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub prefetch_megabytes: u32,
    #[command(flatten)]
    pub conflicts: Conflicts,
    #[command(flatten)]
    pub schema_changes: SchemaChanges,
    #[command(flatten)]
    pub differences: Differences,
}
