//! The settings of one topic: what was set, and what that means here.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::config::Config;
use super::topic_settings::{SETTINGS, Setting};

/// The settings of one topic: what was set, and the meaning of it with the defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TopicConfig {
    pub(super) set: BTreeMap<String, String>,
    pub(super) max_message_bytes: usize,
    /// `None` keeps records for ever.
    pub(super) retention: Option<Duration>,
    pub(super) retention_bytes: Option<u64>,
    pub(super) segment_bytes: u64,
    pub(super) segment_ms: i64,
    pub(super) cleanup: Cleanup,
    /// The part of the log that compaction has not seen must be more than this part of it.
    pub(super) min_cleanable_dirty_ratio: f64,
    /// Records younger than this are not compacted.
    pub(super) min_compaction_lag_ms: i64,
    /// Records older than this are compacted however few they are.
    pub(super) max_compaction_lag_ms: i64,
    /// How long tombstones stay after they are first met by compaction.
    pub(super) delete_retention_ms: i64,
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
    #[error("topic setting {0} is no list, so nothing is added to it or taken from it")]
    NotAList(String),
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
            min_cleanable_dirty_ratio: effective(&set, "min.cleanable.dirty.ratio", broker)
                .parse()
                .unwrap_or_default(),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            delete_retention_ms: number("delete.retention.ms"),
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

    /// Whether of the records with one key only the last stays.
    pub(super) fn compacts(&self) -> bool {
        match self.cleanup {
            Cleanup::Compact | Cleanup::CompactAndDelete => true,
            Cleanup::Delete => false,
        }
    }

    /// How old a segment becomes before the next one is begun: compaction needs it finished.
    pub(super) fn segment_age_max_ms(&self) -> i64 {
        if self.compacts() {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    /// Every setting with its value, and whether it was set for this topic.
    pub(super) fn describe(&self, broker: &Config) -> Vec<Described> {
        let unset = Config::new(Path::new(""));
        let describe = |setting: &'static Setting| {
            let (own, builtin) = (setting.default(broker), setting.default(&unset));
            let mut values = Vec::with_capacity(3);
            if let Some(set) = self.set.get(setting.name) {
                values.push((Origin::Topic, set.clone()));
            }
            if own != builtin {
                values.push((Origin::Broker, own));
            }
            values.push((Origin::Default, builtin));
            Described { setting, values }
        };
        SETTINGS.iter().map(describe).collect()
    }

    /// Does to what is set of a topic what a client asks for.
    pub(super) fn apply(
        set: &mut BTreeMap<String, String>,
        operations: BTreeMap<String, Operation>,
        broker: &Config,
    ) -> Result<(), ConfigError> {
        for (name, operation) in operations {
            let value = match operation {
                Operation::Delete => {
                    set.remove(&name);
                    continue;
                }
                Operation::Set(value) => value,
                Operation::Append(values) => {
                    let mut all = list(set, &name, broker)?;
                    for value in values.split(',') {
                        if !all.iter().any(|there| there == value) {
                            all.push(value.to_owned());
                        }
                    }
                    all.join(",")
                }
                Operation::Subtract(values) => {
                    let mut all = list(set, &name, broker)?;
                    all.retain(|there| values.split(',').all(|value| there != value));
                    all.join(",")
                }
            };
            set.insert(name, value);
        }
        Ok(())
    }
}

/// The values of a list, those by default where none are set.
fn list(
    set: &BTreeMap<String, String>,
    name: &str,
    broker: &Config,
) -> Result<Vec<String>, ConfigError> {
    if !Setting::named(name).is_some_and(|setting| setting.rule.is_list()) {
        return Err(ConfigError::NotAList(name.to_owned()));
    }
    let value = effective(set, name, broker);
    let values = value.split(',').map(str::trim);
    Ok(values
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
        .collect())
}

/// What is done to a setting (`AlterConfigOp`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    Set(String),
    /// Back to the default.
    Delete,
    /// Adds values to a list, those that it lacks.
    Append(String),
    /// Takes values from a list.
    Subtract(String),
}

/// Where a value of a setting stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Topic,
    /// The broker was started with it.
    Broker,
    Default,
}

/// One line of a topic's description.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) setting: &'static Setting,
    /// What it would be from each origin that says something; the first acts.
    pub(super) values: Vec<(Origin, String)>,
}

impl Described {
    pub(super) fn effective(&self) -> (String, Origin) {
        let (origin, value) = self
            .values
            .first()
            .expect("every setting has at least its default");
        (value.clone(), *origin)
    }
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
}
