//! What all requests share.

use std::env;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use operate::endpoints::Endpoints;
use operate::kafka::Kafka;
use operate::registry::Registry;
use operate::topics::Plans;

use crate::actions::Once;
use crate::config::Config;
use crate::link::Link;
use crate::live::Live;
use crate::replays::Replays;
use crate::sessions::Sessions;

pub(crate) struct Console {
    pub(crate) source: Link,
    pub(crate) target: Link,
    pub(crate) kafka: Kafka,
    pub(crate) endpoints: Endpoints,
    pub(crate) sessions: Sessions,
    pub(crate) live: Live,
    pub(crate) once: Once,
    pub(crate) replays: Arc<Replays>,
    pub(crate) started: SystemTime,
    /// With what was learnt of the schemas in it; a text says why there is none.
    registry: Result<(Registry, Plans), String>,
}

/// A page rather says that Kafka does not answer than wait for longer.
const KAFKA_LIMIT: Duration = Duration::from_secs(5);

impl Console {
    pub(crate) fn new(config: &Config, endpoints: Endpoints) -> Self {
        // As the command line does: whoever runs it acts as the system's user.
        let here = env::var("USER").unwrap_or_else(|_| "local".to_owned());
        Self {
            source: Link::new("source", endpoints.source.clone()),
            target: Link::new("target", endpoints.target.clone()),
            registry: Registry::new(&endpoints.registry)
                .map(|registry| (registry.clone(), Plans::new(registry)))
                .map_err(|error| format!("{error:#}")),
            kafka: Kafka::new(&endpoints, KAFKA_LIMIT),
            live: Live::new(endpoints.clone(), Duration::from_secs(config.max_lag)),
            endpoints,
            sessions: Sessions::new(config.console_user.clone(), &here),
            once: Once::default(),
            replays: Arc::default(),
            started: SystemTime::now(),
        }
    }

    /// # Errors
    /// When its URL is none.
    pub(crate) fn registry(&self) -> anyhow::Result<&Registry> {
        let known = self.registry.as_ref();
        known
            .map(|(registry, _)| registry)
            .map_err(|why| anyhow!("{why}"))
    }

    /// # Errors
    /// As [`Self::registry`].
    pub(crate) fn plans(&self) -> anyhow::Result<&Plans> {
        let known = self.registry.as_ref();
        known
            .map(|(_, plans)| plans)
            .map_err(|why| anyhow!("{why}"))
    }
}
