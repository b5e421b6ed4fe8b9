//! A request as the resources see it: path decoded, query parsed, body still bytes.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::registry::canonical::Properties;
use crate::registry::error::ApiError;
use crate::registry::event::{SchemaId, Version};
use crate::registry::ledger::{
    Candidate, Draft, DraftReference, Format, Ledger, Which, Wish, check_subject,
};
use crate::registry::state::{MAX_NUMBER, Show};

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path's segments, percent-decoded; a subject may contain `/` this way.
    pub(crate) path: Vec<String>,
    pub(crate) query: Query,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
    Other,
}

/// Splits a raw path and decodes its segments; `None` when one of them is no UTF-8 text. A
/// trailing slash is as good as none.
pub(crate) fn decode_path(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(percent_decode).collect()
}

/// `None` when an escape is malformed or the bytes are no UTF-8.
pub(crate) fn percent_decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        // `from_str_radix` alone would also take a leading '+'.
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The parameters after `?`, percent-decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

impl Query {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Python clients send `True` and `False`. Anything but "true" is false, as in Java.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn show(&self) -> Show {
        if self.flag("deletedOnly") {
            Show::DeletedOnly
        } else if self.flag("deleted") {
            Show::All
        } else {
            Show::Live
        }
    }

    /// Confluent's registry takes a format that it does not know for none.
    pub(crate) fn format(&self) -> Format {
        match self.text("format") {
            Some("resolved") => Format::Resolved,
            Some(_) | None => Format::Stored,
        }
    }

    /// The part of a list that `offset` and `limit` ask for; a limit below 0 is none.
    pub(crate) fn page<T>(
        &self,
        items: impl Iterator<Item = T>,
        default_limit: Option<usize>,
    ) -> Result<Vec<T>, ApiError> {
        let offset = self
            .number("offset")?
            .map_or(0, |offset| usize::try_from(offset).unwrap_or(0));
        let limit = match self.number("limit")? {
            Some(limit) => usize::try_from(limit).ok(),
            None => default_limit,
        };
        Ok(items
            .skip(offset)
            .take(limit.unwrap_or(usize::MAX))
            .collect())
    }

    /// A parameter that is no number makes the address unknown, as in Confluent's framework.
    fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.text(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => value.parse().map(Some).map_err(|_| ApiError::NotFound),
        }
    }
}

/// The body of register, lookup and compatibility requests. What this registry does not know
/// of (metadata, rules) is refused where leaving it out would change the meaning.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaBody {
    schema: Option<String>,
    schema_type: Option<String>,
    id: Option<i32>,
    version: Option<i32>,
    references: Option<Vec<ReferenceBody>>,
    metadata: Option<Value>,
    rule_set: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ReferenceBody {
    name: Option<String>,
    subject: Option<String>,
    version: Option<i32>,
}

impl Request {
    /// The schema that the body tells, for a subject that may have one.
    pub(crate) fn candidate(
        &self,
        ledger: &Ledger,
        subject: &str,
    ) -> Result<(Candidate, Wish), ApiError> {
        let body: SchemaBody = self.json()?;
        check_subject(subject)?;
        let wish = wish(&body)?;
        let sorted = self.query.flag("normalize") || ledger.state().scopes().normalizes(subject);
        let properties = if sorted {
            Properties::Sorted
        } else {
            Properties::AsWritten
        };
        Ok((ledger.candidate(draft(body)?, properties)?, wish))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.body.is_empty() {
            return Err(ApiError::EmptyBody);
        }
        serde_json::from_slice(&self.body).map_err(|error| ApiError::BadRequest(error.to_string()))
    }
}

fn draft(body: SchemaBody) -> Result<Draft, ApiError> {
    let refuse = |message: String| Err(ApiError::InvalidSchema(message));
    match body.schema_type.as_deref() {
        None | Some("AVRO") => {}
        Some(other) => return refuse(format!("type {other} is not supported, only AVRO is")),
    }
    for (name, part) in [("metadata", &body.metadata), ("ruleSet", &body.rule_set)] {
        if !part.as_ref().is_none_or(says_nothing) {
            return refuse(format!("{name} is not supported"));
        }
    }
    let Some(text) = body.schema.filter(|text| !text.trim().is_empty()) else {
        return refuse("the schema is empty".to_owned());
    };
    let mut references = Vec::new();
    for reference in body.references.unwrap_or_default() {
        let (Some(name), Some(subject), Some(version)) =
            (reference.name, reference.subject, reference.version)
        else {
            return refuse("a reference has a name, a subject and a version".to_owned());
        };
        references.push(DraftReference {
            name,
            subject: in_default_context(&subject).to_owned(),
            version: Which::numbered(version)?,
        });
    }
    Ok(Draft { text, references })
}

/// A negative id and a version that is not positive are as good as none.
fn wish(body: &SchemaBody) -> Result<Wish, ApiError> {
    let number = |name: &str, number: i32| {
        let number = u32::try_from(number)
            .ok()
            .filter(|number| *number <= MAX_NUMBER);
        number.ok_or_else(|| ApiError::BadRequest(format!("{name} is not below 2^31-1")))
    };
    let id = body.id.filter(|id| *id >= 0);
    let version = body.version.filter(|version| *version > 0);
    Ok(Wish {
        id: id.map(|id| number("id", id).map(SchemaId)).transpose()?,
        version: version
            .map(|version| number("version", version).map(Version))
            .transpose()?,
    })
}

/// The name of a subject without the default context, the only one there is, before it.
pub(crate) fn in_default_context(subject: &str) -> &str {
    subject.strip_prefix(":.:").unwrap_or(subject)
}

/// `null`, or an object or list with nothing but such values in it.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().all(says_nothing),
        Value::Object(object) => object.values().all(says_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

impl Which {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("latest") {
            return Ok(Self::Latest);
        }
        let number = trimmed.parse();
        number.map_or_else(
            |_| Err(ApiError::InvalidVersion(text.to_owned())),
            Self::numbered,
        )
    }

    pub(crate) fn numbered(number: i32) -> Result<Self, ApiError> {
        match number {
            -1 => Ok(Self::Latest),
            1.. => Ok(Self::Number(Version(number.unsigned_abs()))),
            _ => Err(ApiError::InvalidVersion(number.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Query, Version, Which, decode_path};

    #[track_caller]
    fn path(raw: &str, expected: Option<&[&str]>) {
        let decoded = decode_path(raw);
        let decoded: Option<Vec<&str>> = decoded
            .as_ref()
            .map(|segments| segments.iter().map(String::as_str).collect());
        assert_eq!(decoded.as_deref(), expected);
    }

    #[test]
    fn segments_are_decoded_after_splitting() {
        path("/", Some(&[]));
        path("/subjects/", Some(&["subjects"]));
        path("/subjects/a%2Fb%20%C3%A4+c", Some(&["subjects", "a/b ä+c"]));
        path("/subjects//versions", Some(&["subjects", "", "versions"]));
        path("/subjects/%", None);
        path("/subjects/%+1", None);
        path("/subjects/%FF", None);
    }

    #[test]
    fn versions_are_numbers_from_one_or_latest() {
        assert_eq!(Which::parse(" LATEST ").unwrap(), Which::Latest);
        assert_eq!(Which::parse("-1").unwrap(), Which::Latest);
        assert_eq!(
            Which::parse("2147483647").unwrap(),
            Which::Number(Version(2_147_483_647))
        );
        for wrong in ["0", "-2", "2147483648", "one", ""] {
            assert_eq!(Which::parse(wrong).unwrap_err().code(), 42202, "{wrong}");
        }
    }

    #[test]
    fn booleans_come_in_any_case() {
        let query = Query(vec![
            ("deleted".to_owned(), "True".to_owned()),
            ("normalize".to_owned(), "False".to_owned()),
        ]);
        assert!(query.flag("deleted"));
        assert!(!query.flag("normalize"));
        assert!(!query.flag("absent"));
    }

    #[test]
    fn pages_skip_and_stop() {
        let page = |offset: &str, limit: &str| {
            let query = Query(vec![
                ("offset".to_owned(), offset.to_owned()),
                ("limit".to_owned(), limit.to_owned()),
            ]);
            query.page(0..5, Some(2)).map_err(|error| error.code())
        };
        assert_eq!(page("1", "2"), Ok(vec![1, 2]));
        assert_eq!(page("3", "-1"), Ok(vec![3, 4]));
        assert_eq!(page("", ""), Ok(vec![0, 1]));
        assert_eq!(page("x", ""), Err(404));
    }
}
