//! Statements that are sent one after the other without waiting for answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Poll;

use futures_util::poll;

use crate::batch::Change;
use crate::error::{Error, StatementError};

type Answer<'a> = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send + 'a>>;

/// Statements on their way, in order.
///
/// The server answers in order too, and after a failure in a transaction refuses what follows, the
/// commit included. So the first error is the cause, and nothing after it took effect.
#[derive(Default)]
pub(super) struct Flight<'a> {
    sent: VecDeque<Sent<'a>>,
    /// Rows that the target should have had and did not.
    missing_rows: u64,
}

/// Answers that are waited for at once; each takes about a kilobyte.
const SENT_MAX: usize = 1000;

struct Sent<'a> {
    purpose: Purpose<'a>,
    answer: Result<Answer<'a>, Result<u64, tokio_postgres::Error>>,
}

/// What a statement is for, so that its failure can be named.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    Step(&'static str),
    /// Moves the pipeline's progress; fails when it is not where it should be.
    Progress,
    Change(&'a Change),
    /// Changes, the first of which is this, of rows that the target should have.
    RowsThere {
        change: &'a Change,
        rows: u64,
    },
}

/// The first statement that failed.
pub(super) struct Failed<'a> {
    pub(super) purpose: Purpose<'a>,
    pub(super) error: tokio_postgres::Error,
}

impl<'a> Flight<'a> {
    /// Sends a statement: when this returns, it is on its way behind those sent before.
    pub(super) async fn send(
        &mut self,
        purpose: Purpose<'a>,
        statement: impl Future<Output = Result<u64, tokio_postgres::Error>> + Send + 'a,
    ) -> Result<(), Failed<'a>> {
        while self.sent.len() >= SENT_MAX {
            self.land_first().await?;
        }
        let mut answer: Answer<'a> = Box::pin(statement);
        // The client's futures send when they are first polled.
        let answer = match poll!(&mut answer) {
            Poll::Ready(result) => Err(result),
            Poll::Pending => Ok(answer),
        };
        self.sent.push_back(Sent { purpose, answer });
        Ok(())
    }

    /// Waits for all answers; says how many rows were missing so far.
    pub(super) async fn land(&mut self) -> Result<u64, Failed<'a>> {
        while !self.sent.is_empty() {
            self.land_first().await?;
        }
        Ok(self.missing_rows)
    }

    async fn land_first(&mut self) -> Result<(), Failed<'a>> {
        let Some(Sent { purpose, answer }) = self.sent.pop_front() else {
            return Ok(());
        };
        let result = match answer {
            Ok(answer) => answer.await,
            Err(result) => result,
        };
        match (result, purpose) {
            (Ok(found), Purpose::RowsThere { rows, .. }) => {
                self.missing_rows += rows.saturating_sub(found);
                Ok(())
            }
            (Ok(_), Purpose::Step(_) | Purpose::Progress | Purpose::Change(_)) => Ok(()),
            (Err(error), purpose) => Err(Failed { purpose, error }),
        }
    }
}

impl Failed<'_> {
    pub(super) fn into_error(self, pipeline: &str) -> Error {
        let source = StatementError(self.error);
        match self.purpose {
            Purpose::Step(step) => Error::Target { step, source },
            Purpose::Progress if super::progress::is_fenced(&source) => Error::Fenced {
                pipeline: pipeline.to_owned(),
            },
            Purpose::Progress => Error::Target {
                step: "write progress",
                source,
            },
            Purpose::Change(change) | Purpose::RowsThere { change, .. } => Error::Apply {
                change: change.place(),
                table: change.plan.relation.table.clone(),
                source,
            },
        }
    }
}
