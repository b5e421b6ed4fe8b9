//! Settings that are handed on to a Kafka client.

use std::fmt;
use std::str::FromStr;

/// One of them, as librdkafka names it: `security.protocol=SASL_SSL`.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaOption {
    pub key: String,
    pub value: String,
}

/// The value may be a password.
impl fmt::Debug for KafkaOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.key)
    }
}

/// The text has no `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected key=value")]
pub struct KafkaOptionError;

impl FromStr for KafkaOption {
    type Err = KafkaOptionError;

    fn from_str(text: &str) -> Result<Self, KafkaOptionError> {
        let (key, value) = text.split_once('=').ok_or(KafkaOptionError)?;
        Ok(Self {
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_what_follows_the_first_sign_and_is_never_shown() {
        let option: KafkaOption = "sasl.password = a=b".parse().unwrap();
        assert_eq!(
            (option.key.as_str(), option.value.as_str()),
            ("sasl.password", "a=b")
        );
        assert_eq!(format!("{option:?}"), "sasl.password=***");
        assert_eq!("acks".parse::<KafkaOption>(), Err(KafkaOptionError));
    }
}
