//! A message that somebody has written into the log by `pg_logical_emit_message`, as a record.
//!
//! The envelope is Debezium's for such messages: as of a change, with `message` in the place of the
//! rows, and `m` as its `op`. The key is the message's prefix.

use serde_json::json;

use super::record::{
    Head, RecordError, read_head, read_images, read_names, read_rest, read_source,
};
use super::schema::{lockstep, source, transaction};
use crate::avro::Reader;

/// Debezium's `op` code of a message.
pub const MESSAGE_OP: &str = "m";

/// How the prefixes of the pipeline's own messages begin, which are in no topic.
const OWN_PREFIX: &str = "lockstep.";

/// Whether messages of this prefix are the pipeline's own.
pub fn is_own_message(prefix: &str) -> bool {
    prefix.starts_with(OWN_PREFIX)
}

/// All that a message's record says.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub head: Head,
    pub prefix: String,
    pub content: Vec<u8>,
    /// None when it is of no transaction.
    pub xid: Option<i64>,
}

/// The schema of messages, as JSON text.
pub fn message_schema() -> String {
    let message = json!({
        "type": "record",
        "name": "Message",
        "fields": [{"name": "prefix", "type": "string"}, {"name": "content", "type": "bytes"}]
    });
    json!({
        "type": "record",
        "name": "MessageEnvelope",
        "namespace": "lockstep",
        "fields": [
            {"name": "lockstep", "type": lockstep()},
            {"name": "op", "type": "string"},
            {"name": "message", "type": message},
            {"name": "source", "type": source()},
            {"name": "ts_ms", "type": ["null", "long"], "default": null},
            {"name": "transaction", "type": ["null", transaction()], "default": null}
        ]
    })
    .to_string()
}

/// The schema of their keys, which are read as those of tables are.
pub fn message_key_schema() -> String {
    json!({
        "type": "record",
        "name": "MessageKey",
        "namespace": "lockstep",
        "fields": [{
            "name": "prefix", "type": "string",
            "pgName": "prefix", "pgType": "text", "pgMapping": "text"
        }]
    })
    .to_string()
}

impl Message {
    /// Reads a datum of [`message_schema`].
    ///
    /// # Errors
    /// When it is no such datum.
    pub fn read(datum: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(datum);
        let head = read_head(&mut reader)?;
        read_names(&mut reader)?;
        read_images(&mut reader)?;
        read_images(&mut reader)?;
        let _op = reader.str()?;
        let prefix = reader.str()?.to_owned();
        let content = reader.bytes()?.to_vec();
        let (_, xid) = read_source(&mut reader)?;
        read_rest(&mut reader)?;
        reader.finish()?;
        Ok(Self {
            head,
            prefix,
            content,
            xid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::key_columns;

    #[test]
    fn schemas_are_avro() {
        for schema in [message_schema(), message_key_schema()] {
            apache_avro::Schema::parse_str(&schema).unwrap();
        }
    }

    #[test]
    fn keys_are_read_as_those_of_tables() {
        let key = key_columns(&message_key_schema()).unwrap();
        assert_eq!(key.columns.len(), 1);
        assert_eq!(key.columns[0].0.name, "prefix");
    }

    #[test]
    fn only_our_own_prefixes_are_our_own() {
        assert!(is_own_message("lockstep.heartbeat"));
        assert!(!is_own_message("lockstep"));
        assert!(!is_own_message("audit.lockstep."));
    }
}
