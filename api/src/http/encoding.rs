//! Compression of answers (RFC 9110, sections 8.4 and 12.5.3).

use service::http::{accepts_gzip, gzipped};

use super::{ETag, HeaderMap, HeaderValue, Reply, StatusCode, header};

/// Smaller bodies fit into one packet as they are.
const WORTHWHILE_BYTES: usize = 1024;

/// Compressing this much takes about a millisecond; with more, other requests would have to wait.
const BRIEF_BYTES: usize = 128 * 1024;

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
            reply.body = compressed(reply.body).await;
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

async fn compressed(body: Vec<u8>) -> Vec<u8> {
    if body.len() <= BRIEF_BYTES {
        return gzipped(&body);
    }
    let work = tokio::task::spawn_blocking(move || gzipped(&body));
    work.await.expect("compressing does not panic")
}
