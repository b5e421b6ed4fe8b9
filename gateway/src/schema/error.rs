//! Errors with a code for programs (`extensions.code`), and REST's problem where there is one.

use async_graphql::{ErrorExtensions, ServerError, Value};

use crate::upstream::Failure;

/// What a field failed with.
pub(crate) fn failed(failure: Failure) -> async_graphql::Error {
    let code = code(&failure);
    let problem = match &failure {
        Failure::Problem(problem) => Some(public(problem)),
        _ => None,
    };
    async_graphql::Error::new(failure.to_string()).extend_with(|_, extensions| {
        extensions.set("code", code);
        if let Some(problem) = problem {
            extensions.set("problem", problem);
        }
    })
}

/// An argument that cannot be meant.
pub(crate) fn bad_input(message: impl Into<String>) -> async_graphql::Error {
    with_code_of(message, "BAD_USER_INPUT")
}

/// Something that is not there (any more).
pub(crate) fn gone(message: impl Into<String>) -> async_graphql::Error {
    with_code_of(message, "NOT_FOUND")
}

/// Something that this gateway was not set up for.
pub(crate) fn unavailable(message: impl Into<String>) -> async_graphql::Error {
    with_code_of(message, "SUBSCRIPTIONS_UNAVAILABLE")
}

pub(crate) fn with_code_of(message: impl Into<String>, code: &'static str) -> async_graphql::Error {
    let error = async_graphql::Error::new(message);
    error.extend_with(|_, extensions| extensions.set("code", code))
}

/// An error of a whole request.
pub(crate) fn coded(code: &'static str, message: impl Into<String>) -> ServerError {
    with_code(ServerError::new(message, None), code)
}

pub(crate) fn with_code(mut error: ServerError, code: &'static str) -> ServerError {
    error.extensions.get_or_insert_default().set("code", code);
    error
}

/// The code of an error, if it has one.
pub(crate) fn code_of(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

fn code(failure: &Failure) -> &'static str {
    match failure {
        Failure::TimedOut => return "TIMEOUT",
        Failure::Unreachable | Failure::CircuitOpen | Failure::Unreadable => {
            return "UPSTREAM_UNAVAILABLE";
        }
        Failure::Problem(_) => {}
    }
    match (failure.slug(), failure.status()) {
        (Some("behind"), _) => "REPLICA_BEHIND",
        (Some("precondition-failed"), _) => "PRECONDITION_FAILED",
        (Some("precondition-required"), _) => "PRECONDITION_REQUIRED",
        (_, Some(401)) => "UNAUTHENTICATED",
        (_, Some(403)) => "FORBIDDEN",
        (_, Some(404)) => "NOT_FOUND",
        (_, Some(408 | 504)) => "TIMEOUT",
        (_, Some(409)) => "CONFLICT",
        (_, Some(400..=499)) => "BAD_USER_INPUT",
        _ => "UPSTREAM_UNAVAILABLE",
    }
}

/// The problem as GraphQL's own value. Its path is REST's, which the client did not ask for.
fn public(problem: &serde_json::Value) -> Value {
    let mut problem = problem.clone();
    if let Some(members) = problem.as_object_mut() {
        members.remove("instance");
    }
    Value::from_json(problem).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn problems_have_the_codes_that_clients_know() {
        for (slug, status, expected) in [
            ("validation", 422, "BAD_USER_INPUT"),
            ("malformed", 400, "BAD_USER_INPUT"),
            ("not-found", 404, "NOT_FOUND"),
            ("conflict", 409, "CONFLICT"),
            ("precondition-failed", 412, "PRECONDITION_FAILED"),
            ("precondition-required", 428, "PRECONDITION_REQUIRED"),
            ("unauthorized", 401, "UNAUTHENTICATED"),
            ("unavailable", 503, "UPSTREAM_UNAVAILABLE"),
            ("behind", 503, "REPLICA_BEHIND"),
            ("internal", 500, "UPSTREAM_UNAVAILABLE"),
        ] {
            let problem = json!({"type": format!("/problems/{slug}"), "status": status});
            assert_eq!(code(&Failure::Problem(problem)), expected, "{slug}");
        }
    }
}
