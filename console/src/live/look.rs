//! One look at the pipeline.

use std::time::SystemTime;

use operate::status::{Exposition, Operations, Report, SourceReport, Stage, StageName};

/// What was seen, and what it tells together with the looks before.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Rises by one with every look of this process.
    pub(crate) number: u64,
    pub(crate) at: SystemTime,
    pub(crate) report: Report,
    pub(crate) rates: Rates,
    /// What was known last of parts that do not answer now.
    pub(crate) source: Option<Aged<SourceReport>>,
    pub(crate) operations: Option<Aged<Operations>>,
    pub(crate) stages: Vec<Aged<Stage>>,
}

/// Something, and when it was seen to be so.
#[derive(Clone, Debug)]
pub(crate) struct Aged<T> {
    pub(crate) value: T,
    pub(crate) at: SystemTime,
}

/// Changes a second since the look before; unknown while a service does not answer, and in the
/// first look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) published: Option<f64>,
    pub(crate) applied: Option<f64>,
}

const PUBLISHED: &str = "kafka_messages_sent_total";
const APPLIED: &str = "applier_rows_total";

impl Look {
    pub(crate) fn after(previous: Option<&Self>, report: Report, at: SystemTime) -> Self {
        let seen = |value| Aged { value, at };
        let source = report.source.lsn.map(|_| seen_source(&report, at));
        let operations = report.operations.clone();
        Self {
            number: previous.map_or(1, |previous| previous.number + 1),
            at,
            rates: previous.map_or_else(Rates::default, |previous| rates(previous, &report, at)),
            source: source.or_else(|| previous?.source.clone()),
            operations: operations
                .map(|value| Aged { value, at })
                .or_else(|| previous?.operations.clone()),
            stages: report
                .stages
                .iter()
                .map(|stage| match stage.lsn {
                    Some(_) => seen(*stage),
                    None => previous
                        .and_then(|previous| previous.stage(stage.stage).cloned())
                        .unwrap_or_else(|| seen(*stage)),
                })
                .collect(),
            report,
        }
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        let since = self.at.duration_since(SystemTime::UNIX_EPOCH);
        i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
    }

    pub(crate) fn stage(&self, name: StageName) -> Option<&Aged<Stage>> {
        self.stages.iter().find(|stage| stage.value.stage == name)
    }

    /// Whether the part that tells of it has answered in this look.
    pub(crate) fn is_fresh<T>(&self, aged: &Aged<T>) -> bool {
        aged.at == self.at
    }
}

fn seen_source(report: &Report, at: SystemTime) -> Aged<SourceReport> {
    Aged {
        value: report.source.clone(),
        at,
    }
}

fn rates(previous: &Look, report: &Report, at: SystemTime) -> Rates {
    let seconds = at.duration_since(previous.at).unwrap_or_default();
    let between = |then: &Option<Exposition>, now: &Option<Exposition>, name| {
        let then = then.as_ref()?.sum(name)?;
        let now = now.as_ref()?.sum(name)?;
        // A service that began again counts from zero.
        let risen = now >= then && !seconds.is_zero();
        risen.then(|| (now - then) / seconds.as_secs_f64())
    };
    let (before, now) = (&previous.report, report);
    Rates {
        published: between(&before.capture.metrics, &now.capture.metrics, PUBLISHED),
        applied: between(&before.apply.metrics, &now.apply.metrics, APPLIED),
    }
}
