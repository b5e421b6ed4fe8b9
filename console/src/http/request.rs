//! A request before anything is known about it.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;

use super::{HeaderMap, Method, StatusCode, header};

pub(crate) struct Request {
    pub(crate) method: Method,
    /// As it stands in the request line, percent-encoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
}

/// A body that may still be on its way. The error says nothing: the client is gone.
pub(crate) type Body = BoxStream<'static, Result<Bytes, ()>>;

/// More than any form of ours; a schema that is tested may be long.
const BODY_BYTES: usize = 1024 * 1024;

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The fields of a body, which is a form or a JSON object. A form of another site is refused
    /// before, at the gate.
    pub(crate) async fn fields(&self, mut body: Body) -> Result<Pairs, StatusCode> {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|()| StatusCode::BAD_REQUEST)?;
            if bytes.len() + chunk.len() > BODY_BYTES {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            bytes.extend_from_slice(&chunk);
        }
        let content_type = self.header(header::CONTENT_TYPE.as_str());
        let media_type = content_type.and_then(|it| it.split(';').next());
        match media_type.map(str::trim) {
            Some("application/json") => Pairs::of_json(&bytes),
            Some("application/x-www-form-urlencoded") => Pairs::of_form(&bytes),
            None if bytes.is_empty() => Ok(Pairs::default()),
            _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        }
    }
}

/// Names with values, in the order in which they came: of a query, of a form, of a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(crate) fn of_query(query: &str) -> Self {
        Self(serde_urlencoded::from_str(query).unwrap_or_default())
    }

    fn of_form(bytes: &[u8]) -> Result<Self, StatusCode> {
        let pairs = serde_urlencoded::from_bytes(bytes);
        pairs.map(Self).map_err(|_| StatusCode::BAD_REQUEST)
    }

    /// Members that are lists have their name once for each value; null is as if it were not there.
    fn of_json(bytes: &[u8]) -> Result<Self, StatusCode> {
        let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        let mut pairs = Vec::new();
        for (name, value) in members {
            match value {
                Value::Array(values) => {
                    for value in values {
                        pairs.push((name.clone(), plain(value).ok_or(StatusCode::BAD_REQUEST)?));
                    }
                }
                Value::Null => {}
                value => pairs.push((name, plain(value).ok_or(StatusCode::BAD_REQUEST)?)),
            }
        }
        Ok(Self(pairs))
    }

    /// The first value of that name, without the spaces around it; none when it is empty, as fields
    /// of a form are that nobody filled in.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Every value of that name that is not empty.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(found, _)| found == name);
        named
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The same with one value replaced, or added, as a query: links that change one thing of a page.
    pub(crate) fn query_with(&self, name: &str, value: &str) -> String {
        let others = self.0.iter().filter(|(found, _)| found != name);
        let others = others.map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<(&str, &str)> = others.chain([(name, value)]).collect();
        serde_urlencoded::to_string(pairs).expect("pairs of texts")
    }

    /// The same without the values of these names.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let others = self
            .0
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()));
        Self(others.cloned().collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Pairs {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(owned.into())
    }
}

fn plain(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The parts of a path, decoded; none when one is not UTF-8.
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(decoded).collect()
}

/// `+` stands for itself in a path.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// A name as a part of a path: every byte that is not unreserved (RFC 3986) is encoded.
pub(crate) fn path_segment(name: &str) -> String {
    let encoded = name.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        for name in ["lockstep.public.articles", "a/b ?#%", "Übung+1"] {
            let path = format!("/topics/{}", path_segment(name));
            assert_eq!(segments(&path).unwrap(), ["topics", name]);
        }
        assert_eq!(segments("/a/%f"), None);
        assert_eq!(segments("/a/%ff"), None);
    }

    #[test]
    fn fields_are_the_same_by_form_and_by_json() {
        let form = Pairs::of_form(b"table=a.b&table=c.d&limit=3&none=").unwrap();
        let json = br#"{"table": ["a.b", "c.d"], "limit": 3, "none": null}"#;
        let json = Pairs::of_json(json).unwrap();
        for fields in [form, json] {
            assert_eq!(fields.all("table").collect::<Vec<_>>(), ["a.b", "c.d"]);
            assert_eq!(fields.one("limit"), Some("3"));
            assert_eq!(fields.one("none"), None);
        }
        assert!(Pairs::of_json(b"[]").is_err());
        assert!(Pairs::of_json(br#"{"a": {}}"#).is_err());
    }

    #[test]
    fn a_link_changes_one_thing() {
        let query = Pairs::from([("page", "2"), ("table", "a&b")]);
        assert_eq!(query.query_with("page", "3"), "table=a%26b&page=3");
    }
}
