//! Why the REST API did not do what was asked.

use serde_json::Value;

/// What a client is told. No host, no text of a library.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// REST refused: the problem (RFC 9457) says why.
    #[error("{}", told(.0))]
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

/// The problem in words, with each field that is wrong: `title: at least 1 character`.
fn told(problem: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let fields: Vec<String> = problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| {
            let place = text(&error["pointer"]).or(text(&error["parameter"]))?;
            let place = place.trim_start_matches('/');
            Some(format!("{place}: {}", text(&error["detail"])?))
        })
        .collect();
    match fields.is_empty() {
        false => fields.join("; "),
        true => text(&problem["detail"])
            .or(text(&problem["title"]))
            .unwrap_or_else(|| "the REST API refused".to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_told_by_its_fields() {
        let mut problem = json!({"title": "Some fields are not valid", "detail": "see errors"});
        assert_eq!(Failure::Problem(problem.clone()).to_string(), "see errors");
        problem["errors"] = json!([
            {"pointer": "/title", "detail": "at least 1 character"},
            {"parameter": "page", "detail": "a number"}
        ]);
        let told = Failure::Problem(problem).to_string();
        assert_eq!(told, "title: at least 1 character; page: a number");
    }
}
