//! Where changes come from.

use change::topic::Topics;
use service::KafkaOption;

/// Where changes come from.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Kafka brokers to start from, host:port separated by commas; without them there are no
    /// subscriptions
    #[arg(long, env = "LOCKSTEP_KAFKA", value_name = "HOST:PORT")]
    pub kafka: Option<String>,

    /// A setting for the Kafka client, as librdkafka names it (security.protocol=SASL_SSL); repeatable
    #[arg(
        long,
        env = "LOCKSTEP_KAFKA_OPTION",
        value_name = "KEY=VALUE",
        value_delimiter = ';'
    )]
    pub kafka_option: Vec<KafkaOption>,

    /// Schema registry, path included
    #[arg(
        long,
        env = "LOCKSTEP_REGISTRY",
        value_name = "URL",
        default_value = "http://127.0.0.1:8081"
    )]
    pub registry: String,

    /// What the names of the pipeline's topics start with
    #[arg(long, env = "LOCKSTEP_PREFIX", default_value = "lockstep")]
    pub prefix: Topics,
}
