//! What a check found.

use std::fmt;

use serde::Serialize;

/// The outcome of one check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    part: &'static str,
    check: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// Worth knowing, and no reason not to start.
    Note,
    /// The pipeline will not run.
    Fail,
}

impl Finding {
    pub(super) fn ok(part: &'static str, check: &'static str, found: impl fmt::Display) -> Self {
        Self::new(part, check, State::Ok, found, None)
    }

    pub(super) fn note(part: &'static str, check: &'static str, found: impl fmt::Display) -> Self {
        Self::new(part, check, State::Note, found, None)
    }

    pub(super) fn fail(
        part: &'static str,
        check: &'static str,
        found: impl fmt::Display,
        mend: impl Into<String>,
    ) -> Self {
        Self::new(part, check, State::Fail, found, Some(mend.into()))
    }

    fn new(
        part: &'static str,
        check: &'static str,
        state: State,
        found: impl fmt::Display,
        mend: Option<String>,
    ) -> Self {
        Self {
            part,
            check,
            state,
            found: found.to_string(),
            mend,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }
}

/// `ok    source    wal_level          logical`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Fail => "FAIL",
        };
        let Self {
            part, check, found, ..
        } = self;
        write!(f, "{state:<5} {part:<9} {check:<22} {found}")?;
        match &self.mend {
            Some(mend) => write!(f, "\n{:15} mend: {mend}", ""),
            None => Ok(()),
        }
    }
}
