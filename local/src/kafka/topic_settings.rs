//! Which settings a topic has, which values they take, and what they are when not set.
//!
//! Names and defaults follow Apache Kafka 4.1 (`TopicConfig`, `LogConfig`, `ServerTopicConfigSynonyms`).

use super::config::Config;

/// One of Kafka's topic settings.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// The broker's setting that is the default of this one.
    pub(super) broker_name: &'static str,
    pub(super) rule: Rule,
    default: Default,
    pub(super) documentation: &'static str,
}

impl Setting {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    pub(super) fn default(&self, broker: &Config) -> String {
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
    AnyList,
    AnyText,
}

impl Rule {
    pub(super) fn check(self, value: &str) -> Result<(), &'static str> {
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
            Self::AnyList | Self::AnyText => (true, ""),
        };
        if holds { Ok(()) } else { Err(text) }
    }

    /// Whether values can be added to it and taken from it.
    pub(super) fn is_list(self) -> bool {
        match self {
            Self::ListOf { .. } | Self::AnyList => true,
            Self::Boolean
            | Self::Int { .. }
            | Self::Long { .. }
            | Self::Ratio
            | Self::OneOf { .. }
            | Self::AnyText => false,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Default {
    Fixed(&'static str),
    Retention,
    MessageBytes,
    SegmentBytes,
}

pub(super) const NOT_NEGATIVE_INT: Rule = Rule::Int {
    min: 0,
    text: "a number from 0 to 2147483647",
};
const POSITIVE_INT: Rule = Rule::Int {
    min: 1,
    text: "a number from 1 to 2147483647",
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
const POLICIES: Rule = Rule::ListOf {
    values: &["compact", "delete"],
    text: "compact, delete or both",
};
const COMPRESSIONS: Rule = Rule::OneOf {
    values: &["producer"],
    text: "producer: this broker stores batches as they arrive",
};
const TIMESTAMP_TYPES: Rule = Rule::OneOf {
    values: &["CreateTime", "LogAppendTime"],
    text: "CreateTime or LogAppendTime",
};
const SEGMENT_BYTES: Rule = Rule::Int {
    min: 1 << 20,
    text: "a number from 1048576 to 2147483647",
};
const INDEX_BYTES: Rule = Rule::Int {
    min: 4,
    text: "a number from 4 to 2147483647",
};
const LONG_MAX: &str = "9223372036854775807";

const fn setting(
    [name, broker_name]: [&'static str; 2],
    rule: Rule,
    default: Default,
    documentation: &'static str,
) -> Setting {
    Setting {
        name,
        broker_name,
        rule,
        default,
        documentation,
    }
}

use self::Default::Fixed;

/// All of them.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    setting(["cleanup.policy", "log.cleanup.policy"], POLICIES, Fixed("delete"),
        "What is done with old records: delete removes old segments, compact keeps the last record of each key."),
    setting(["compression.type", "compression.type"], COMPRESSIONS, Fixed("producer"),
        "How records are compressed on disk: as the producer has compressed them."),
    setting(["delete.retention.ms", "log.cleaner.delete.retention.ms"], NOT_NEGATIVE_LONG, Fixed("86400000"),
        "How long tombstones stay in a compacted topic, from when compaction first meets them."),
    setting(["file.delete.delay.ms", "log.segment.delete.delay.ms"], NOT_NEGATIVE_LONG, Fixed("60000"),
        "How long files of removed segments stay. They go at once here."),
    setting(["flush.messages", "log.flush.interval.messages"], POSITIVE_LONG, Fixed(LONG_MAX),
        "After how many records the log is forced to the disk. The broker's own policy acts here."),
    setting(["flush.ms", "log.flush.interval.ms"], NOT_NEGATIVE_LONG, Fixed(LONG_MAX),
        "After how long the log is forced to the disk. The broker's own policy acts here."),
    setting(["index.interval.bytes", "log.index.interval.bytes"], NOT_NEGATIVE_INT, Fixed("4096"),
        "How much of the log lies between two entries of its index. Fixed here."),
    setting(["max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"], POSITIVE_LONG, Fixed(LONG_MAX),
        "The age at which records of a compacted topic are compacted at the latest."),
    setting(["max.message.bytes", "message.max.bytes"], NOT_NEGATIVE_INT, Default::MessageBytes,
        "The largest record batch that is taken."),
    setting(["message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"], NOT_NEGATIVE_LONG, Fixed("3600000"),
        "How far in the future the timestamp of a record may lie."),
    setting(["message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"], NOT_NEGATIVE_LONG, Fixed(LONG_MAX),
        "How far in the past the timestamp of a record may lie. Not looked at here."),
    setting(["message.timestamp.type", "log.message.timestamp.type"], TIMESTAMP_TYPES, Fixed("CreateTime"),
        "Whether records carry the time of their creation or of their append."),
    setting(["min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"], Rule::Ratio, Fixed("0.5"),
        "How much of a compacted log must be new before it is compacted again."),
    setting(["min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"], NOT_NEGATIVE_LONG, Fixed("0"),
        "The age before which records are not compacted."),
    setting(["min.insync.replicas", "min.insync.replicas"], POSITIVE_INT, Fixed("1"),
        "How many replicas must have a record that a producer wants acknowledged by all."),
    setting(["preallocate", "log.preallocate"], Rule::Boolean, Fixed("false"),
        "Whether files have their full size from the start. Not done here."),
    setting(["retention.bytes", "log.retention.bytes"], MINUS_ONE_OR_MORE, Fixed("-1"),
        "How large a partition becomes before old segments are removed; -1 for no limit."),
    setting(["retention.ms", "log.retention.ms"], MINUS_ONE_OR_MORE, Default::Retention,
        "How old records become before their segments are removed; -1 for no limit."),
    setting(["segment.bytes", "log.segment.bytes"], SEGMENT_BYTES, Default::SegmentBytes,
        "How large a segment becomes before the next one is begun."),
    setting(["segment.index.bytes", "log.index.size.max.bytes"], INDEX_BYTES, Fixed("10485760"),
        "How large an index becomes. Not limited here."),
    setting(["segment.jitter.ms", "log.roll.jitter.ms"], NOT_NEGATIVE_LONG, Fixed("0"),
        "By how much segments are begun earlier, at random. Not done here."),
    setting(["segment.ms", "log.roll.ms"], POSITIVE_LONG, Fixed("604800000"),
        "How old a segment becomes before the next one is begun."),
    setting(["unclean.leader.election.enable", "unclean.leader.election.enable"], Rule::Boolean, Fixed("false"),
        "Whether a replica that lacks records may lead. There are no replicas here."),
    setting(["leader.replication.throttled.replicas", "leader.replication.throttled.replicas"], Rule::AnyList, Fixed(""),
        "Replicas whose replication is throttled where they are led. There are no replicas here."),
    setting(["follower.replication.throttled.replicas", "follower.replication.throttled.replicas"], Rule::AnyList, Fixed(""),
        "Replicas whose replication is throttled where they follow. There are no replicas here."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_keeps_its_own_rule() {
        let broker = Config::new("/");
        for setting in SETTINGS {
            let value = setting.default(&broker);
            assert_eq!(setting.rule.check(&value), Ok(()), "{}", setting.name);
        }
    }
}
