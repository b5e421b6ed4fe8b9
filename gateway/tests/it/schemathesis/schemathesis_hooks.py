"""What the gateway may answer to whatever is asked, while nothing is the matter with it."""

import schemathesis

# About the operation, or about the article that it means.
ABOUT_THE_REQUEST = {
    "BAD_USER_INPUT",
    "CONFLICT",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "NOT_FOUND",
    "PRECONDITION_FAILED",
    "QUERY_TOO_COMPLEX",
    "QUERY_TOO_DEEP",
    "QUERY_TOO_LARGE",
    "TOO_MANY_ALIASES",
    "TOO_MANY_ROOT_FIELDS",
}


@schemathesis.check
def errors_are_about_the_request(ctx, response, case):
    """No answer says that something failed inside."""
    assert response.status_code < 500, response.text
    body = response.json()
    for error in body.get("errors") or []:
        code = (error.get("extensions") or {}).get("code")
        assert code in ABOUT_THE_REQUEST, f"{code}: {error}"
