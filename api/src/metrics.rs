//! What the service counts and times.

use std::time::Duration;

use prometheus::{IntGaugeVec, Opts, Registry};
use service::http::RequestMetrics;

use crate::articles::{Status, count_by_status};
use crate::database::Database;
use crate::http::{Method, StatusCode};

const ARTICLES: &str = "articles_total";

/// A page of metrics shows the last known counts when the database takes longer.
const COUNT_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Metrics {
    requests: RequestMetrics,
    articles: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let articles = Opts::new(ARTICLES, "Articles by status.");
        let metrics = Self {
            requests: RequestMetrics::register(registry)?,
            articles: IntGaugeVec::new(articles, &["status"])?,
        };
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
        self.requests
            .answered(route, method, status.as_u16(), elapsed);
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
