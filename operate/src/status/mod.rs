//! Where every stage stands.

mod observation;
mod report;

use std::time::Duration;

use crate::endpoints::Endpoints;

pub use report::Report;

/// Long enough for a broker elsewhere, short enough for a person who waits.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Asks all parts at once. One that does not answer is shown as such.
pub async fn observe(endpoints: &Endpoints, max_lag: Duration) -> Report {
    let (source, topics, target) = tokio::join!(
        observation::source(endpoints),
        observation::topics(endpoints, ANSWER_LIMIT),
        observation::target(endpoints),
    );
    Report::new(source, topics, target, max_lag)
}
