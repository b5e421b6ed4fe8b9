//! Reads.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};

use super::article::{Article, ArticleStatus};
use super::error::{bad_input, failed};
use super::page::{ArticlePage, SearchPage, complexity};
use super::replication::ReplicationReport;
use super::session::{load, session, upstream};
use crate::replication::Replication;
use crate::upstream::{List, Search};

pub(crate) struct Query;

#[Object]
impl Query {
    /// The article with this id; null when there is none. Counts no view.
    // An error of this field is null beside what else was asked for: so the library wants it.
    async fn article(&self, context: &Context<'_>, id: ID) -> Option<Result<Article>> {
        let id = match number(&id) {
            Ok(id) => id?,
            Err(error) => return Some(Err(error)),
        };
        let found = load(context, id).await.transpose()?;
        Some(found.map(Article::from))
    }

    /// A page of the articles that fit all filters, the youngest first.
    #[graphql(complexity = "complexity(per_page, child_complexity)")]
    async fn articles(
        &self,
        context: &Context<'_>,
        #[graphql(default = 1, desc = "From 1 to 1,000,000.")] page: i32,
        #[graphql(default = 10, desc = "From 1 to 100.")] per_page: i32,
        status: Option<ArticleStatus>,
        category: Option<String>,
        author: Option<String>,
    ) -> Result<ArticlePage> {
        let list = list(page, per_page, status, category, author);
        let caller = session(context)?.caller();
        let page = upstream(context)?.list(caller, &list).await;
        page.map(ArticlePage).map_err(failed)
    }

    /// A page of the articles in which words of `query` stand, the best first. As web searches have
    /// it, `"…"` is a phrase, `or` an alternative, and `-` excludes a word.
    #[graphql(complexity = "complexity(per_page, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are the field's arguments")]
    async fn search_articles(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200 characters.")] query: String,
        #[graphql(default = 1, desc = "From 1 to 1,000,000.")] page: i32,
        #[graphql(default = 10, desc = "From 1 to 100.")] per_page: i32,
        status: Option<ArticleStatus>,
        category: Option<String>,
        author: Option<String>,
    ) -> Result<SearchPage> {
        let list = list(page, per_page, status, category, author);
        let caller = session(context)?.caller();
        let search = Search { q: query, list };
        let page = upstream(context)?.search(caller, &search).await;
        page.map(SearchPage).map_err(failed)
    }

    /// How far each stage of the pipeline is, which copies what is written to the replica.
    async fn replication(&self, context: &Context<'_>) -> Result<ReplicationReport> {
        let replication = context.data::<Arc<Replication>>()?;
        Ok(ReplicationReport(replication.report().await))
    }
}

fn list(
    page: i32,
    per_page: i32,
    status: Option<ArticleStatus>,
    category: Option<String>,
    author: Option<String>,
) -> List {
    List {
        page: page.into(),
        per_page: per_page.into(),
        status: status.map(Into::into),
        category,
        author,
    }
}

/// The number that an id is; none when no article can have it, which is as if it were gone.
pub(crate) fn number(id: &ID) -> Result<Option<i64>> {
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(bad_input("id is no number"));
    }
    Ok(id.parse().ok().filter(|number| *number > 0))
}
