//! Compression of answers (RFC 9110, sections 8.4 and 12.5.3).

use service::http::{accepts_gzip, gzipped};

use super::{ETag, HeaderMap, HeaderValue, Reply, StatusCode, header};

/// Smaller bodies fit into one packet as they are.
const WORTHWHILE_BYTES: usize = 1024;

/// What a client takes besides the plain form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// The one to answer this request with.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match accepts_gzip(headers) {
            true => Self::Gzip,
            false => Self::Identity,
        }
    }

    /// Encodes a reply where that is worth it. A reply without a body that the client knows (304)
    /// gets the entity tag that the body would have, and loses it here.
    pub(crate) async fn apply(self, mut reply: Reply) -> Reply {
        if reply.status == StatusCode::NO_CONTENT {
            return reply;
        }
        reply.headers.append(
            header::VARY,
            HeaderValue::from_static("accept, accept-encoding"),
        );
        let is_encoded = self == Self::Gzip && reply.body.len() >= WORTHWHILE_BYTES;
        if is_encoded {
            mark(&mut reply.headers);
        }
        if reply.status == StatusCode::NOT_MODIFIED {
            reply.headers.remove(header::CONTENT_TYPE);
            reply.body.clear();
        } else if is_encoded {
            reply
                .headers
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            reply.body = gzipped(reply.body).await;
        }
        reply
    }
}

/// Another representation has another strong entity tag (RFC 9110, section 8.8.3).
fn mark(headers: &mut HeaderMap) {
    let etag = headers.get(header::ETAG).and_then(ETag::parse);
    if let Some(etag) = etag {
        headers.insert(header::ETAG, etag.of_gzip().header());
    }
}
