//! What the service counts and times.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::articles::{Status, count_by_status};
use crate::database::Database;
use crate::exchange::method_label;
use crate::http::{Method, StatusCode};

const REQUESTS: &str = "http_requests_total";
const DURATION: &str = "http_request_duration_seconds";
const ARTICLES: &str = "articles_total";

/// A page of metrics shows the last known counts when the database takes longer.
const COUNT_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Metrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    articles: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labels = ["route", "method", "status"];
        let requests = Opts::new(REQUESTS, "Requests answered.");
        let duration = HistogramOpts::new(DURATION, "Time from a request's header to its reply.");
        // From a read of one row to the default time limit of a request.
        let duration = duration.buckets(vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ]);
        let articles = Opts::new(ARTICLES, "Articles by status.");
        let metrics = Self {
            requests: IntCounterVec::new(requests, &labels)?,
            duration: HistogramVec::new(duration, &labels)?,
            articles: IntGaugeVec::new(articles, &["status"])?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.articles.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn answered(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let labels = [route, method_label(method), status.as_str()];
        self.requests.with_label_values(&labels).inc();
        self.duration
            .with_label_values(&labels)
            .observe(elapsed.as_secs_f64());
    }

    /// Brings the number of articles up to date.
    pub(crate) async fn count_articles(&self, database: &Database) {
        let counted = tokio::time::timeout(COUNT_LIMIT, count_by_status(database)).await;
        let Ok(Ok(counts)) = counted else {
            // The page is about us; that the database is away shows in the health.
            return;
        };
        for status in Status::ALL {
            let count = counts.get(&status).copied().unwrap_or_default();
            self.articles
                .with_label_values(&[status.as_str()])
                .set(count);
        }
    }
}
