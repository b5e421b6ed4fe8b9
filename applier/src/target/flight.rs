//! Statements that are sent one after the other without waiting for answers.

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
    sent: Vec<Sent<'a>>,
}

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
    /// A change of a row that the target should have.
    ChangeOfRow(&'a Change),
}

/// What the statements did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Landed {
    /// Rows that the target should have had.
    pub(super) missing_rows: u64,
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
    ) {
        let mut answer: Answer<'a> = Box::pin(statement);
        // The client's futures send when they are first polled.
        let answer = match poll!(&mut answer) {
            Poll::Ready(result) => Err(result),
            Poll::Pending => Ok(answer),
        };
        self.sent.push(Sent { purpose, answer });
    }

    /// Waits for all answers.
    pub(super) async fn land(&mut self) -> Result<Landed, Failed<'a>> {
        let mut landed = Landed::default();
        for Sent { purpose, answer } in self.sent.drain(..) {
            let result = match answer {
                Ok(answer) => answer.await,
                Err(result) => result,
            };
            match (result, purpose) {
                (Ok(0), Purpose::ChangeOfRow(_)) => landed.missing_rows += 1,
                (Ok(_), _) => {}
                (Err(error), purpose) => return Err(Failed { purpose, error }),
            }
        }
        Ok(landed)
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
            Purpose::Change(change) | Purpose::ChangeOfRow(change) => Error::Apply {
                change: change.place(),
                table: change.plan.relation.table.clone(),
                source,
            },
        }
    }
}
