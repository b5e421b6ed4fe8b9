//! What mutations take. REST checks it.

use async_graphql::{InputObject, MaybeUndefined};
use serde_json::{Map, Value};

use super::article::ArticleStatus;
use crate::upstream::Status;

/// A new article.
#[derive(InputObject)]
pub(crate) struct CreateArticleInput {
    /// 1 to 200 characters.
    title: String,
    /// Up to 1 MiB of text.
    content: String,
    /// 1 to 100 characters.
    author: String,
    /// 1 to 100 characters.
    category: Option<String>,
    /// Up to 20 different ones of 1 to 50 characters each.
    tags: Option<Vec<String>>,
    /// DRAFT when absent; not ARCHIVED.
    status: Option<ArticleStatus>,
}

/// A change of an article: what is absent stays, null removes.
#[derive(InputObject)]
pub(crate) struct UpdateArticleInput {
    title: MaybeUndefined<String>,
    content: MaybeUndefined<String>,
    author: MaybeUndefined<String>,
    category: MaybeUndefined<String>,
    tags: MaybeUndefined<Vec<String>>,
    status: MaybeUndefined<ArticleStatus>,
}

impl CreateArticleInput {
    pub(crate) fn body(self) -> Value {
        let mut members = Map::new();
        members.insert("title".to_owned(), self.title.into());
        members.insert("content".to_owned(), self.content.into());
        members.insert("author".to_owned(), self.author.into());
        if let Some(category) = self.category {
            members.insert("category".to_owned(), category.into());
        }
        if let Some(tags) = self.tags {
            members.insert("tags".to_owned(), tags.into());
        }
        if let Some(status) = self.status {
            members.insert("status".to_owned(), word(status));
        }
        members.into()
    }
}

impl UpdateArticleInput {
    /// A merge patch (RFC 7396).
    pub(crate) fn patch(self) -> Value {
        let mut members = Map::new();
        let mut put = |name: &str, value: MaybeUndefined<Value>| match value {
            MaybeUndefined::Undefined => {}
            MaybeUndefined::Null => _ = members.insert(name.to_owned(), Value::Null),
            MaybeUndefined::Value(value) => _ = members.insert(name.to_owned(), value),
        };
        put("title", self.title.map_value(Value::from));
        put("content", self.content.map_value(Value::from));
        put("author", self.author.map_value(Value::from));
        put("category", self.category.map_value(Value::from));
        put("tags", self.tags.map_value(Value::from));
        put("status", self.status.map_value(word));
        members.into()
    }
}

fn word(status: ArticleStatus) -> Value {
    match Status::from(status) {
        Status::Draft => "draft",
        Status::Published => "published",
        Status::Archived => "archived",
    }
    .into()
}
