//! Writes. They run one after the other, as GraphQL demands, and go to the primary.

use async_graphql::{Context, ID, Object, Result};

use super::article::Article;
use super::error::{bad_input, failed, gone};
use super::input::{CreateArticleInput, UpdateArticleInput};
use super::query::number;
use super::session::{session, upstream};
pub(crate) struct Mutation;

#[Object]
impl Mutation {
    /// Makes an article.
    async fn create_article(
        &self,
        context: &Context<'_>,
        input: CreateArticleInput,
    ) -> Result<Article> {
        let caller = session(context)?.caller();
        let created = upstream(context)?.create(caller, &input.body()).await;
        created.map(Article::from).map_err(failed)
    }

    /// Changes what `input` names of an article.
    async fn update_article(
        &self,
        context: &Context<'_>,
        id: ID,
        input: UpdateArticleInput,
        #[graphql(desc = "An article's etag: changes that version only.")] if_match: Option<String>,
    ) -> Result<Article> {
        let caller = session(context)?.caller();
        let upstream = upstream(context)?;
        let updated = upstream
            .update(caller, existing(&id)?, &input.patch(), tag(&if_match)?)
            .await;
        updated.map(Article::from).map_err(failed)
    }

    /// Deletes an article; true when it is gone.
    async fn delete_article(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "An article's etag: deletes that version only.")] if_match: Option<String>,
    ) -> Result<bool> {
        let caller = session(context)?.caller();
        let upstream = upstream(context)?;
        let deleted = upstream
            .delete(caller, existing(&id)?, tag(&if_match)?)
            .await;
        deleted.map(|()| true).map_err(failed)
    }

    /// Makes a draft public. Nothing happens to an article that is published already.
    async fn publish_article(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "An article's etag: publishes that version only.")] if_match: Option<
            String,
        >,
    ) -> Result<Article> {
        let caller = session(context)?.caller();
        let upstream = upstream(context)?;
        let published = upstream
            .publish(caller, existing(&id)?, tag(&if_match)?)
            .await;
        published.map(Article::from).map_err(failed)
    }

    /// Puts an article away.
    async fn archive_article(
        &self,
        context: &Context<'_>,
        id: ID,
        #[graphql(desc = "An article's etag: archives that version only.")] if_match: Option<
            String,
        >,
    ) -> Result<Article> {
        let caller = session(context)?.caller();
        let upstream = upstream(context)?;
        let archived = upstream
            .archive(caller, existing(&id)?, tag(&if_match)?)
            .await;
        archived.map(Article::from).map_err(failed)
    }
}

/// An id that no article can have is as one whose article is gone.
fn existing(id: &ID) -> Result<i64> {
    number(id)?.ok_or_else(|| gone("there is no such article"))
}

/// An etag that a header can carry; REST says whether it is one.
fn tag(if_match: &Option<String>) -> Result<Option<&str>> {
    let tag = if_match.as_deref();
    match tag.is_none_or(|tag| tag.bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
        true => Ok(tag),
        false => Err(bad_input("ifMatch is no etag")),
    }
}
