//! Single things that are known about the pipeline now: in a page when it is made, and in the
//! stream of events, by which the page keeps them up to date. So a number is worded once.

use std::time::Duration;

use maud::{Markup, html};
use operate::progress::Phase;
use operate::status::{Gravity, Lag, StageName, Trend};
use operate::units;
use serde::Serialize;

use crate::live::{Aged, Look};
use crate::widgets;

/// How good something is; never told by colour alone, as the text says it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Plain,
    Good,
    Warn,
    Bad,
    Unknown,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fact {
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) state: State,
}

/// All of them, from one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(Vec<Fact>);

impl Facts {
    /// None before the first look.
    pub(crate) fn of(look: Option<&Look>) -> Self {
        let mut facts = Self::default();
        if let Some(look) = look {
            facts.verdict(look);
            facts.stages(look);
            facts.flow(look);
            facts.slot(look);
            facts.buffer(look);
        }
        facts
    }

    pub(crate) fn all(&self) -> &[Fact] {
        &self.0
    }

    /// The fact where it stands in a page; unknown before the first look.
    pub(crate) fn show(&self, key: &str) -> Markup {
        let found = self.0.iter().find(|fact| fact.key == key);
        let (text, state) = found.map_or((widgets::UNKNOWN, State::Unknown), |fact| {
            (fact.text.as_str(), fact.state)
        });
        html! { span.fact data-fact=(key) data-state=(state.name()) { (text) } }
    }

    fn add(&mut self, key: &str, text: impl Into<String>, state: State) {
        self.0.push(Fact {
            key: key.to_owned(),
            text: text.into(),
            state,
        });
    }

    fn plain(&mut self, key: &str, text: Option<String>) {
        match text {
            Some(text) => self.add(key, text, State::Plain),
            None => self.add(key, widgets::UNKNOWN, State::Unknown),
        }
    }

    /// What was seen earlier says how long ago.
    fn aged<T>(&mut self, key: &str, text: Option<String>, look: &Look, aged: Option<&Aged<T>>) {
        match (text, aged) {
            (Some(text), Some(aged)) if !look.is_fresh(aged) => {
                let age = look.at.duration_since(aged.at).unwrap_or_default();
                let text = format!("{text}, {} ago", widgets::duration(age));
                self.add(key, text, State::Unknown);
            }
            (text, _) => self.plain(key, text),
        }
    }

    fn verdict(&mut self, look: &Look) {
        let verdict = &look.report.verdict;
        let (word, state) = match verdict.state {
            Gravity::Healthy => ("Healthy", State::Good),
            Gravity::Degraded => ("Degraded", State::Warn),
            Gravity::Stopped => ("Stopped", State::Bad),
        };
        self.add("verdict", word, state);
        let said = |text: &Option<String>, otherwise: &str| {
            text.clone().unwrap_or_else(|| otherwise.to_owned())
        };
        let reason = said(&verdict.reason, "Every change arrives.");
        self.add("verdict.reason", reason, State::Plain);
        self.add(
            "verdict.mend",
            said(&verdict.mend, "Nothing."),
            State::Plain,
        );
        match look.report.phase {
            Some(phase @ Phase::Streaming) => self.add("phase", phase.name(), State::Plain),
            Some(phase @ Phase::Snapshotting) => self.add("phase", phase.name(), State::Warn),
            None => self.plain("phase", None),
        }
    }

    fn stages(&mut self, look: &Look) {
        for aged in &look.stages {
            let (name, stage) = (stage_name(aged.value.stage), &aged.value);
            let lsn = stage.lsn.map(|lsn| lsn.to_string());
            self.aged(&format!("stage.{name}.lsn"), lsn, look, Some(aged));
            let behind = stage.behind;
            let fresh = look.is_fresh(aged);
            let bytes = behind.bytes.filter(|_| fresh).map(units::bytes);
            self.plain(&format!("stage.{name}.bytes"), bytes);
            let seconds = behind.seconds.filter(|_| fresh);
            self.plain(&format!("stage.{name}.seconds"), seconds.map(seconds_text));
            let trend = stage.trend.filter(|_| fresh).map(|trend| match trend {
                Trend::Rising => "rising",
                Trend::Steady => "steady",
                Trend::Falling => "falling",
            });
            self.plain(&format!("stage.{name}.trend"), trend.map(str::to_owned));
        }
    }

    fn flow(&mut self, look: &Look) {
        let report = &look.report;
        self.plain("lag.capture", lag_text(report.capture_lag));
        self.plain("lag.apply", lag_text(report.apply_lag));
        self.plain("rate.published", look.rates.published.map(rate_text));
        self.plain("rate.applied", look.rates.applied.map(rate_text));
        let written = report.source.written_bytes_per_second.map(bytes_rate);
        self.plain("rate.written", written);
        let quantiles = report.commit_to_visible.map(|it| {
            let [p50, p95, p99] = [it.p50, it.p95, it.p99].map(latency_text);
            format!("{p50} / {p95} / {p99}")
        });
        self.plain("commit_to_visible", quantiles);
        let operations = look.operations.as_ref();
        let applying = operations.map(|it| match it.value.apply_paused {
            true => "paused".to_owned(),
            false => "running".to_owned(),
        });
        self.aged("apply.state", applying, look, operations);
        let letters = operations.map(|it| it.value.dead_letters.open.to_string());
        self.aged("dead_letters.open", letters, look, operations);
        let held = operations.map(|it| it.value.held_tables.len().to_string());
        self.aged("tables.held", held, look, operations);
    }

    fn slot(&mut self, look: &Look) {
        let source = look.source.as_ref();
        let slot = source.and_then(|source| source.value.slot.as_ref());
        let size = |bytes: i64| units::bytes(u64::try_from(bytes).unwrap_or(0));
        let texts = [
            ("slot.name", slot.map(|slot| slot.name.clone())),
            (
                "slot.reader",
                slot.map(|slot| match slot.active_pid {
                    Some(pid) => format!("process {pid}"),
                    None => "nobody".to_owned(),
                }),
            ),
            (
                "slot.wal_status",
                slot.and_then(|slot| slot.wal_status.clone()),
            ),
            (
                "slot.confirmed",
                slot.and_then(|slot| Some(slot.confirmed_flush_lsn?.to_string())),
            ),
            (
                "slot.restart",
                slot.and_then(|slot| Some(slot.restart_lsn?.to_string())),
            ),
            (
                "slot.retained",
                slot.and_then(|slot| slot.retained_bytes.map(size)),
            ),
            (
                "slot.safe",
                slot.map(|slot| {
                    slot.safe_wal_size
                        .map_or_else(|| "without limit".to_owned(), size)
                }),
            ),
            (
                "slot.lost_in",
                source.map(|source| match source.value.lost_in_seconds {
                    Some(seconds) => seconds_text(seconds),
                    None => "not at this rate".to_owned(),
                }),
            ),
            (
                "slot.failover",
                slot.and_then(|slot| slot.failover).map(yes_or_no),
            ),
            (
                "slot.synced",
                slot.and_then(|slot| slot.synced).map(yes_or_no),
            ),
            (
                "slot.inactive_since",
                slot.and_then(|slot| slot.inactive_since.clone()),
            ),
            (
                "slot.invalidation",
                slot.and_then(|slot| slot.invalidation_reason.clone()),
            ),
        ];
        for (key, text) in texts {
            self.aged(key, text, look, source);
        }
    }

    /// What capture keeps of transactions that have not ended.
    fn buffer(&mut self, look: &Look) {
        let metrics = look.report.capture.metrics.as_ref();
        let sum = |name| metrics.and_then(|metrics| metrics.sum(name));
        let count = |number: f64| format!("{number:.0}");
        let size = |bytes: f64| units::bytes(whole(bytes));
        self.plain("buffer.open", sum("cdc_open_transactions").map(count));
        self.plain("buffer.memory", sum("cdc_spool_memory_bytes").map(size));
        self.plain("buffer.disk", sum("cdc_spool_disk_bytes").map(size));
    }
}

pub(crate) fn stage_name(stage: StageName) -> &'static str {
    match stage {
        StageName::Written => "written",
        StageName::Decoded => "decoded",
        StageName::Acknowledged => "acknowledged",
        StageName::Confirmed => "confirmed",
        StageName::Applied => "applied",
        StageName::Visible => "visible",
    }
}

fn seconds_text(seconds: u64) -> String {
    widgets::duration(Duration::from_secs(seconds))
}

fn lag_text(lag: Lag) -> Option<String> {
    let bytes = lag.bytes.map(units::bytes);
    match (bytes, lag.seconds.map(seconds_text)) {
        (Some(bytes), Some(seconds)) => Some(format!("{bytes}, {seconds}")),
        (Some(bytes), None) => Some(format!("{bytes}, seconds unknown")),
        (None, seconds) => seconds,
    }
}

fn rate_text(rate: f64) -> String {
    format!("{rate:.0} changes/s")
}

fn bytes_rate(rate: f64) -> String {
    format!("{}/s", units::bytes(whole(rate)))
}

fn latency_text(seconds: f64) -> String {
    match seconds {
        _ if seconds.is_infinite() => "more than measured".to_owned(),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        _ => format!("{seconds:.1} s"),
    }
}

/// Metrics are floating-point numbers; these are counts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and what is not a number becomes zero"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

fn yes_or_no(truth: bool) -> String {
    match truth {
        true => "yes".to_owned(),
        false => "no".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_look_all_is_unknown() {
        let shown = Facts::of(None).show("lag.apply").into_string();
        assert!(shown.contains(r#"data-state="unknown""#), "{shown}");
        assert!(shown.contains(widgets::UNKNOWN), "{shown}");
    }

    #[test]
    fn unknown_seconds_are_not_zero() {
        let lag = Lag {
            bytes: Some(2048),
            seconds: None,
        };
        assert_eq!(lag_text(lag).unwrap(), "2.0 kB, seconds unknown");
        assert_eq!(lag_text(Lag::default()), None);
    }
}
