//! Whether Kafka answers, and what records it takes.

use std::time::Duration;

use change::topic::RECORD_BYTES_MAX;
use operate::endpoints::Endpoints;
use operate::kafka::Kafka;
use operate::units::bytes;

use super::finding::Finding;

pub(super) async fn examine(endpoints: &Endpoints, limit: Duration) -> Vec<Finding> {
    let address = &endpoints.kafka;
    let cluster = match Kafka::new(endpoints, limit).cluster().await {
        Ok(cluster) => cluster,
        Err(error) => {
            let found = format!("{address}: {error:#}");
            let mend = "start the broker, or correct --kafka";
            return vec![Finding::fail("kafka", "connection", found, mend)];
        }
    };
    let prefix = format!("{}.", endpoints.names.prefix);
    let ours = cluster
        .topics
        .iter()
        .filter(|topic| topic.starts_with(&prefix));
    let found = format!(
        "{address}, {} brokers, {} topics of the pipeline",
        cluster.brokers,
        ours.count()
    );
    vec![
        Finding::ok("kafka", "connection", found),
        message_bytes(cluster.message_max_bytes),
    ]
}

/// What the topics take that others have made; those of capture say so themselves.
fn message_bytes(limit: Option<u64>) -> Finding {
    let found = match limit {
        None => "the broker does not say".to_owned(),
        Some(limit) => format!(
            "{} (topics that capture makes take {} each; longer changes travel in parts)",
            bytes(limit),
            bytes(RECORD_BYTES_MAX as u64)
        ),
    };
    Finding::note("kafka", "message.max.bytes", found)
}
