//! What every HTTP service reads from a request's header in the same way.

use uuid::Uuid;
use warp::http::HeaderMap;
use warp::http::header::COOKIE;

use crate::Secret;

/// The client's `X-Request-Id`, when it is fit for headers and logs; else one of ours.
pub fn request_id(headers: &HeaderMap) -> String {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/+=".contains(&byte);
    let given = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    match given {
        Some(id) if (1..=128).contains(&id.len()) && id.bytes().all(fit) => id.to_owned(),
        _ => Uuid::new_v4().to_string(),
    }
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

/// Whether the value of `Authorization` carries the bearer token (RFC 6750, section 2.1).
pub fn carries_token(authorization: Option<&[u8]>, token: &Secret) -> bool {
    let given = authorization.and_then(|header| {
        let (scheme, token) = header.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    given.is_some_and(|given| same(given, token.expose().as_bytes()))
}

/// Compares in a time that does not tell how much of a guess was right.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(token)
        .fold(0, |bits, (left, right)| bits | (left ^ right));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        let token = Secret::new("token");
        let carries = |header: &str| carries_token(Some(header.as_bytes()), &token);
        assert!(carries("Bearer token"));
        assert!(carries("bearer token"));
        for header in [
            "Bearer toke",
            "Bearer tokens",
            "Bearer ",
            "Bearer",
            "Basic token",
            "",
        ] {
            assert!(!carries(header), "{header}");
        }
        assert!(!carries_token(None, &token));
    }

    #[test]
    fn an_unfit_request_id_is_replaced() {
        let of = |value: HeaderValue| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", value);
            request_id(&headers)
        };
        assert_eq!(of(HeaderValue::from_static("abc-1.2")), "abc-1.2");
        assert_eq!(of(HeaderValue::from_static("a b")).len(), 36);
        assert_eq!(of(HeaderValue::from_static("")).len(), 36);
        assert_eq!(of(HeaderValue::from_bytes(&[b'a'; 129]).unwrap()).len(), 36);
        assert_eq!(request_id(&HeaderMap::new()).len(), 36);
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; b=2"));
        headers.append(COOKIE, HeaderValue::from_static("c=3=4"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "c"), Some("3=4"));
        assert_eq!(cookie(&headers, "d"), None);
    }
}
