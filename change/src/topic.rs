//! Names of topics.

use std::fmt::Write;
use std::str::FromStr;

use crate::TableName;

/// Kafka's limit (`org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH`).
const TOPIC_NAME_MAX: usize = 249;
/// The longest record: what topics are made with (`max.message.bytes`), and what producers send.
/// Changes need not come near it, see [`crate::envelope::Part`].
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The names of a pipeline's topics, all of which start with one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    #[error(
        "topic prefix {0:?} is not allowed: use 1 to 100 of the letters a-z, A-Z, 0-9, '_' and '-'"
    )]
    Prefix(String),
    /// Escaping makes a name of many characters outside ASCII up to six times longer.
    #[error(
        "the topic name of table {0} would be longer than Kafka's 249 characters: \
         rename the table or shorten the prefix"
    )]
    TooLong(TableName),
}

impl Topics {
    /// # Errors
    /// When a topic of that prefix would not be a legal Kafka name.
    pub fn new(prefix: impl Into<String>) -> Result<Self, TopicNameError> {
        let prefix = prefix.into();
        let legal = prefix
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !legal || prefix.is_empty() || prefix.len() > 100 {
            return Err(TopicNameError::Prefix(prefix));
        }
        Ok(Self { prefix })
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `<prefix>.<schema>.<table>`, one record per row change. Bytes that Kafka does not allow, and
    /// `-` and `.` themselves, stand as `-` and two hexadecimal digits, so that two tables never
    /// share a topic.
    ///
    /// # Errors
    /// When the name would be too long for Kafka.
    pub fn data(&self, table: &TableName) -> Result<String, TopicNameError> {
        let topic = format!(
            "{}.{}.{}",
            self.prefix,
            escaped(&table.schema),
            escaped(&table.name)
        );
        if topic.len() > TOPIC_NAME_MAX {
            return Err(TopicNameError::TooLong(table.clone()));
        }
        Ok(topic)
    }

    /// The table whose changes `topic` holds; `None` when it is no table's topic of this pipeline.
    pub fn table(&self, topic: &str) -> Option<TableName> {
        let names = topic.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        let (schema, name) = names.split_once('.')?;
        let table = TableName::new(unescaped(schema)?, unescaped(name)?);
        (self.data(&table).as_deref() == Ok(topic)).then_some(table)
    }

    /// One partition; one record per published batch of whole transactions.
    pub fn commits(&self) -> String {
        format!("{}.commits", self.prefix)
    }

    /// One partition; one record per change of a table's, an enum's or a schema's definition.
    pub fn schema_changes(&self) -> String {
        format!("{}.schema-changes", self.prefix)
    }

    /// One partition; one record per message of `pg_logical_emit_message`.
    pub fn messages(&self) -> String {
        format!("{}.messages", self.prefix)
    }

    /// Records that could not be applied.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.prefix)
    }
}

impl FromStr for Topics {
    type Err = TopicNameError;

    fn from_str(prefix: &str) -> Result<Self, TopicNameError> {
        Self::new(prefix)
    }
}

/// The subject of a topic's keys in the schema registry (TopicNameStrategy).
pub fn key_subject(topic: &str) -> String {
    format!("{topic}-key")
}

/// The subject of a topic's values in the schema registry (TopicNameStrategy).
pub fn value_subject(topic: &str) -> String {
    format!("{topic}-value")
}

fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            out.push(char::from(byte));
        } else {
            write!(out, "-{byte:02x}").expect("writing to a String cannot fail");
        }
    }
    out
}

fn unescaped(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut parts = name.split('-');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_never_share_a_topic() {
        let topics = Topics::new("shop").unwrap();
        let name = |schema, table| topics.data(&TableName::new(schema, table)).unwrap();
        assert_eq!(name("public", "articles"), "shop.public.articles");
        assert_eq!(name("a.b", "c"), "shop.a-2eb.c");
        assert_eq!(name("a", "b.c"), "shop.a.b-2ec");
        assert_eq!(
            name("public", "weird-näme"),
            "shop.public.weird-2dn-c3-a4me"
        );
    }

    #[test]
    fn a_topic_tells_its_table() {
        let topics = Topics::new("shop").unwrap();
        for (schema, name) in [("public", "articles"), ("a.b", "weird-näme"), ("-", "\"")] {
            let table = TableName::new(schema, name);
            let topic = topics.data(&table).unwrap();
            assert_eq!(topics.table(&topic), Some(table));
        }
        for other in [
            "shop.commits",
            "shop.dead-letters",
            "other.public.t",
            "shop.a.b.c",
            "shop.a-2.b",
            "shop.-61.b",
        ] {
            assert_eq!(topics.table(other), None, "{other}");
        }
    }

    #[test]
    fn what_kafka_would_refuse_is_refused_here() {
        assert!(Topics::new("a b").is_err());
        assert!(Topics::new("").is_err());
        let long = TableName::new("s", "ä".repeat(63));
        assert_eq!(
            Topics::new("p").unwrap().data(&long),
            Err(TopicNameError::TooLong(long.clone()))
        );
    }
}
