//! Articles as fields.

use async_graphql::{Enum, ID, Object};

use super::scalar::DateTime;
use crate::upstream;

/// Where an article is in its life: from draft to published to archived, or from draft to archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "upstream::Status")]
pub(crate) enum ArticleStatus {
    Draft,
    Published,
    Archived,
}

/// An article of the blog.
pub(crate) struct Article(pub(crate) upstream::Article);

#[Object]
impl Article {
    /// Given by the service, never used again.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// 1 to 200 characters.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// Up to 1 MiB of text.
    async fn content(&self) -> &str {
        &self.0.content
    }

    /// 1 to 100 characters.
    async fn author(&self) -> &str {
        &self.0.author
    }

    /// 1 to 100 characters, where the article has one.
    async fn category(&self) -> Option<&str> {
        self.0.category.as_deref()
    }

    /// Up to 20 different ones of 1 to 50 characters each.
    async fn tags(&self) -> &[String] {
        &self.0.tags
    }

    async fn status(&self) -> ArticleStatus {
        self.0.status.into()
    }

    /// How often the article was read through REST, as of a second ago.
    async fn views_count(&self) -> i64 {
        self.0.views_count
    }

    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When a client last changed it; views are no change.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.updated_at)
    }

    /// Set when the article becomes published.
    async fn published_at(&self) -> Option<DateTime> {
        self.0.published_at.map(DateTime)
    }

    /// The version, for `ifMatch` of a mutation. Only the answers of mutations have it.
    async fn etag(&self) -> Option<&str> {
        self.0.etag.as_deref()
    }
}

/// An article that a search found.
pub(crate) struct SearchResult(pub(crate) upstream::Found);

#[Object]
impl SearchResult {
    async fn article(&self) -> Article {
        Article(self.0.article.clone())
    }

    /// How well it fits: higher is better; comparable within one search only.
    async fn rank(&self) -> f64 {
        self.0.rank
    }

    /// Where the words were found: HTML-escaped text with `<mark>` around them.
    async fn snippet(&self) -> &str {
        &self.0.snippet
    }
}
