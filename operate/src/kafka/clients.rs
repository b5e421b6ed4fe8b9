//! Clients, kept for the next question: a new one takes tenths of a second to be connected.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use service::KafkaOption;
use tokio::sync::OnceCell;

use crate::endpoints::Endpoints;

pub(super) struct Clients {
    config: ClientConfig,
    /// Without assignment.
    idle: Mutex<Vec<BaseConsumer>>,
    admin: OnceCell<AdminClient<DefaultClientContext>>,
}

/// More are not kept.
const IDLE_MAX: usize = 4;

impl Clients {
    pub(super) fn new(endpoints: &Endpoints) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &endpoints.kafka)
            .set("client.id", "lockstep")
            // As the applier calls its group. Nobody joins it here, and nothing is committed.
            .set("group.id", format!("{}-applier", endpoints.names.pipeline))
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            // Small questions, many of them: what is read ahead is thrown away.
            .set("queued.max.messages.kbytes", "4096")
            .set("max.partition.fetch.bytes", "262144")
            .set("fetch.max.bytes", "4194304")
            .set("fetch.wait.max.ms", "20")
            // Who asks does not wait long: a broker that is back is to be found at once.
            .set("reconnect.backoff.max.ms", "500")
            // What goes wrong is in the errors; the library would print it a second time.
            .set_log_level(RDKafkaLogLevel::Emerg);
        for KafkaOption { key, value } in &endpoints.kafka_options {
            config.set(key, value);
        }
        Self {
            config,
            idle: Mutex::default(),
            admin: OnceCell::new(),
        }
    }

    /// # Errors
    /// When the settings are none of Kafka's.
    pub(super) fn consumer(self: &Arc<Self>) -> anyhow::Result<Lease> {
        let idle = self.idle().pop();
        let consumer = match idle {
            Some(consumer) => consumer,
            None => self.config.create().context("make a Kafka client")?,
        };
        Ok(Lease {
            consumer: Some(consumer),
            clients: Arc::clone(self),
        })
    }

    /// # Errors
    /// As [`Self::consumer`].
    pub(super) async fn admin(&self) -> anyhow::Result<&AdminClient<DefaultClientContext>> {
        let make = async || self.config.create().context("make a Kafka client");
        self.admin.get_or_try_init(make).await
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<BaseConsumer>> {
        // No code that holds it can panic half-way through a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer that nobody else uses meanwhile.
pub(super) struct Lease {
    /// There until it is dropped.
    consumer: Option<BaseConsumer>,
    clients: Arc<Clients>,
}

impl Deref for Lease {
    type Target = BaseConsumer;

    fn deref(&self) -> &BaseConsumer {
        self.consumer.as_ref().expect("not dropped yet")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else {
            return;
        };
        if consumer.unassign().is_err() {
            return;
        }
        let mut idle = self.clients.idle();
        if idle.len() < IDLE_MAX {
            idle.push(consumer);
        }
    }
}
