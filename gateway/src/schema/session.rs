//! What the fields of one request share: for whom they ask, and a loader that asks once.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::runtime::{TokioSpawner, TokioTimer};
use async_graphql::{Context, Data};

use super::error::failed;
use crate::upstream::{Article, Caller, Failure, Upstream};

/// One request, or one WebSocket.
#[derive(Clone)]
pub(crate) struct Session {
    caller: Arc<Caller>,
    articles: Arc<DataLoader<Articles>>,
}

impl Session {
    pub(crate) fn new(caller: Caller, upstream: &Arc<Upstream>) -> Self {
        let caller = Arc::new(caller);
        let articles = Articles {
            caller: Arc::clone(&caller),
            upstream: Arc::clone(upstream),
        };
        let articles = DataLoader::new(articles, TokioSpawner::current(), TokioTimer::default());
        Self {
            caller,
            articles: Arc::new(articles),
        }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// For the executor, which hands it to the fields.
    pub(crate) fn data(self) -> Data {
        let mut data = Data::default();
        data.insert(self);
        data
    }
}

/// Reads articles by id: what is asked for within a millisecond is one call.
struct Articles {
    caller: Arc<Caller>,
    upstream: Arc<Upstream>,
}

impl Loader<i64> for Articles {
    type Value = Article;
    type Error = Failure;

    async fn load(&self, ids: &[i64]) -> Result<HashMap<i64, Article>, Failure> {
        let articles = self.upstream.by_ids(&self.caller, ids).await?;
        Ok(articles.into_iter().map(|it| (it.id, it)).collect())
    }
}

/// The article with an id; none where there is none.
pub(crate) async fn load(context: &Context<'_>, id: i64) -> async_graphql::Result<Option<Article>> {
    let session = session(context)?;
    session.articles.load_one(id).await.map_err(failed)
}

pub(crate) fn session<'a>(context: &Context<'a>) -> async_graphql::Result<&'a Session> {
    context.data::<Session>()
}

pub(crate) fn upstream<'a>(context: &Context<'a>) -> async_graphql::Result<&'a Arc<Upstream>> {
    context.data::<Arc<Upstream>>()
}
