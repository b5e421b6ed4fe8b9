//! The broker's own settings, as Kafka names them, for who asks what they are.

use std::net::SocketAddr;
use std::path::Path;

use super::cluster::NODE_ID;
use super::config::Config;
use super::topic_settings::{NOT_NEGATIVE_INT, Rule, SETTINGS};

/// One of Kafka's broker settings.
#[derive(Debug)]
pub(super) struct BrokerSetting {
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    pub(super) value: String,
    /// What it is where nobody has set it.
    pub(super) default: String,
    pub(super) documentation: &'static str,
}

/// All of them: those that are the defaults of topics, and those of the broker alone.
pub(super) fn broker_settings(config: &Config, address: SocketAddr) -> Vec<BrokerSetting> {
    let unset = Config::new(Path::new(""));
    let of_topics = SETTINGS.iter().map(|setting| BrokerSetting {
        name: setting.broker_name,
        rule: setting.rule,
        value: setting.default(config),
        default: setting.default(&unset),
        documentation: setting.documentation,
    });
    let mut all: Vec<_> = of_topics
        .filter(|setting| !setting.name.ends_with(".throttled.replicas"))
        .chain(numbers(config, &unset))
        .chain(texts(config, address))
        .collect();
    all.sort_by_key(|setting| setting.name);
    all
}

fn numbers(config: &Config, unset: &Config) -> Vec<BrokerSetting> {
    let number = |name, of: &dyn Fn(&Config) -> String, documentation| BrokerSetting {
        name,
        rule: NOT_NEGATIVE_INT,
        value: of(config),
        default: of(unset),
        documentation,
    };
    vec![
        BrokerSetting {
            name: "auto.create.topics.enable",
            rule: Rule::Boolean,
            value: config.auto_create_topics.to_string(),
            default: unset.auto_create_topics.to_string(),
            documentation: "Whether a client's request for metadata may create the topics it names.",
        },
        number(
            "connections.max.idle.ms",
            &|config| config.connection_idle_max.as_millis().to_string(),
            "How long a client may say nothing until its connection is closed.",
        ),
        number(
            "default.replication.factor",
            &|_| "1".to_owned(),
            "How many replicas a topic has whose creator does not say.",
        ),
        number(
            "group.initial.rebalance.delay.ms",
            &|config| config.group_initial_delay.as_millis().to_string(),
            "How long a new consumer group waits for more members.",
        ),
        number(
            "log.cleaner.backoff.ms",
            &|config| config.compaction_interval.as_millis().to_string(),
            "How often compacted topics are looked at.",
        ),
        number(
            "log.retention.check.interval.ms",
            &|config| config.retention_interval.as_millis().to_string(),
            "How often retention is enforced.",
        ),
        number(
            "max.connections",
            &|config| config.connections_max.to_string(),
            "How many connections are served at one time.",
        ),
        number(
            "num.partitions",
            &|config| config.default_partitions.to_string(),
            "How many partitions a topic has whose creator does not say.",
        ),
        number(
            "socket.request.max.bytes",
            &|config| config.request_bytes_max.to_string(),
            "The longest request that is taken.",
        ),
    ]
}

fn texts(config: &Config, address: SocketAddr) -> Vec<BrokerSetting> {
    let text = |name, value: String, documentation| BrokerSetting {
        name,
        rule: Rule::AnyText,
        value,
        default: String::new(),
        documentation,
    };
    let listener = format!("PLAINTEXT://{address}");
    vec![
        text(
            "node.id",
            NODE_ID.0.to_string(),
            "The number of the broker.",
        ),
        text(
            "broker.id",
            NODE_ID.0.to_string(),
            "The number of the broker.",
        ),
        text("listeners", listener.clone(), "Where the broker listens."),
        text(
            "advertised.listeners",
            listener,
            "Where clients are told to connect.",
        ),
        text(
            "log.dirs",
            config.data_dir.display().to_string(),
            "Where everything is kept.",
        ),
    ]
}
