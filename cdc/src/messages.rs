//! Messages that somebody writes into the log by `pg_logical_emit_message`: to a topic of their own.
//!
//! A transactional one has its place among the changes of its transaction. Any other is sent where it
//! stands in the log, whatever becomes of its writer's transaction, and counts as a transaction of its
//! own, at the last byte of its record: no commit's record begins there, and it rises with theirs.

use change::avro;
use change::envelope::{message_key_schema, message_schema};
use change::framing::{SchemaId, write_header};
use change::topic::{key_subject, value_subject};

use crate::capture::Capture;
use crate::config::Config;
use crate::error::Error;
use crate::registry::Registry;
use crate::transaction::{Collection, Novelty};
use crate::wire::PgTimestamp;
use crate::wire::pgoutput::LogicalMessage;

/// The topic, and what its records are written with.
pub(crate) struct Messages {
    topic: String,
    key: SchemaId,
    value: SchemaId,
}

impl Messages {
    /// # Errors
    /// When the registry is away or refuses.
    pub(crate) async fn open(config: &Config, registry: &Registry) -> Result<Self, Error> {
        let topic = config.prefix.messages();
        let (key, value) = (message_key_schema(), message_schema());
        Ok(Self {
            key: registry.register(&key_subject(&topic), &key).await?,
            value: registry.register(&value_subject(&topic), &value).await?,
            topic,
        })
    }

    fn key(&self, prefix: &str) -> Vec<u8> {
        let mut key = Vec::new();
        write_header(&mut key, self.key);
        avro::write_str(&mut key, prefix);
        key
    }
}

impl Capture {
    /// Publishes a message of the transaction that is open.
    pub(crate) async fn message(&mut self, message: &LogicalMessage<'_>) -> Result<(), Error> {
        let Some(transaction) = &mut self.transaction else {
            return Err(self.out_of_order("transactional message"));
        };
        if transaction.novelty() == Novelty::Repeated {
            return Ok(());
        }
        let commit_lsn = transaction.commit_lsn();
        let time_ms = transaction.commit_time_ms();
        let meta = transaction.next_record(self.epoch, Collection::Messages);
        let key = self.messages.key(message.prefix);
        let schema = self.messages.value;
        let record = self.encoder.message(schema, &key, message, &meta);
        let record = record.map_err(|source| Error::Encode { commit_lsn, source })?;
        let topic = self.messages.topic.clone();
        self.send(&topic, &record, meta.head(), time_ms).await
    }

    /// Publishes a message that is of no transaction. The log does not say when it was written.
    pub(crate) async fn message_alone(
        &mut self,
        message: &LogicalMessage<'_>,
        sent_at: PgTimestamp,
    ) -> Result<(), Error> {
        if self.transaction.is_some() {
            return Err(self.out_of_order("message of no transaction"));
        }
        self.open(None, message.lsn.just_before(), sent_at);
        self.message(message).await?;
        self.commit(message.lsn);
        Ok(())
    }
}
