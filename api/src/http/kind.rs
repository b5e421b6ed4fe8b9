//! The kinds of problems: what their `type` stands for.

use serde_json::json;

use super::{Reply, StatusCode};

/// The kinds of problems. Each has a page at `/problems/{slug}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Malformed,
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    TooSlow,
    Conflict,
    KeyInUse,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
    Validation,
    KeyReused,
    PreconditionRequired,
    Internal,
    Unavailable,
    Behind,
}

/// What all problems of a kind have in common.
pub(super) struct Entry {
    pub(super) slug: &'static str,
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    explanation: &'static str,
}

impl Kind {
    pub(crate) const ALL: [Self; 17] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::TooSlow,
        Self::Conflict,
        Self::KeyInUse,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Validation,
        Self::KeyReused,
        Self::PreconditionRequired,
        Self::Internal,
        Self::Unavailable,
        Self::Behind,
    ];

    pub(crate) fn slug(self) -> &'static str {
        self.entry().slug
    }

    /// The page that `type` leads to.
    pub(crate) fn page(self) -> Reply {
        let entry = self.entry();
        let page = json!({
            "type": format!("/problems/{}", entry.slug),
            "status": entry.status.as_u16(),
            "title": entry.title,
            "description": entry.explanation,
        });
        Reply::json(StatusCode::OK, &page)
    }

    pub(super) fn entry(self) -> Entry {
        match self {
            Self::Malformed => MALFORMED,
            Self::Unauthorized => UNAUTHORIZED,
            Self::NotFound => NOT_FOUND,
            Self::MethodNotAllowed => METHOD_NOT_ALLOWED,
            Self::NotAcceptable => NOT_ACCEPTABLE,
            Self::TooSlow => TOO_SLOW,
            Self::Conflict => CONFLICT,
            Self::KeyInUse => KEY_IN_USE,
            Self::PreconditionFailed => PRECONDITION_FAILED,
            Self::TooLarge => TOO_LARGE,
            Self::UnsupportedMediaType => UNSUPPORTED_MEDIA_TYPE,
            Self::Validation => VALIDATION,
            Self::KeyReused => KEY_REUSED,
            Self::PreconditionRequired => PRECONDITION_REQUIRED,
            Self::Internal => INTERNAL,
            Self::Unavailable => UNAVAILABLE,
            Self::Behind => BEHIND,
        }
    }
}

const MALFORMED: Entry = Entry {
    slug: "malformed",
    status: StatusCode::BAD_REQUEST,
    title: "The request cannot be read",
    explanation: "A query parameter, a header or the JSON text of the body is not well formed.",
};

const UNAUTHORIZED: Entry = Entry {
    slug: "unauthorized",
    status: StatusCode::UNAUTHORIZED,
    title: "A token is needed",
    explanation: "Changes need the header `Authorization: Bearer` with the service's token.",
};

const NOT_FOUND: Entry = Entry {
    slug: "not-found",
    status: StatusCode::NOT_FOUND,
    title: "There is nothing here",
    explanation: "The path is none of the API's, or the article does not exist (any more).",
};

const METHOD_NOT_ALLOWED: Entry = Entry {
    slug: "method-not-allowed",
    status: StatusCode::METHOD_NOT_ALLOWED,
    title: "The method does not go with the path",
    explanation: "The header Allow lists the methods that do.",
};

const NOT_ACCEPTABLE: Entry = Entry {
    slug: "not-acceptable",
    status: StatusCode::NOT_ACCEPTABLE,
    title: "No acceptable representation",
    explanation: "The header Accept excludes the media type that the resource has.",
};

const TOO_SLOW: Entry = Entry {
    slug: "request-timeout",
    status: StatusCode::REQUEST_TIMEOUT,
    title: "The request took too long to arrive",
    explanation: "Its body was not complete within the time that a request may take.",
};

const CONFLICT: Entry = Entry {
    slug: "conflict",
    status: StatusCode::CONFLICT,
    title: "The article's state does not allow this",
    explanation: "An article goes from draft to published to archived, or from draft to archived.",
};

const KEY_IN_USE: Entry = Entry {
    slug: "idempotency-key-in-use",
    status: StatusCode::CONFLICT,
    title: "A request with this key is under way",
    explanation: "Another request with the same Idempotency-Key has not ended. Repeat this one after \
                  the time in Retry-After: it is then answered as the other was.",
};

const PRECONDITION_FAILED: Entry = Entry {
    slug: "precondition-failed",
    status: StatusCode::PRECONDITION_FAILED,
    title: "The article is another version by now",
    explanation: "If-Match names no current version. Read the article again and repeat the change.",
};

const TOO_LARGE: Entry = Entry {
    slug: "too-large",
    status: StatusCode::PAYLOAD_TOO_LARGE,
    title: "The body is too large",
    explanation: "The detail says how many bytes a body may have.",
};

const UNSUPPORTED_MEDIA_TYPE: Entry = Entry {
    slug: "unsupported-media-type",
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    title: "The body's media type is not supported",
    explanation: "Bodies are application/json; PATCH also takes application/merge-patch+json.",
};

const VALIDATION: Entry = Entry {
    slug: "validation",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "Some fields are not valid",
    explanation: "The member `errors` lists each field, by JSON pointer, with what is wrong.",
};

const KEY_REUSED: Entry = Entry {
    slug: "idempotency-key-reused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The key belongs to another request",
    explanation: "Within the last 24 hours, a request with the same Idempotency-Key had another path \
                  or another body. Take a new key for each request that is not a repetition.",
};

const PRECONDITION_REQUIRED: Entry = Entry {
    slug: "precondition-required",
    status: StatusCode::PRECONDITION_REQUIRED,
    title: "If-Match is needed",
    explanation: "This service only takes changes that say by If-Match which version they are of.",
};

const INTERNAL: Entry = Entry {
    slug: "internal",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    title: "The service failed",
    explanation: "A defect. The service's log tells more, under the request's id.",
};

const UNAVAILABLE: Entry = Entry {
    slug: "unavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "The service cannot answer now",
    explanation: "Its database is away or busy. Try again after the time in Retry-After.",
};

const BEHIND: Entry = Entry {
    slug: "behind",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "The replica is not that far yet",
    explanation: "It has not applied the position of Lockstep-Min-Position, or of the cookie, within \
                  the time that a read waits. Try again after the time in Retry-After, or read from \
                  the primary.",
};
