//! Follows the commits topic and reads what it covers.

use change::Lsn;
use change::commit::CommitRecord;
use service::Health;
use tokio::sync::mpsc;
use tracing::warn;

use super::chain::{Admission, Link, admit};
use super::covered::{Covered, Item, commit_record};
use crate::batch::Portion;
use crate::config::Config;
use crate::decode::Action;
use crate::error::Error;
use crate::kafka::CommitsConsumer;
use crate::metrics::Metrics;
use crate::progress::Mark;

/// Reads commits records from where the target is, and the changes that they cover.
pub(crate) struct Reader {
    commits: CommitsConsumer,
    covered: Covered,
    last: Option<Mark>,
    limits: Limits,
    metrics: Metrics,
}

/// When a portion is handed over although its commits record is not complete.
#[derive(Clone, Copy)]
struct Limits {
    rows: usize,
    bytes: usize,
}

/// The applying side is gone.
struct Gone;

impl Reader {
    /// # Errors
    /// When a client of Kafka or of the registry cannot be made.
    pub(crate) fn new(
        config: &Config,
        commits: CommitsConsumer,
        last: Option<Mark>,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Self, Error> {
        let size = |setting| usize::try_from(setting).unwrap_or(usize::MAX);
        Ok(Self {
            commits,
            covered: Covered::new(config, metrics, health)?,
            last,
            limits: Limits {
                rows: size(config.batch_rows),
                bytes: size(config.batch_megabytes).saturating_mul(1 << 20),
            },
            metrics: metrics.clone(),
        })
    }

    /// Reads until the receiver is gone. While the applying side is busy, commits records are
    /// gathered: what comes behind is applied in larger transactions.
    ///
    /// # Errors
    /// When what comes does not fit what was applied, or cannot be read.
    pub(crate) async fn run(mut self, portions: mpsc::Sender<Portion>) -> Result<(), Error> {
        let mut portion = Portion::default();
        loop {
            let (offset, value) = if portion.mark().is_some() {
                tokio::select! {
                    // The applying side has room: waiting for more would be latency for nothing.
                    biased;
                    permit = portions.reserve() => match permit {
                        Ok(permit) => {
                            permit.send(std::mem::take(&mut portion));
                            continue;
                        }
                        Err(_) => return Ok(()),
                    },
                    record = self.commits.next() => record?,
                }
            } else {
                self.commits.next().await?
            };
            let followed = self.follow(offset, &value, &mut portion, &portions).await?;
            let handed = match followed {
                Ok(()) if self.limits.reached(&portion) => hand_over(&mut portion, &portions).await,
                other => other,
            };
            if let Err(Gone) = handed {
                return Ok(());
            }
        }
    }

    /// Adds one commits record and what it covers to `portion`.
    async fn follow(
        &mut self,
        offset: i64,
        value: &[u8],
        portion: &mut Portion,
        portions: &mpsc::Sender<Portion>,
    ) -> Result<Result<(), Gone>, Error> {
        let mut record = commit_record(self.commits.topic(), offset, value)?;
        let link = self.last.as_ref().map(|mark| &mark.link);
        let (mut transactions, mut sequences) = (0, Vec::new());
        let mark = match (admit(link, &record)?, &self.last) {
            (Admission::Ignore, Some(last)) => {
                warn!(
                    epoch = record.epoch,
                    commit_lsn = %record.commit_lsn,
                    offset,
                    living_epoch = last.link.epoch,
                    "ignored a commits record of a dead capture: the living one sent it again"
                );
                self.metrics.ignored_commits.inc();
                Mark {
                    commits_offset: offset,
                    ..last.clone()
                }
            }
            (Admission::Fence, Some(last)) => Mark {
                commits_offset: offset,
                link: Link {
                    epoch: record.epoch,
                    ..last.link.clone()
                },
                ..last.clone()
            },
            (Admission::Ignore | Admission::Fence | Admission::Apply, last) => {
                let phase = last.as_ref().map(|last| last.phase);
                let done = last.as_ref().and_then(Mark::inside);
                if let Err(Gone) = self.cover(&mut record, done, portion, portions).await? {
                    return Ok(Err(Gone));
                }
                transactions = record.transactions.len();
                sequences = std::mem::take(&mut record.sequences);
                Mark::after(&record, offset, phase)
            }
        };
        portion.end(mark.clone(), transactions, sequences);
        self.last = Some(mark);
        Ok(Ok(()))
    }

    /// Adds what the record covers, but for what of it is `done`.
    async fn cover(
        &mut self,
        record: &mut CommitRecord,
        done: Option<Lsn>,
        portion: &mut Portion,
        portions: &mpsc::Sender<Portion>,
    ) -> Result<Result<(), Gone>, Error> {
        let mut reading = self.covered.begin(record).await?;
        while let Some(item) = self.covered.next(&mut reading, record).await? {
            let change = match item {
                Item::Row(change) => change,
                Item::Schema(change, place) => {
                    if done.is_none_or(|done| change.position.commit_lsn > done) {
                        portion.place(*change, place);
                    }
                    continue;
                }
            };
            if done.is_some_and(|done| change.position.commit_lsn <= done) {
                continue;
            }
            // Tables that one statement truncates may refer to each other.
            let in_truncate = portion.ends_in_truncate() && change.action == Action::Truncate;
            if self.limits.reached(portion)
                && !in_truncate
                && let Err(Gone) = hand_over(portion, portions).await
            {
                return Ok(Err(Gone));
            }
            portion.push(change);
        }
        Ok(Ok(()))
    }
}

async fn hand_over(portion: &mut Portion, portions: &mpsc::Sender<Portion>) -> Result<(), Gone> {
    let portion = std::mem::take(portion);
    portions.send(portion).await.map_err(|_| Gone)
}

impl Limits {
    fn reached(self, portion: &Portion) -> bool {
        portion.changes.len() >= self.rows || portion.bytes >= self.bytes
    }
}
