//! What the gateway counts and times.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use service::http::RequestMetrics;

use crate::http::Method;

/// Clones share the same numbers.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: RequestMetrics,
    operations: IntCounterVec,
    errors: IntCounterVec,
    upstream: IntCounterVec,
    circuits: IntGaugeVec,
    fallbacks: IntCounter,
    sockets: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let circuits = Opts::new(
            "upstream_circuit_open",
            "1 while calls of a REST API are held back after failures.",
        );
        Ok(Self {
            requests: RequestMetrics::register(registry)?,
            operations: counter(
                "graphql_operations_total",
                "Operations by type and outcome.",
                &["type", "outcome"],
            )?,
            errors: counter(
                "graphql_errors_total",
                "Errors in answers, by code.",
                &["code"],
            )?,
            upstream: counter(
                "upstream_requests_total",
                "Calls of the REST APIs.",
                &["upstream", "outcome"],
            )?,
            circuits: registered(registry, IntGaugeVec::new(circuits, &["upstream"])?)?,
            fallbacks: registered(
                registry,
                IntCounter::new(
                    "replica_fallbacks_total",
                    "Reads that the primary answered because the replica did not.",
                )?,
            )?,
            sockets: registered(
                registry,
                IntGauge::new("websocket_connections", "Open WebSockets.")?,
            )?,
        })
    }

    pub(crate) fn answered(&self, route: &str, method: &Method, status: u16, elapsed: Duration) {
        self.requests.answered(route, method, status, elapsed);
    }

    pub(crate) fn operated(&self, operation: &str, outcome: &str) {
        self.operations
            .with_label_values(&[operation, outcome])
            .inc();
    }

    /// `code` is one of ours.
    pub(crate) fn erred(&self, code: &str) {
        self.errors.with_label_values(&[code]).inc();
    }

    pub(crate) fn called(&self, upstream: &str, outcome: &str) {
        self.upstream.with_label_values(&[upstream, outcome]).inc();
    }

    pub(crate) fn circuit(&self, upstream: &str, closed: bool) {
        let open = i64::from(!closed);
        self.circuits.with_label_values(&[upstream]).set(open);
    }

    pub(crate) fn fell_back(&self) {
        self.fallbacks.inc();
    }

    pub(crate) fn sockets(&self) -> &IntGauge {
        &self.sockets
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
