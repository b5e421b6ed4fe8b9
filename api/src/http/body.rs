//! A request's body, read up to a limit.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;

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

    /// Reads it as JSON. A limit while reading, since a chunked body does not say its length.
    pub(crate) async fn json(self, limit: usize) -> Result<Value, Problem> {
        let bytes = self.read(limit).await?;
        if bytes.is_empty() {
            return Err(Problem::new(
                Kind::Malformed,
                "the body is empty, JSON was expected",
            ));
        }
        serde_json::from_slice(&bytes).map_err(|error| malformed(&error))
    }

    async fn read(mut self, limit: usize) -> Result<Vec<u8>, Problem> {
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
}

/// Where and how the text is not JSON. The parser's own text is left out: it quotes the input.
fn malformed(error: &serde_json::Error) -> Problem {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON text ends early",
        _ => "the body is not JSON",
    };
    let (line, column) = (error.line(), error.column());
    Problem::new(
        Kind::Malformed,
        format!("{what}, at line {line} column {column}"),
    )
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
