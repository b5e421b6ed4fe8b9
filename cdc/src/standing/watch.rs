//! Looks at the source every few seconds, beside capture: a slot fills its server's disk most
//! surely while capture does nothing.

use prometheus::Registry;
use service::postgres::Watch;

use super::metrics::Metrics;
use super::{Trail, look};
use crate::config::Config;

/// Runs until it is dropped.
///
/// # Errors
/// When `registry` has a metric of the same name already.
pub(crate) fn watch(config: &Config, registry: &Registry) -> Result<Watch, prometheus::Error> {
    let slot = config.slot.to_string();
    let metrics = Metrics::register(registry, &slot)?;
    let mut trail = Trail::default();
    Ok(Watch::start(
        config.source.clone(),
        "lockstep cdc watch",
        move |client| {
            let slot = slot.clone();
            Box::pin(async move { look(client, &slot).await })
        },
        move |standing| match standing {
            Some(standing) => {
                trail.note(&standing);
                metrics.show(&standing, &trail);
            }
            None => metrics.forget(),
        },
    ))
}
