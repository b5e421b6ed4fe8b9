//! Whose requests are looked at all.
//!
//! A page of another site can have a browser ask this console for things, with the cookies that it
//! has. So the name it is asked by must be ours, since else a name that begins to lead here (DNS
//! rebinding) would make that page one of ours; and what changes something must come from a page of
//! ours, by what the browser itself says. Forms carry a token besides ([`crate::sessions`]).

use std::net::IpAddr;

use base64ct::{Base64, Encoding};

use crate::http::{HeaderMap, header};

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this console does not go by that name: allow it with --console-host")]
    Host,
    #[error("the request comes from a page of another site")]
    Origin,
}

/// Addresses cannot be rebound to; names can.
pub(crate) fn require_host(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refused> {
    let host = text(headers, header::HOST.as_str()).ok_or(Refused::Host)?;
    let name = host_name(host);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_ours = is_address
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|it| it.eq_ignore_ascii_case(name));
    is_ours.then_some(()).ok_or(Refused::Host)
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rfind(':') {
        // The colons of an IPv6 address stand in brackets.
        Some(at) if !host[at..].contains(']') => &host[..at],
        _ => host,
    }
}

/// Fetch metadata where the browser sends it, and its `Origin`. Programs send neither.
pub(crate) fn require_own_page(headers: &HeaderMap) -> Result<(), Refused> {
    let site = text(headers, "sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Refused::Origin);
    }
    let host = text(headers, header::HOST.as_str());
    match text(headers, header::ORIGIN.as_str()) {
        None => Ok(()),
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let same = authority.is_some() && authority == host;
            same.then_some(()).ok_or(Refused::Origin)
        }
    }
}

/// Name and password as a program gives them (RFC 7617). Browsers are never asked for them, since
/// they would add them to requests of other sites' pages too.
pub(crate) fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = text(headers, header::AUTHORIZATION.as_str())?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = Base64::decode_vec(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use crate::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn only_names_of_ours_are_answered() {
        let allowed = ["console.example".to_owned()];
        for (host, ours) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("10.1.2.3", true),
            ("Console.Example", true),
            ("console.example:80", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:8080", false),
            ("", false),
        ] {
            let checked = require_host(&headers(&[("host", host)]), &allowed);
            assert_eq!(checked.is_ok(), ours, "{host}");
        }
        assert!(require_host(&HeaderMap::new(), &allowed).is_err());
    }

    #[test]
    fn programs_give_name_and_password() {
        let given = |value| basic_credentials(&headers(&[("authorization", value)]));
        let expected = Some(("ann".to_owned(), "a:b".to_owned()));
        assert_eq!(given("Basic YW5uOmE6Yg=="), expected);
        assert_eq!(given("Bearer YW5uOmE6Yg=="), None);
        assert_eq!(given("Basic ?"), None);
    }

    #[test]
    fn only_pages_of_ours_change_something() {
        const HOST: (&str, &str) = ("host", "localhost:8080");
        for (more, ours) in [
            (("accept", "*/*"), true),
            (("sec-fetch-site", "same-origin"), true),
            (("sec-fetch-site", "none"), true),
            (("sec-fetch-site", "same-site"), false),
            (("sec-fetch-site", "cross-site"), false),
            (("origin", "http://localhost:8080"), true),
            (("origin", "http://localhost:8081"), false),
            (("origin", "http://evil.example"), false),
            (("origin", "null"), false),
        ] {
            let checked = require_own_page(&headers(&[HOST, more]));
            assert_eq!(checked.is_ok(), ours, "{more:?}");
        }
    }
}
