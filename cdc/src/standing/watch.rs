//! Looks at the source every few seconds, beside capture: a slot fills its server's disk most
//! surely while capture does nothing.

use std::time::Duration;

use prometheus::Registry;
use service::chain;
use service::postgres::{Connection, connect};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::metrics::Metrics;
use super::{Standing, Trail, look};
use crate::config::Config;

/// Ends when it is dropped.
pub(crate) struct Watch(JoinHandle<()>);

/// A third of the usual interval of a scrape.
const INTERVAL: Duration = Duration::from_secs(5);

impl Watch {
    /// # Errors
    /// When `registry` has a metric of the same name already.
    pub(crate) fn start(config: &Config, registry: &Registry) -> Result<Self, prometheus::Error> {
        let slot = config.slot.to_string();
        let metrics = Metrics::register(registry, &slot)?;
        let watcher = Watcher {
            config: config.clone(),
            slot,
            client: None,
        };
        Ok(Self(tokio::spawn(watcher.run(metrics))))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Watcher {
    config: Config,
    slot: String,
    client: Option<Connection>,
}

impl Watcher {
    async fn run(mut self, metrics: Metrics) {
        let mut trail = Trail::default();
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let looked = timeout(INTERVAL, self.look()).await;
            if let Ok(Some(standing)) = looked {
                trail.note(&standing);
                metrics.show(&standing, &trail);
            } else {
                self.client = None;
                metrics.forget();
            }
        }
    }

    /// Capture itself reports that the source is away, and why.
    async fn look(&mut self) -> Option<Standing> {
        let client = match self.client.take() {
            Some(client) => client,
            None => connect(&self.config.source, "lockstep cdc watch")
                .await
                .ok()?,
        };
        match look(&client, &self.slot).await {
            Ok(standing) => {
                self.client = Some(client);
                Some(standing)
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the source does not say how the slot is");
                None
            }
        }
    }
}
