//! Articles as fields.

use async_graphql::{Context, Enum, ID, Object, Result};
use change::Lsn;

use super::error::gone;
use super::scalar::DateTime;
use super::session::{load, session};
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
pub(crate) struct Article {
    fields: upstream::Article,
    /// Where the content is not among the fields: the position that a read has to have.
    content_since: Option<Lsn>,
}

impl From<upstream::Article> for Article {
    fn from(fields: upstream::Article) -> Self {
        Self {
            fields,
            content_since: None,
        }
    }
}

impl Article {
    /// As a change left it that said nothing about the content.
    pub(crate) fn without_content(fields: upstream::Article, position: Lsn) -> Self {
        Self {
            fields,
            content_since: Some(position),
        }
    }
}

#[Object]
impl Article {
    /// Given by the service, never used again.
    async fn id(&self) -> ID {
        self.fields.id.into()
    }

    /// 1 to 200 characters.
    async fn title(&self) -> &str {
        &self.fields.title
    }

    /// Up to 1 MiB of text.
    async fn content(&self, context: &Context<'_>) -> Result<String> {
        let Some(position) = self.content_since else {
            return Ok(self.fields.content.clone());
        };
        session(context)?.caller().sees(position);
        let read = load(context, self.fields.id).await?;
        read.map(|article| article.content)
            .ok_or_else(|| gone("the article was deleted before its content was read"))
    }

    /// 1 to 100 characters.
    async fn author(&self) -> &str {
        &self.fields.author
    }

    /// 1 to 100 characters, where the article has one.
    async fn category(&self) -> Option<&str> {
        self.fields.category.as_deref()
    }

    /// Up to 20 different ones of 1 to 50 characters each.
    async fn tags(&self) -> &[String] {
        &self.fields.tags
    }

    async fn status(&self) -> ArticleStatus {
        self.fields.status.into()
    }

    /// How often the article was read through REST, as of a second ago.
    async fn views_count(&self) -> i64 {
        self.fields.views_count
    }

    async fn created_at(&self) -> DateTime {
        DateTime(self.fields.created_at)
    }

    /// When a client last changed it; views are no change.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.fields.updated_at)
    }

    /// Set when the article becomes published.
    async fn published_at(&self) -> Option<DateTime> {
        self.fields.published_at.map(DateTime)
    }

    /// The version, for `ifMatch` of a mutation. Answers of mutations and changes have it, lists do
    /// not.
    async fn etag(&self) -> Option<&str> {
        self.fields.etag.as_deref()
    }
}

/// An article that a search found.
pub(crate) struct SearchResult(pub(crate) upstream::Found);

#[Object]
impl SearchResult {
    async fn article(&self) -> Article {
        self.0.article.clone().into()
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
