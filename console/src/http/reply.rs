//! An answer.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use maud::Markup;
use serde::Serialize;
use serde_json::json;
use warp::Reply as _;
use warp::reply::Response;

use super::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
}

/// A stream of Server-Sent Events.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<Bytes, Infallible>> + Send + Sync>>;

pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// Goes on until the client or the console ends.
    Stream(Events),
}

impl Reply {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content: Content::Bytes(Vec::new()),
        }
    }

    pub(crate) fn of_type(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Self {
        let reply = Self {
            content: Content::Bytes(body),
            ..Self::empty(status)
        };
        reply.with(header::CONTENT_TYPE, media_type)
    }

    pub(crate) fn html(status: StatusCode, page: Markup) -> Self {
        Self::of_type(status, "text/html; charset=utf-8", page.0.into_bytes())
    }

    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("types with text keys only");
        Self::of_type(status, "application/json", body)
    }

    /// A problem as RFC 9457 has it.
    pub(crate) fn problem(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        let problem = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
        });
        let reply = Self::json(status, &problem);
        reply.with(header::CONTENT_TYPE, "application/problem+json")
    }

    pub(crate) fn events(stream: Events) -> Self {
        let reply = Self {
            content: Content::Stream(stream),
            ..Self::empty(StatusCode::OK)
        };
        reply.with(header::CONTENT_TYPE, "text/event-stream")
    }

    /// Another page instead, to be got.
    pub(crate) fn see_other(path: &str) -> Self {
        Self::empty(StatusCode::SEE_OTHER).with_text(header::LOCATION, path)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Sets a header from text that we made: paths, tokens, ids.
    pub(crate) fn with_text(mut self, name: HeaderName, text: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        let (mut response, length) = match reply.content {
            Content::Bytes(body) => {
                let length = body.len();
                (Self::new(body.into()), length)
            }
            Content::Stream(stream) => (warp::reply::stream(stream).into_response(), 0),
        };
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
