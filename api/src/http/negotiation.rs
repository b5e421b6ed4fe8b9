//! Media types that a client accepts and sends (RFC 9110, sections 8.3 and 12.5.1).

use service::http::is_refusal;

use super::{HeaderMap, Kind, Problem, header};

/// A media type of a body, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Json,
    MergePatch,
}

/// Refuses a request whose `Accept` excludes what the resource is represented as.
pub(crate) fn require_acceptable(headers: &HeaderMap, offered: &str) -> Result<(), Problem> {
    let mut accepts = headers.get_all(header::ACCEPT).iter().peekable();
    if accepts.peek().is_none() {
        return Ok(());
    }
    // The most specific range that fits decides: `application/json;q=0, */*` excludes JSON.
    let mut best: Option<(usize, bool)> = None;
    for value in accepts {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let Some(rank) = specificity(parts.next().unwrap_or_default(), offered) else {
                continue;
            };
            let wanted = !parts.any(is_refusal);
            if best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, wanted));
            }
        }
    }
    match best {
        Some((_, true)) => Ok(()),
        _ => Err(Problem::new(
            Kind::NotAcceptable,
            format!("only {offered} is offered"),
        )),
    }
}

/// How precisely a media range names the type, if it includes it.
fn specificity(range: &str, offered: &str) -> Option<usize> {
    let (offered_type, _) = offered.split_once('/')?;
    let (range_type, subtype) = range.split_once('/')?;
    if range.eq_ignore_ascii_case(offered) {
        Some(2)
    } else if subtype == "*" && range_type.eq_ignore_ascii_case(offered_type) {
        Some(1)
    } else if range == "*/*" {
        Some(0)
    } else {
        None
    }
}

/// The body's media type, when it is one of ours and neither compressed nor in another charset.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next()?;
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if !utf8 {
        None
    } else if media_type.eq_ignore_ascii_case("application/json") {
        Some(MediaType::Json)
    } else if media_type.eq_ignore_ascii_case("application/merge-patch+json") {
        Some(MediaType::MergePatch)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeaderName, HeaderValue};

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[track_caller]
    fn accepts(accept: &'static str, expected: bool) {
        let headers = headers(header::ACCEPT, accept);
        let accepted = require_acceptable(&headers, "application/json").is_ok();
        assert_eq!(accepted, expected, "{accept}");
    }

    #[test]
    fn the_most_specific_range_decides() {
        accepts("application/json", true);
        accepts("text/html, application/*;q=0.1", true);
        accepts("text/html,*/*;q=0.8", true);
        accepts("Application/JSON; charset=utf-8", true);
        accepts("text/html", false);
        accepts("application/json;q=0, */*", false);
        accepts("*/*;q=0", false);
        accepts("", false);
        assert!(require_acceptable(&HeaderMap::new(), "application/json").is_ok());
    }

    #[test]
    fn the_body_is_json_in_utf8() {
        let of = |value| content_type(&headers(header::CONTENT_TYPE, value));
        assert_eq!(of("application/json"), Some(MediaType::Json));
        assert_eq!(
            of("application/json; charset=\"UTF-8\""),
            Some(MediaType::Json)
        );
        assert_eq!(
            of("application/merge-patch+json"),
            Some(MediaType::MergePatch)
        );
        assert_eq!(of("application/json; charset=latin1"), None);
        assert_eq!(of("text/plain"), None);
        assert_eq!(content_type(&HeaderMap::new()), None);
    }
}
