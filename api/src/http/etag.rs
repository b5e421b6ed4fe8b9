//! Entity tags, dates, and the preconditions on them (RFC 9110, sections 8.8 and 13).

use std::fmt;

use chrono::{DateTime, Utc};

use super::date::parse_http_date;
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

    /// Reads one of ours, as it stands in a reply.
    pub(super) fn parse(value: &HeaderValue) -> Option<Self> {
        let mut tags = list(value.to_str().ok()?)?;
        tags.pop()
    }

    /// Of the same version, compressed. A weak tag is of the content, however it is encoded.
    pub(super) fn of_gzip(self) -> Self {
        match self.weak {
            true => self,
            false => Self::strong(self.opaque + GZIP),
        }
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

/// Ends the tags of compressed representations. Clients may send it or not: it is the same version.
const GZIP: &str = "-gzip";

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.weak {
            true => "W/",
            false => "",
        };
        write!(f, "{prefix}\"{}\"", self.opaque)
    }
}

/// What a request demands of the version that is there, or has of it already.
#[derive(Debug, Default)]
pub(crate) struct Preconditions {
    if_match: Option<Tags>,
    if_unmodified_since: Option<DateTime<Utc>>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<DateTime<Utc>>,
}

/// What tells the versions of a resource apart.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) etag: ETag,
    /// None where times say nothing, as of a page of a list.
    pub(crate) modified: Option<DateTime<Utc>>,
}

impl Version {
    /// `Last-Modified` has no more than seconds, so neither has the comparison with it.
    fn is_after(&self, date: Option<DateTime<Utc>>) -> Option<bool> {
        Some(self.modified?.timestamp() > date?.timestamp())
    }
}

impl From<ETag> for Version {
    fn from(etag: ETag) -> Self {
        Self {
            etag,
            modified: None,
        }
    }
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
            if_unmodified_since: date(headers, &header::IF_UNMODIFIED_SINCE),
            if_none_match: tags(headers, &header::IF_NONE_MATCH)?,
            if_modified_since: date(headers, &header::IF_MODIFIED_SINCE),
        })
    }

    /// Whether a change says which version it is of.
    pub(crate) fn name_a_version(&self) -> bool {
        self.if_match.is_some()
    }

    /// Whether the client has this representation already (a GET then answers 304). Dates count
    /// only without tags, which are exact.
    pub(crate) fn is_known(&self, current: &Version) -> bool {
        match &self.if_none_match {
            None => current.is_after(self.if_modified_since) == Some(false),
            Some(tags) => tags.include(&current.etag, ETag::matches_weakly),
        }
    }

    /// Refuses a change of another version than the one that the client means.
    pub(crate) fn require(&self, current: &Version) -> Result<(), Problem> {
        let is_meant = match &self.if_match {
            None => current.is_after(self.if_unmodified_since) != Some(true),
            Some(tags) => tags.include(&current.etag, ETag::matches_strongly),
        };
        let is_excluded = match &self.if_none_match {
            None => false,
            Some(tags) => tags.include(&current.etag, ETag::matches_weakly),
        };
        match is_meant && !is_excluded {
            true => Ok(()),
            false => {
                let detail = format!("the current version is {}", current.etag);
                Err(Problem::new(Kind::PreconditionFailed, detail)
                    .with(header::ETAG, current.etag.header()))
            }
        }
    }
}

impl Tags {
    fn include(&self, etag: &ETag, matches: impl Fn(&ETag, &ETag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| matches(tag, etag)),
        }
    }
}

/// A header that is no date, or several, is as none (RFC 9110, sections 13.1.3 and 13.1.4).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<DateTime<Utc>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    match values.next() {
        None => parse_http_date(value.to_str().ok()?),
        Some(_) => None,
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
            opaque: opaque.strip_suffix(GZIP).unwrap_or(opaque).to_owned(),
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

    fn tag(opaque: &str) -> Version {
        ETag::strong(opaque.to_owned()).into()
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
    fn a_compressed_representation_is_of_the_same_version() {
        let etag = tag("v2").etag.of_gzip();
        assert_eq!(etag.to_string(), "\"v2-gzip\"");
        assert_eq!(ETag::parse(&etag.header()), Some(tag("v2").etag));
        let weak = ETag::weak("p1".to_owned());
        assert_eq!(weak.clone().of_gzip(), weak);
        allows(&["\"v2-gzip\""], true);
        allows(&["\"v1-gzip\""], false);
        allows(&["W/\"v2-gzip\""], false);
        let known = preconditions(header::IF_NONE_MATCH, &["W/\"v2-gzip\""]).unwrap();
        assert!(known.is_known(&tag("v2")));
    }

    fn of_noon(pairs: &[(HeaderName, &'static str)]) -> (bool, bool) {
        let pairs = pairs.iter().cloned();
        let headers = pairs.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let preconditions = Preconditions::of(&headers.collect()).unwrap();
        let version = Version {
            modified: "2026-03-04T12:00:00.9Z".parse().ok(),
            ..tag("v2")
        };
        (
            preconditions.is_known(&version),
            preconditions.require(&version).is_ok(),
        )
    }

    #[test]
    fn dates_count_to_the_second_and_only_without_tags() {
        const BEFORE: &str = "Wed, 04 Mar 2026 11:59:59 GMT";
        const SAME: &str = "Wed, 04 Mar 2026 12:00:00 GMT";
        let (since, until) = (header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE);
        assert_eq!(of_noon(&[(since.clone(), BEFORE)]), (false, true));
        assert_eq!(of_noon(&[(since.clone(), SAME)]), (true, true));
        assert_eq!(of_noon(&[(since.clone(), "yesterday")]), (false, true));
        assert_eq!(of_noon(&[(until.clone(), BEFORE)]), (false, false));
        assert_eq!(of_noon(&[(until.clone(), SAME)]), (false, true));
        assert_eq!(of_noon(&[(until.clone(), "0")]), (false, true));
        let with_tags = [(since, SAME), (header::IF_NONE_MATCH, "\"v1\"")];
        assert_eq!(of_noon(&with_tags), (false, true));
        let with_tags = [(until, BEFORE), (header::IF_MATCH, "\"v2\"")];
        assert_eq!(of_noon(&with_tags), (false, true));
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
