//! What the looks of the last hours showed.
//!
//! Two rings: a point a second for a quarter of an hour, and a point for ten seconds for six hours.
//! Together they are 3,060 points of a few bytes a series.

use std::collections::VecDeque;

use operate::status::StageName;
use serde::Serialize;

use super::Look;

/// What is remembered, in the order of a point's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    CaptureLagSeconds,
    ApplyLagSeconds,
    VisibleLagSeconds,
    CommitToVisibleP95Seconds,
    PublishedPerSecond,
    AppliedPerSecond,
    WrittenBytesPerSecond,
    RetainedBytes,
    SafeWalBytes,
    CaptureLagBytes,
    ApplyLagBytes,
    OpenDeadLetters,
}

impl Series {
    pub(crate) const ALL: [Self; COUNT] = [
        Self::CaptureLagSeconds,
        Self::ApplyLagSeconds,
        Self::VisibleLagSeconds,
        Self::CommitToVisibleP95Seconds,
        Self::PublishedPerSecond,
        Self::AppliedPerSecond,
        Self::WrittenBytesPerSecond,
        Self::RetainedBytes,
        Self::SafeWalBytes,
        Self::CaptureLagBytes,
        Self::ApplyLagBytes,
        Self::OpenDeadLetters,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CaptureLagSeconds => "capture_lag_seconds",
            Self::ApplyLagSeconds => "apply_lag_seconds",
            Self::VisibleLagSeconds => "visible_lag_seconds",
            Self::CommitToVisibleP95Seconds => "commit_to_visible_p95_seconds",
            Self::PublishedPerSecond => "published_per_second",
            Self::AppliedPerSecond => "applied_per_second",
            Self::WrittenBytesPerSecond => "written_bytes_per_second",
            Self::RetainedBytes => "retained_bytes",
            Self::SafeWalBytes => "safe_wal_bytes",
            Self::CaptureLagBytes => "capture_lag_bytes",
            Self::ApplyLagBytes => "apply_lag_bytes",
            Self::OpenDeadLetters => "open_dead_letters",
        }
    }

    fn of(self, look: &Look) -> Option<f64> {
        let report = &look.report;
        let slot = report.source.slot.as_ref();
        let visible = || {
            let mut stages = report.stages.iter();
            let stage = stages.find(|stage| stage.stage == StageName::Visible)?;
            stage.behind.seconds
        };
        match self {
            Self::CaptureLagSeconds => report.capture_lag.seconds.map(float),
            Self::ApplyLagSeconds => report.apply_lag.seconds.map(float),
            Self::VisibleLagSeconds => visible().map(float),
            Self::CommitToVisibleP95Seconds => report.commit_to_visible.map(|it| it.p95),
            Self::PublishedPerSecond => look.rates.published,
            Self::AppliedPerSecond => look.rates.applied,
            Self::WrittenBytesPerSecond => report.source.written_bytes_per_second,
            Self::RetainedBytes => slot?.retained_bytes.map(signed),
            Self::SafeWalBytes => slot?.safe_wal_size.map(signed),
            Self::CaptureLagBytes => report.capture_lag.bytes.map(float),
            Self::ApplyLagBytes => report.apply_lag.bytes.map(float),
            Self::OpenDeadLetters => {
                let operations = report.operations.as_ref()?;
                Some(signed(operations.dead_letters.open))
            }
        }
    }
}

/// Charts need no more than 53 bits.
fn float(number: u64) -> f64 {
    number as f64
}

fn signed(number: i64) -> f64 {
    number as f64
}

const COUNT: usize = 12;

/// Unknown is none, not zero.
type Values = [Option<f64>; COUNT];

/// The values at a moment, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    pub(crate) at: i64,
    pub(crate) values: Values,
}

/// How far back a chart goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Range {
    #[default]
    QuarterHour,
    Hour,
    SixHours,
}

impl Range {
    pub(crate) const ALL: [Self; 3] = [Self::QuarterHour, Self::Hour, Self::SixHours];

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::QuarterHour => "15 min",
            Self::Hour => "1 h",
            Self::SixHours => "6 h",
        }
    }

    pub(crate) fn seconds(self) -> i64 {
        match self {
            Self::QuarterHour => 900,
            Self::Hour => 3_600,
            Self::SixHours => 21_600,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    seconds: VecDeque<Point>,
    /// A point covers [`STEP_SECONDS`] and holds the highest value of each series in them.
    steps: VecDeque<Point>,
}

const STEP_SECONDS: i64 = 10;
const SECONDS_KEPT: usize = 900;
const STEPS_KEPT: usize = 2_160;

impl History {
    pub(super) fn add(&mut self, look: &Look) {
        self.add_point(Point {
            at: look.seconds(),
            values: Series::ALL.map(|series| series.of(look)),
        });
    }

    fn add_point(&mut self, point: Point) {
        push(&mut self.seconds, point, SECONDS_KEPT);
        let at = point.at - point.at.rem_euclid(STEP_SECONDS);
        match self.steps.back_mut() {
            Some(step) if step.at == at => {
                for (kept, value) in step.values.iter_mut().zip(point.values) {
                    *kept = highest(*kept, value);
                }
            }
            _ => push(&mut self.steps, Point { at, ..point }, STEPS_KEPT),
        }
    }

    /// None when nothing of it is known.
    pub(crate) fn highest(&self, range: Range, series: Series) -> Option<f64> {
        let at = Series::ALL.iter().position(|it| *it == series)?;
        let values = self.points(range).into_iter();
        values.map(|point| point.values[at]).fold(None, highest)
    }

    /// The points of a range, the oldest first.
    pub(crate) fn points(&self, range: Range) -> Vec<Point> {
        let ring = match range {
            Range::QuarterHour => &self.seconds,
            Range::Hour | Range::SixHours => &self.steps,
        };
        let from = ring.back().map_or(0, |newest| newest.at - range.seconds());
        let points = ring.iter().filter(|point| point.at > from);
        points.copied().collect()
    }
}

fn push(ring: &mut VecDeque<Point>, point: Point, kept: usize) {
    if ring.len() == kept {
        ring.pop_front();
    }
    ring.push_back(point);
}

fn highest(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.max(right)),
        (known, None) | (None, known) => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, value: Option<f64>) -> Point {
        Point {
            at,
            values: [value; COUNT],
        }
    }

    #[test]
    fn a_step_keeps_the_highest_and_unknown_is_no_value() {
        let mut history = History::default();
        for (at, value) in [(100, Some(1.0)), (105, Some(3.0)), (109, None), (110, None)] {
            history.add_point(point(at, value));
        }
        let steps = history.points(Range::Hour);
        assert_eq!(steps, [point(100, Some(3.0)), point(110, None)]);
        assert_eq!(history.points(Range::QuarterHour).len(), 4);
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::default();
        for at in 0..50_000 {
            history.add_point(point(at, Some(0.0)));
        }
        assert_eq!(history.points(Range::QuarterHour).len(), SECONDS_KEPT);
        assert_eq!(history.points(Range::Hour).len(), 360);
        assert_eq!(history.points(Range::SixHours).len(), STEPS_KEPT);
    }
}
