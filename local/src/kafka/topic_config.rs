//! The settings of a topic: which exist, what they mean here, and what they are when not set.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kafka::config::Config;

/// The settings of one topic: what was set, and the meaning of it with the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicConfig {
    pub(super) set: BTreeMap<String, String>,
    pub(super) max_message_bytes: usize,
    /// `None` keeps records for ever.
    pub(super) retention: Option<Duration>,
    pub(super) retention_bytes: Option<u64>,
    pub(super) segment_bytes: u64,
    pub(super) segment_ms: i64,
    pub(super) cleanup: Cleanup,
    pub(super) timestamp_type: TimestampType,
    pub(super) timestamp_after_max_ms: i64,
    pub(super) min_insync_replicas: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleanup {
    Delete,
    Compact,
    CompactAndDelete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("unknown topic setting {0}")]
    Unknown(String),
    #[error("topic setting {name} must be {rule}")]
    Invalid { name: String, rule: &'static str },
}

impl TopicConfig {
    pub(super) fn new(set: BTreeMap<String, String>, broker: &Config) -> Result<Self, ConfigError> {
        for (name, value) in &set {
            let setting = Setting::named(name).ok_or_else(|| ConfigError::Unknown(name.clone()))?;
            setting
                .rule
                .check(value)
                .map_err(|rule| ConfigError::Invalid {
                    name: name.clone(),
                    rule,
                })?;
        }
        let number =
            |name: &str| -> i64 { effective(&set, name, broker).parse().unwrap_or_default() };
        Ok(Self {
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or_default(),
            retention: u64::try_from(number("retention.ms"))
                .ok()
                .map(Duration::from_millis),
            retention_bytes: u64::try_from(number("retention.bytes")).ok(),
            segment_bytes: u64::try_from(number("segment.bytes")).unwrap_or_default(),
            segment_ms: number("segment.ms"),
            cleanup: Cleanup::parse(&effective(&set, "cleanup.policy", broker)),
            timestamp_type: match effective(&set, "message.timestamp.type", broker).as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            min_insync_replicas: number("min.insync.replicas"),
            set,
        })
    }

    /// Whether old segments are removed.
    pub(super) fn deletes(&self) -> bool {
        match self.cleanup {
            Cleanup::Delete | Cleanup::CompactAndDelete => true,
            Cleanup::Compact => false,
        }
    }

    /// Every setting with its value, and whether it was set for this topic.
    pub(super) fn describe(&self, broker: &Config) -> Vec<Described> {
        let described = SETTINGS.iter().map(|setting| {
            let default = setting.default(broker);
            let set = self.set.get(setting.name);
            Described {
                setting,
                value: set.cloned().unwrap_or_else(|| default.clone()),
                is_default: set.is_none(),
                default,
            }
        });
        described.collect()
    }
}

/// One line of a topic's description.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) setting: &'static Setting,
    pub(super) value: String,
    pub(super) is_default: bool,
    pub(super) default: String,
}

impl Cleanup {
    fn parse(value: &str) -> Self {
        let has = |policy| value.split(',').any(|part| part.trim() == policy);
        match (has("compact"), has("delete")) {
            (true, true) => Self::CompactAndDelete,
            (true, false) => Self::Compact,
            (false, _) => Self::Delete,
        }
    }
}

fn effective(set: &BTreeMap<String, String>, name: &str, broker: &Config) -> String {
    let default = || Setting::named(name).map(|setting| setting.default(broker));
    set.get(name).cloned().or_else(default).unwrap_or_default()
}

/// One of Kafka's topic settings.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    default: Default,
}

impl Setting {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    fn default(&self, broker: &Config) -> String {
        match self.default {
            Default::Fixed(value) => value.to_owned(),
            Default::Retention => broker.default_retention.as_millis().to_string(),
            Default::MessageBytes => broker.default_max_message_bytes.to_string(),
            Default::SegmentBytes => broker.default_segment_bytes.to_string(),
        }
    }
}

/// Which values a setting takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    Boolean,
    Int {
        min: i64,
        text: &'static str,
    },
    Long {
        min: i64,
        text: &'static str,
    },
    Ratio,
    OneOf {
        values: &'static [&'static str],
        text: &'static str,
    },
    ListOf {
        values: &'static [&'static str],
        text: &'static str,
    },
    Any,
}

impl Rule {
    fn check(self, value: &str) -> Result<(), &'static str> {
        let number = |min: i64, max: i64| {
            value
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number))
        };
        let (holds, text) = match self {
            Self::Boolean => (matches!(value, "true" | "false"), "true or false"),
            Self::Int { min, text } => (number(min, i64::from(i32::MAX)), text),
            Self::Long { min, text } => (number(min, i64::MAX), text),
            Self::Ratio => {
                let ratio = value.parse::<f64>();
                (
                    ratio.is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)),
                    "between 0 and 1",
                )
            }
            Self::OneOf { values, text } => (values.contains(&value), text),
            Self::ListOf { values, text } => (
                value.split(',').all(|part| values.contains(&part.trim())),
                text,
            ),
            Self::Any => (true, ""),
        };
        if holds { Ok(()) } else { Err(text) }
    }
}

#[derive(Debug, Clone, Copy)]
enum Default {
    Fixed(&'static str),
    Retention,
    MessageBytes,
    SegmentBytes,
}

const NOT_NEGATIVE_INT: Rule = Rule::Int {
    min: 0,
    text: "a number from 0 to 2147483647",
};
const NOT_NEGATIVE_LONG: Rule = Rule::Long {
    min: 0,
    text: "a number, 0 or more",
};
const MINUS_ONE_OR_MORE: Rule = Rule::Long {
    min: -1,
    text: "a number, -1 or more",
};
const POSITIVE_LONG: Rule = Rule::Long {
    min: 1,
    text: "a number, 1 or more",
};
const LONG_MAX: &str = "9223372036854775807";

const fn setting(name: &'static str, rule: Rule, default: &'static str) -> Setting {
    Setting {
        name,
        rule,
        default: Default::Fixed(default),
    }
}

const SETTINGS: &[Setting] = &[
    setting(
        "cleanup.policy",
        Rule::ListOf {
            values: &["compact", "delete"],
            text: "compact, delete or both",
        },
        "delete",
    ),
    setting(
        "compression.type",
        Rule::OneOf {
            values: &["producer"],
            text: "producer: this broker stores batches as they arrive",
        },
        "producer",
    ),
    setting("delete.retention.ms", NOT_NEGATIVE_LONG, "86400000"),
    setting("file.delete.delay.ms", NOT_NEGATIVE_LONG, "60000"),
    setting("flush.messages", POSITIVE_LONG, LONG_MAX),
    setting("flush.ms", NOT_NEGATIVE_LONG, LONG_MAX),
    setting("index.interval.bytes", NOT_NEGATIVE_INT, "4096"),
    setting("max.compaction.lag.ms", POSITIVE_LONG, LONG_MAX),
    Setting {
        name: "max.message.bytes",
        rule: NOT_NEGATIVE_INT,
        default: Default::MessageBytes,
    },
    setting(
        "message.timestamp.after.max.ms",
        NOT_NEGATIVE_LONG,
        "3600000",
    ),
    setting(
        "message.timestamp.before.max.ms",
        NOT_NEGATIVE_LONG,
        LONG_MAX,
    ),
    setting(
        "message.timestamp.type",
        Rule::OneOf {
            values: &["CreateTime", "LogAppendTime"],
            text: "CreateTime or LogAppendTime",
        },
        "CreateTime",
    ),
    setting("min.cleanable.dirty.ratio", Rule::Ratio, "0.5"),
    setting("min.compaction.lag.ms", NOT_NEGATIVE_LONG, "0"),
    setting(
        "min.insync.replicas",
        Rule::Int {
            min: 1,
            text: "a number from 1 to 2147483647",
        },
        "1",
    ),
    setting("preallocate", Rule::Boolean, "false"),
    setting("retention.bytes", MINUS_ONE_OR_MORE, "-1"),
    Setting {
        name: "retention.ms",
        rule: MINUS_ONE_OR_MORE,
        default: Default::Retention,
    },
    Setting {
        name: "segment.bytes",
        rule: Rule::Int {
            min: 1 << 20,
            text: "a number from 1048576 to 2147483647",
        },
        default: Default::SegmentBytes,
    },
    setting(
        "segment.index.bytes",
        Rule::Int {
            min: 4,
            text: "a number from 4 to 2147483647",
        },
        "10485760",
    ),
    setting("segment.jitter.ms", NOT_NEGATIVE_LONG, "0"),
    setting("segment.ms", POSITIVE_LONG, "604800000"),
    setting("unclean.leader.election.enable", Rule::Boolean, "false"),
    setting("leader.replication.throttled.replicas", Rule::Any, ""),
    setting("follower.replication.throttled.replicas", Rule::Any, ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, holds: bool) {
        let set = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(
            TopicConfig::new(set, &Config::new("/")).is_ok(),
            holds,
            "{name}={value}"
        );
    }

    #[test]
    fn values_are_checked_by_their_rules() {
        check("retention.ms", "-1", true);
        check("retention.ms", "-2", false);
        check("retention.ms", "soon", false);
        check("segment.bytes", "1048576", true);
        check("segment.bytes", "1048575", false);
        check("cleanup.policy", "compact,delete", true);
        check("cleanup.policy", "shred", false);
        check("compression.type", "producer", true);
        check("compression.type", "lz4", false);
        check("min.cleanable.dirty.ratio", "1.5", false);
        check("retention", "1", false);
    }

    #[test]
    fn every_default_keeps_its_own_rule() {
        let broker = Config::new("/");
        for setting in SETTINGS {
            let value = setting.default(&broker);
            assert_eq!(setting.rule.check(&value), Ok(()), "{}", setting.name);
        }
    }
}
