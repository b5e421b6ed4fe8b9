//! What is told as it happens.

#![expect(
    clippy::unused_async,
    reason = "the library wants resolvers to be async"
)]

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, Enum, ID, Object, Result, Subscription};
use futures_util::stream::{self, Stream};
use tokio::time::{MissedTickBehavior, interval};

use super::article::{Article, ArticleStatus};
use super::error::{bad_input, unavailable, with_code_of};
use super::replication::ReplicationReport;
use super::scalar::DateTime;
use crate::changes::{Change, Changes, Lost, Operation};
use crate::replication::Replication;

pub(crate) struct Subscriptions;

#[Subscription(name = "Subscription")]
impl Subscriptions {
    /// Changes of articles, as they are committed: through this gateway, through REST or by SQL.
    /// Each once, those of one article in their order. An error tells what was missed: LAGGED (this
    /// subscriber is too slow; its subscription ends) or CHANGES_LOST.
    async fn article_changed(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Of this article only.")] id: Option<ID>,
        #[graphql(
            desc = "Of articles that have this status after the change, or had it before they were \
                    deleted, where that is known."
        )]
        status: Option<ArticleStatus>,
    ) -> Result<impl Stream<Item = Result<ArticleChange>> + use<>> {
        let id = id.as_ref().map(super::query::number).transpose()?;
        let changes = context.data_opt::<Changes>().ok_or_else(|| {
            unavailable("this gateway follows no changes: it was started without --kafka")
        })?;
        let wanted = Wanted {
            id,
            status: status.map(Into::into),
        };
        let subscription = changes.subscribe().ok_or_else(|| {
            unavailable("changes are not followed yet (/health says why): subscribe again")
        })?;
        Ok(stream::unfold(
            (subscription, wanted),
            |(mut subscription, wanted)| async move {
                loop {
                    let next = match subscription.next().await? {
                        Ok(change) if !wanted.covers(&change) => continue,
                        Ok(change) => Ok(ArticleChange(change)),
                        Err(lost) => Err(told(lost)),
                    };
                    return Some((next, (subscription, wanted)));
                }
            },
        ))
    }

    /// How far each stage of the pipeline is, again and again.
    async fn replication(
        &self,
        context: &Context<'_>,
        #[graphql(
            default = 1000,
            desc = "Milliseconds between two reports, 200 to 60,000."
        )]
        interval_ms: i32,
    ) -> Result<impl Stream<Item = ReplicationReport> + use<>> {
        let milliseconds = u64::try_from(interval_ms).unwrap_or_default();
        if !(200..=60_000).contains(&milliseconds) {
            return Err(bad_input("intervalMs is not from 200 to 60000"));
        }
        let replication = Arc::clone(context.data::<Arc<Replication>>()?);
        let mut ticks = interval(Duration::from_millis(milliseconds));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(stream::unfold(
            (replication, ticks),
            |(replication, mut ticks)| async move {
                ticks.tick().await;
                let report = replication.report().await;
                Some((ReplicationReport(report), (replication, ticks)))
            },
        ))
    }
}

/// Which changes a subscriber asked for.
struct Wanted {
    /// None in it is an id that no article can have.
    id: Option<Option<i64>>,
    status: Option<crate::upstream::Status>,
}

impl Wanted {
    fn covers(&self, change: &Change) -> bool {
        let status = match &change.article {
            Some(article) => Some(article.status),
            None => change.previous_status,
        };
        self.id.is_none_or(|id| id == Some(change.id))
            && self.status.is_none_or(|wanted| status == Some(wanted))
    }
}

fn told(lost: Lost) -> async_graphql::Error {
    let code = match lost {
        Lost::Lagged(_) => "LAGGED",
        Lost::Removed | Lost::Truncated | Lost::Unreadable => "CHANGES_LOST",
    };
    with_code_of(lost.to_string(), code)
}

/// What happened to an article.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Operation")]
pub(crate) enum ChangeOperation {
    Insert,
    Update,
    Delete,
}

/// One change of one article.
pub(crate) struct ArticleChange(Arc<Change>);

#[Object]
impl ArticleChange {
    async fn operation(&self) -> ChangeOperation {
        self.0.operation.into()
    }

    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The article as the change left it; null after a delete. A content that the change did not touch,
    /// or of more than 16 kB, is read when it is asked for, and may then be younger.
    async fn article(&self) -> Option<Article> {
        let article = self.0.article.clone()?;
        Some(match self.0.content_is_elsewhere {
            true => Article::without_content(article, self.0.position.commit_lsn),
            false => Article::from(article),
        })
    }

    /// The LSN of the transaction's commit on the source. It fits `Lockstep-Min-Position`.
    async fn position(&self) -> String {
        self.0.position.commit_lsn.to_string()
    }

    async fn committed_at(&self) -> DateTime {
        DateTime(self.0.committed_at)
    }
}
