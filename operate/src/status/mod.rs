//! Where every stage stands.
//!
//! ```text
//! written ─▶ decoded ─▶ acknowledged ─▶ confirmed ─▶ applied ─▶ visible
//! source's   slot's     last commits    slot        progress    what no held table
//! log        sender     record                                  or key keeps back
//! ```
//!
//! - `observation`: what each part says when it is asked;
//! - `exposition`: what a page of metrics says;
//! - `stage`: how far each stage is behind the log's end, and whether that grows;
//! - `problem`: what is not well, the worst first, and what to do;
//! - `report`, `text`: all of it, for programs and for people.
//!
//! Seconds are counted by the source's clock from the commit times that travel with the changes.
//! No clock orders anything; where clocks disagree, that is said.

mod observation;

mod operations;
pub use operations::{DeadLetters, HeldTable, Operations, Replay, Verification, WaitingIndex};

mod exposition;
pub use exposition::{Exposition, Quantiles};

mod stage;
pub use stage::{Lag, Stage, StageName, Trend};

mod problem;
pub use problem::{Gravity, Problem, Verdict};

mod report;
pub use report::{Clocks, Report, Service, SourceReport, TargetReport, TopicsReport};

mod text;

use std::time::Duration;

use anyhow::Context;
use cdc::standing::Trail;
use tokio::time::{Instant, timeout};

use crate::endpoints::Endpoints;
use crate::kafka::Kafka;

use observation::Observation;
use stage::Looks;

/// Long enough for a broker elsewhere, short enough for a person who waits.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Topics are few to be asked for what seldom changes, and may be many.
const RETENTION_AGE: Duration = Duration::from_secs(60);

/// Looks again and again, and so sees what moves.
#[derive(Debug)]
pub struct Observer {
    endpoints: Endpoints,
    kafka: Kafka,
    http: Option<reqwest::Client>,
    trail: Trail,
    looks: Looks,
    /// Of the look before, to tell what has happened since.
    applied: Option<Exposition>,
    retention: Option<(Instant, Vec<(String, i64)>)>,
}

impl Observer {
    pub fn new(endpoints: Endpoints) -> Self {
        Self {
            kafka: Kafka::new(&endpoints, ANSWER_LIMIT),
            endpoints,
            http: reqwest::Client::builder()
                .timeout(ANSWER_LIMIT * 2)
                .build()
                .ok(),
            trail: Trail::default(),
            looks: Looks::default(),
            applied: None,
            retention: None,
        }
    }

    /// Asks all parts at once. One that does not answer is shown as such; a stage that is longer
    /// behind than `max_lag` is not well.
    pub async fn look(&mut self, max_lag: Duration) -> Report {
        let monitors = &self.endpoints.monitors;
        let http = self.http.as_ref();
        // On the heap: five conversations at once are much for a stack.
        let asked = Box::pin(async {
            tokio::join!(
                within("the source", observation::source(&self.endpoints)),
                within("Kafka", observation::topics(&self.kafka, &self.endpoints)),
                within("the target", observation::target(&self.endpoints)),
                observation::service(http, &monitors.capture),
                observation::service(http, &monitors.apply),
            )
        });
        let (source, topics, target, capture, apply) = asked.await;
        if let Ok(source) = &source {
            self.trail.note(&source.standing);
        }
        let observation = Observation {
            source,
            topics,
            target,
            capture,
            apply,
            retention_ms: self.retention_ms().await,
        };
        let report = Report::new(
            &observation,
            &self.trail,
            &mut self.looks,
            self.applied.as_ref(),
            max_lag,
        );
        self.applied = observation.apply.metrics;
        report
    }

    async fn retention_ms(&mut self) -> Vec<(String, i64)> {
        if let Some((asked, known)) = &self.retention
            && asked.elapsed() < RETENTION_AGE
        {
            return known.clone();
        }
        // Kafka's own answer tells when it is away.
        let asked = self.kafka.retention_ms(&self.endpoints.names.prefix).await;
        let Ok(known) = asked else {
            return Vec::new();
        };
        self.retention = Some((Instant::now(), known.clone()));
        known
    }
}

async fn within<T>(what: &str, ask: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let answer = timeout(ANSWER_LIMIT * 2, ask).await;
    answer.with_context(|| format!("{what} does not answer"))?
}
