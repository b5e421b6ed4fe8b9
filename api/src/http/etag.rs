//! Entity tags and the preconditions on them (RFC 9110, sections 8.8.3 and 13).

use std::fmt;

use super::{HeaderMap, HeaderName, HeaderValue, Kind, Problem, header};

/// Which version of a resource a representation is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ETag {
    weak: bool,
    /// Between the quotes.
    opaque: String,
}

impl ETag {
    pub(crate) fn strong(opaque: String) -> Self {
        Self {
            weak: false,
            opaque,
        }
    }

    pub(crate) fn weak(opaque: String) -> Self {
        Self { weak: true, opaque }
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("our tags are letters and digits")
    }

    fn matches_strongly(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    fn matches_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.weak {
            true => "W/",
            false => "",
        };
        write!(f, "{prefix}\"{}\"", self.opaque)
    }
}

/// `If-Match` and `If-None-Match` of a request.
#[derive(Debug, Default)]
pub(crate) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<ETag>),
}

impl Preconditions {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            if_match: tags(headers, &header::IF_MATCH)?,
            if_none_match: tags(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Whether a change says which version it is of.
    pub(crate) fn name_a_version(&self) -> bool {
        self.if_match.is_some()
    }

    /// Whether the client has this representation already (a GET then answers 304).
    pub(crate) fn is_known(&self, current: &ETag) -> bool {
        match &self.if_none_match {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|tag| tag.matches_weakly(current)),
        }
    }

    /// Refuses a change of another version than the one that the client means.
    pub(crate) fn require(&self, current: &ETag) -> Result<(), Problem> {
        let meant = match &self.if_match {
            None | Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|tag| tag.matches_strongly(current)),
        };
        match meant && !self.is_known(current) {
            true => Ok(()),
            false => {
                let detail = format!("the current version is {current}");
                Err(Problem::new(Kind::PreconditionFailed, detail)
                    .with(header::ETAG, current.header()))
            }
        }
    }
}

/// The tags of a header, which may stand there several times.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut tags = Vec::new();
    let mut present = false;
    for value in headers.get_all(name) {
        present = true;
        let text = value.to_str().map_err(|_| malformed(name))?;
        if text.trim() == "*" {
            return Ok(Some(Tags::Any));
        }
        tags.append(&mut list(text).ok_or_else(|| malformed(name))?);
    }
    Ok(present.then_some(Tags::These(tags)))
}

fn malformed(name: &HeaderName) -> Problem {
    let detail = format!("{name} is neither * nor a list of entity tags in double quotes");
    Problem::new(Kind::Malformed, detail)
}

/// A list as `"a", W/"b"`; a tag may hold a comma.
fn list(text: &str) -> Option<Vec<ETag>> {
    let mut tags = Vec::new();
    let mut rest = text.trim();
    loop {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(ETag {
            weak,
            opaque: opaque.to_owned(),
        });
        match after.trim_start().strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.trim().is_empty() => return Some(tags),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(opaque: &str) -> ETag {
        ETag::strong(opaque.to_owned())
    }

    fn preconditions(name: HeaderName, values: &[&'static str]) -> Result<Preconditions, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        Preconditions::of(&headers)
    }

    #[track_caller]
    fn allows(if_match: &[&'static str], expected: bool) {
        let preconditions = preconditions(header::IF_MATCH, if_match).unwrap();
        assert_eq!(preconditions.require(&tag("v2")).is_ok(), expected);
    }

    #[test]
    fn if_match_is_a_list_compared_strongly() {
        allows(&[], true);
        allows(&["*"], true);
        allows(&["\"v2\""], true);
        allows(&["\"v1\", \"v2\""], true);
        allows(&["\"v1\"", "\"v2\""], true);
        allows(&["\"v1\",\"a,b\" "], false);
        allows(&["W/\"v2\""], false);
    }

    #[test]
    fn if_none_match_is_compared_weakly() {
        let known = |value| {
            let preconditions = preconditions(header::IF_NONE_MATCH, &[value]).unwrap();
            preconditions.is_known(&tag("v2"))
        };
        assert!(known("W/\"v2\""));
        assert!(known("*"));
        assert!(!known("\"v1\""));
    }

    #[test]
    fn if_none_match_forbids_a_change_of_what_is_there() {
        let preconditions = preconditions(header::IF_NONE_MATCH, &["*"]).unwrap();
        assert!(preconditions.require(&tag("v2")).is_err());
    }

    #[test]
    fn a_tag_without_quotes_is_refused() {
        for value in ["v2", "\"v2", "\"v1\" \"v2\"", ","] {
            assert!(
                preconditions(header::IF_MATCH, &[value]).is_err(),
                "{value}"
            );
        }
    }
}
