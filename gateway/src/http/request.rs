//! A request before anything is known about it.

use std::str::FromStr;

use bytes::Bytes;
use change::Lsn;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use service::http::cookie;

use super::{HeaderMap, Method, StatusCode};

pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// As it stands in the request line.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// A body that may still be on its way. The error says nothing: the client is gone.
pub(crate) type Body = BoxStream<'static, Result<Bytes, ()>>;

impl Request {
    /// Reads the body up to `limit` bytes.
    pub(crate) async fn read(body: &mut Body, limit: usize) -> Result<Vec<u8>, StatusCode> {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|()| StatusCode::BAD_REQUEST)?;
            if bytes.len() + chunk.len() > limit {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The position that the client wants to be shown, by header or by cookie.
pub(crate) fn minimum(headers: &HeaderMap) -> Result<Option<Lsn>, &'static str> {
    if headers.contains_key("lockstep-min-position") {
        let position = text(headers, "lockstep-min-position").and_then(parsed);
        return match position {
            Some(position) => Ok(Some(position)),
            None => Err("lockstep-min-position is no LSN such as 0/16B3748"),
        };
    }
    // Cookies may be anybody's: what is no position is none of ours.
    Ok(cookie(headers, "lockstep-position").and_then(parsed))
}

fn parsed(text: &str) -> Option<Lsn> {
    Lsn::from_str(text.trim()).ok()
}
