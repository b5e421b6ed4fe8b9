//! Single things that are known about the pipeline now: in a page when it is made, and in the
//! stream of events, by which the page keeps them up to date. So a number is worded once.

use maud::{Markup, html};
use serde::Serialize;

use crate::live::Look;
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
    pub(crate) key: &'static str,
    pub(crate) text: String,
    pub(crate) state: State,
}

impl Fact {
    fn new(key: &'static str, text: impl Into<String>, state: State) -> Self {
        Self {
            key,
            text: text.into(),
            state,
        }
    }

    fn plain(key: &'static str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => Self::new(key, text, State::Plain),
            None => Self::new(key, widgets::UNKNOWN, State::Unknown),
        }
    }
}

/// All of them, from one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(Vec<Fact>);

impl Facts {
    pub(crate) fn of(look: Option<&Look>) -> Self {
        let Some(look) = look else {
            return Self::default();
        };
        let verdict = match look.report.is_healthy() {
            true => Fact::new("verdict", "Healthy", State::Good),
            false => Fact::new("verdict", "Not well", State::Bad),
        };
        let phase = match look.text_at("/phase") {
            Some("streaming") => Fact::new("phase", "streaming", State::Plain),
            Some(phase) => Fact::new("phase", phase, State::Warn),
            None => Fact::plain("phase", None::<&str>),
        };
        let text = |key, pointer| Fact::plain(key, look.text_at(pointer));
        Self(vec![
            verdict,
            phase,
            text("source.lsn", "/source/lsn"),
            text("topics.lsn", "/topics/commit_lsn"),
            text("target.lsn", "/target/commit_lsn"),
        ])
    }

    pub(crate) fn all(&self) -> &[Fact] {
        &self.0
    }

    /// The fact where it stands in a page; unknown before the first look.
    pub(crate) fn show(&self, key: &'static str) -> Markup {
        let unknown = || Fact::new(key, widgets::UNKNOWN, State::Unknown);
        let found = self.0.iter().find(|fact| fact.key == key);
        let fact = found.cloned().unwrap_or_else(unknown);
        html! { span.fact data-fact=(fact.key) data-state=(fact.state.name()) { (fact.text) } }
    }
}
