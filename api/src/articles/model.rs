//! What an article is.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::http::{ETag, Kind, Problem, Version, http_date};

/// An article's number: positive, given by the database, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct ArticleId(i64);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAnId;

impl ArticleId {
    pub(crate) fn new(number: i64) -> Self {
        Self(number)
    }

    pub(crate) fn number(self) -> i64 {
        self.0
    }
}

impl FromStr for ArticleId {
    type Err = NotAnId;

    /// One spelling only, so that an article has one URL.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number) if canonical => Ok(Self(number)),
            _ => Err(NotAnId),
        }
    }
}

impl fmt::Display for ArticleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an article is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Draft,
    Published,
    Archived,
}

impl Status {
    pub(crate) const ALL: [Self; 3] = [Self::Draft, Self::Published, Self::Archived];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Archived => "archived",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Refuses a step that an article's life does not have. Staying is no step.
    pub(crate) fn require_step_to(self, next: Self) -> Result<(), Problem> {
        match (self, next) {
            (Self::Draft, _)
            | (Self::Published, Self::Published | Self::Archived)
            | (Self::Archived, Self::Archived) => Ok(()),
            (Self::Published, Self::Draft) | (Self::Archived, Self::Draft | Self::Published) => {
                let (from, to) = (self.as_str(), next.as_str());
                let detail = format!("the article is {from} and cannot become {to}");
                Err(Problem::new(Kind::Conflict, detail))
            }
        }
    }
}

/// What a client writes of an article.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fields {
    pub(crate) title: String,
    pub(crate) content: String,
    pub(crate) author: String,
    pub(crate) category: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) status: Status,
}

/// An article as it is read.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Article {
    pub(crate) id: ArticleId,
    #[serde(flatten)]
    pub(crate) fields: Fields,
    pub(crate) views_count: i64,
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) created_at: DateTime<Utc>,
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) updated_at: DateTime<Utc>,
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub(crate) published_at: Option<DateTime<Utc>>,
    /// Rises with every edit; the ETag shows it.
    #[serde(skip)]
    pub(crate) version: i64,
}

impl Article {
    /// Of the version, which views do not change: else no reader could ever use its copy.
    pub(crate) fn etag(&self) -> ETag {
        ETag::strong(format!("v{}", self.version))
    }

    pub(crate) fn last_modified(&self) -> String {
        http_date(self.updated_at)
    }

    pub(crate) fn as_version(&self) -> Version {
        Version {
            etag: self.etag(),
            modified: Some(self.updated_at),
        }
    }
}

/// In UTC with the microseconds that Postgres keeps.
pub(crate) fn rfc3339(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn as_rfc3339<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(time))
}

fn as_rfc3339_or_null<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}
