//! How many requests are answered, how, and how fast: the same names in every HTTP service.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use warp::http::Method;

/// Clones share the same numbers.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
}

/// From a read of one row to the default time limit of a request.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl RequestMetrics {
    /// # Errors
    /// When `registry` has a metric of the same name already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labels = ["route", "method", "status"];
        let requests = Opts::new("http_requests_total", "Requests answered.");
        let duration = HistogramOpts::new(
            "http_request_duration_seconds",
            "Time from a request's header to its reply.",
        );
        let metrics = Self {
            requests: IntCounterVec::new(requests, &labels)?,
            duration: HistogramVec::new(duration.buckets(SECONDS.to_vec()), &labels)?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        Ok(metrics)
    }

    /// `route` is one of few: the path without what stands for something in it.
    pub fn answered(&self, route: &str, method: &Method, status: u16, elapsed: Duration) {
        let status = status.to_string();
        let labels = [route, label(method), status.as_str()];
        self.requests.with_label_values(&labels).inc();
        self.duration
            .with_label_values(&labels)
            .observe(elapsed.as_secs_f64());
    }
}

/// Clients make up methods; a label is one of few.
fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
