//! Whether Kafka answers and takes records that are large enough.

use std::time::Duration;

use super::finding::Finding;
use operate::endpoints::Endpoints;
use operate::kafka::Kafka;

/// Kafka's own default. A row that does not fit stops the pipeline, so less is asking for trouble.
const MESSAGE_BYTES_MIN: u64 = 1_000_000;

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

fn message_bytes(limit: Option<u64>) -> Finding {
    const CHECK: &str = "message.max.bytes";
    match limit {
        None => Finding::note("kafka", CHECK, "the broker does not say"),
        Some(limit) if limit < MESSAGE_BYTES_MIN => Finding::fail(
            "kafka",
            CHECK,
            operate::units::bytes(limit),
            "raise message.max.bytes: a row that does not fit into a record stops the pipeline",
        ),
        Some(limit) => Finding::ok(
            "kafka",
            CHECK,
            format!(
                "{}: a larger row stops the pipeline",
                operate::units::bytes(limit)
            ),
        ),
    }
}
