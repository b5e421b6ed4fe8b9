//! An answer.

use serde::Serialize;
use serde_json::json;
use warp::reply::Response;

use super::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

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

    pub(crate) fn of_type(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Self {
        let reply = Self {
            body,
            ..Self::empty(status)
        };
        reply.with(header::CONTENT_TYPE, media_type)
    }

    pub(crate) fn json(
        status: StatusCode,
        media_type: &'static str,
        value: &impl Serialize,
    ) -> Self {
        let body = serde_json::to_vec(value).expect("types with text keys only");
        Self::of_type(status, media_type, body)
    }

    /// A request that does not get as far as an operation.
    pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let error = json!({ "message": message, "extensions": { "code": code } });
        Self::json(status, "application/json", &json!({ "errors": [error] }))
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Sets a header from text that we made: numbers, ids.
    pub(crate) fn with_text(mut self, name: HeaderName, text: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        let length = reply.body.len();
        let mut response = Self::new(reply.body.into());
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        if length > 0 {
            let length = HeaderValue::from(length);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        response
    }
}
