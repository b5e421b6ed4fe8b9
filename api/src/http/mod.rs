//! The HTTP that every resource shares: requests in, replies and problems out.

mod body;
pub(crate) use body::Body;

mod json;
pub(crate) use json::json;

mod negotiation;
pub(crate) use negotiation::{MediaType, content_type, require_acceptable};

mod query;
pub(crate) use query::{Query, encoded};

mod encoding;
pub(crate) use encoding::Encoding;

mod date;
pub(crate) use date::http_date;

mod etag;
pub(crate) use etag::{ETag, Preconditions, Version};

mod kind;
pub(crate) use kind::Kind;

mod problem;
pub(crate) use problem::{FieldError, Problem};

use serde::Serialize;
pub(crate) use warp::http::header;
pub(crate) use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use warp::reply::Response;

/// A request before anything is known about it.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// As it stands in the request line, percent-encoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        Self::of_type(status, "application/json", to_json(value))
    }

    pub(crate) fn of_type(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Self {
        let reply = Self {
            body,
            ..Self::empty(status)
        };
        reply.with(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
    }

    /// What a client has already. The body stays until the reply is encoded, which its tag depends on.
    pub(crate) fn not_modified(self) -> Self {
        Self {
            status: StatusCode::NOT_MODIFIED,
            ..self
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets a header from text that we made: numbers, paths, percent-encoded words.
    pub(crate) fn with_text(self, name: HeaderName, text: &str) -> Self {
        match HeaderValue::from_str(text) {
            Ok(value) => self.with(name, value),
            Err(_) => self,
        }
    }
}

/// Our own types always have a JSON form: their maps have text keys.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("types with text keys only")
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        let length = reply.body.len();
        let mut response = Self::new(reply.body.into());
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        // A reply to HEAD says how long the body would be; 204 and 304 must not.
        if length > 0 {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}
