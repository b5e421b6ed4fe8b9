//! One look at the pipeline.

use std::time::SystemTime;

use operate::status::Report;
use serde_json::Value;

/// What was seen, and what it tells together with the look before.
#[derive(Debug)]
pub(crate) struct Look {
    /// Rises by one with every look of this process.
    pub(crate) number: u64,
    pub(crate) at: SystemTime,
    pub(crate) report: Report,
    values: Value,
}

impl Look {
    pub(crate) fn after(previous: Option<&Self>, report: Report) -> Self {
        let values = serde_json::to_value(&report).unwrap_or_default();
        Self {
            number: previous.map_or(1, |previous| previous.number + 1),
            at: SystemTime::now(),
            report,
            values,
        }
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        let since = self.at.duration_since(SystemTime::UNIX_EPOCH);
        i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
    }

    pub(crate) fn number_at(&self, pointer: &str) -> Option<f64> {
        self.values.pointer(pointer)?.as_f64()
    }

    pub(crate) fn text_at(&self, pointer: &str) -> Option<&str> {
        self.values.pointer(pointer)?.as_str()
    }
}
