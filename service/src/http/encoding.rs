//! Compressed answers (RFC 9110, sections 8.4 and 12.5.3).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use warp::http::HeaderMap;
use warp::http::header::ACCEPT_ENCODING;

/// Whether the client takes gzip: it, or anything, stands in `Accept-Encoding` without the weight 0.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut by_wildcard = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for coding in value.to_str().unwrap_or_default().split(',') {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let wanted = !parts.any(is_refusal);
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                return wanted;
            }
            by_wildcard |= name == "*" && wanted;
        }
    }
    by_wildcard
}

/// Whether a parameter of a choice is the weight 0 (RFC 9110, section 12.4.2).
pub fn is_refusal(parameter: &str) -> bool {
    let weight = parameter
        .strip_prefix("q=")
        .or(parameter.strip_prefix("Q="));
    weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight == 0.0))
}

/// Compressing this much takes about a millisecond; with more, other requests would have to wait.
const BRIEF_BYTES: usize = 128 * 1024;

/// `body` in gzip's format (RFC 1952). A long one is compressed beside the threads that serve.
///
/// # Panics
/// When the runtime ends meanwhile.
pub async fn gzipped(body: Vec<u8>) -> Vec<u8> {
    if body.len() <= BRIEF_BYTES {
        return compressed(&body);
    }
    let work = tokio::task::spawn_blocking(move || compressed(&body));
    work.await.expect("compressing does not panic")
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::fast());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use warp::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn accepts(value: &'static str, expected: bool) {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
        assert_eq!(accepts_gzip(&headers), expected, "{value}");
    }

    #[test]
    fn gzip_is_taken_unless_it_is_refused() {
        accepts("gzip, deflate, br", true);
        accepts("br;q=1.0, GZIP;q=0.5", true);
        accepts("*", true);
        accepts("gzip;q=0, *", false);
        accepts("*;q=0", false);
        accepts("identity", false);
        accepts("", false);
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn what_is_compressed_comes_back() {
        for repetitions in [100, BRIEF_BYTES] {
            let body = b"a body, a body, a body".repeat(repetitions);
            let mut back = Vec::new();
            let compressed = gzipped(body.clone()).await;
            GzDecoder::new(compressed.as_slice())
                .read_to_end(&mut back)
                .unwrap();
            assert_eq!(back, body);
            assert!(compressed.len() < body.len() / 10);
        }
    }
}
