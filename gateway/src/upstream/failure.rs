//! Why the REST API did not do what was asked.

use serde_json::Value;

/// What a client is told. No host, no text of a library.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// REST refused: the problem (RFC 9457) says why.
    #[error("{}", detail(.0))]
    Problem(Value),
    #[error("the REST API did not answer in time")]
    TimedOut,
    #[error("the REST API cannot be reached")]
    Unreachable,
    #[error("the REST API has failed several times and is left alone for a moment")]
    CircuitOpen,
    #[error("the REST API answered something else than articles")]
    Unreadable,
}

fn detail(problem: &Value) -> &str {
    let text = |member: &str| problem[member].as_str();
    text("detail")
        .or(text("title"))
        .unwrap_or("the REST API refused")
}

impl Failure {
    /// The last part of the problem's type: `not-found`.
    pub(crate) fn slug(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => problem["type"].as_str()?.strip_prefix("/problems/"),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> Option<u64> {
        match self {
            Self::Problem(problem) => problem["status"].as_u64(),
            _ => None,
        }
    }

    /// Whether it is about the service, not about the request.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Problem(_) => self.status().is_some_and(|status| status >= 500),
            Self::TimedOut | Self::Unreachable | Self::CircuitOpen | Self::Unreadable => true,
        }
    }

    /// Whether the same request may do better in a moment.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Problem(_) => matches!(self.status(), Some(502..=504)) && !self.is_behind(),
            Self::Unreachable => true,
            Self::TimedOut | Self::CircuitOpen | Self::Unreadable => false,
        }
    }

    /// Whether a replica has not got what the request asks for: it is well, and late.
    pub(crate) fn is_behind(&self) -> bool {
        self.slug() == Some("behind")
    }
}
