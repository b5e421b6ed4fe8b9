//! What the REST API answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An article as REST has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Article {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) content: String,
    pub(crate) author: String,
    pub(crate) category: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) status: Status,
    pub(crate) views_count: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) published_at: Option<DateTime<Utc>>,
    /// Of the answer's header, where it is about one article.
    #[serde(skip)]
    pub(crate) etag: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Draft,
    Published,
    Archived,
}

/// An article that a search found.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub(crate) article: Article,
    pub(crate) rank: f64,
    pub(crate) snippet: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) page: i64,
    pub(crate) per_page: i64,
    pub(crate) total_items: i64,
    pub(crate) total_pages: i64,
}

/// Parameters of a list; REST checks them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct List {
    pub(crate) page: i64,
    pub(crate) per_page: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Search {
    pub(crate) q: String,
    #[serde(flatten)]
    pub(crate) list: List,
}
