//! A request's body, read up to a limit.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::{HeaderMap, Kind, Problem, header};

/// A body that may still be on its way.
pub(crate) struct Body {
    /// The error says nothing: the client is gone.
    chunks: BoxStream<'static, Result<Bytes, ()>>,
    /// `Content-Length`; none for a chunked body.
    length: Option<u64>,
}

impl Body {
    pub(crate) fn new(headers: &HeaderMap, chunks: BoxStream<'static, Result<Bytes, ()>>) -> Self {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        Self {
            chunks,
            length: length.and_then(|length| length.parse().ok()),
        }
    }

    /// Reads all of it. A limit while reading, since a chunked body does not say its length.
    pub(crate) async fn read(mut self, limit: usize) -> Result<Vec<u8>, Problem> {
        let too_large = || {
            let detail = format!("a body may have {limit} bytes");
            Problem::new(Kind::TooLarge, detail)
        };
        if self
            .length
            .is_some_and(|length| usize::try_from(length).is_ok_and(|n| n > limit))
        {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunks.next().await {
            let cut_off = |()| Problem::new(Kind::Malformed, "the body ended early");
            let chunk = chunk.map_err(cut_off)?;
            if bytes.len() + chunk.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Refuses a body where none is read: to ignore it would be to ignore what a client wants.
    pub(crate) async fn require_empty(mut self) -> Result<(), Problem> {
        while let Some(chunk) = self.chunks.next().await {
            if !chunk.is_ok_and(|chunk| chunk.is_empty()) {
                let detail = "this request takes no body";
                return Err(Problem::new(Kind::Malformed, detail));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
