//! What was read, on its way to count.

use std::collections::VecDeque;

use service::Shutdown;

use super::SnapshotError;
use super::ledger::{Ledger, Note, Owner};
use super::sink::Filled;
use crate::publish::Committer;

/// Batches on their way, and the ledger of those that count.
pub(super) struct Outbox<'a> {
    ledger: Option<Ledger<'a>>,
    epoch: i64,
    /// Of the snapshot that is read.
    horizon: u64,
    pub(super) committer: &'a mut Committer,
    /// Of each batch on its way the chunks that end with it.
    chunks: VecDeque<Vec<Note>>,
}

impl<'a> Outbox<'a> {
    pub(super) fn new(
        committer: &'a mut Committer,
        ledger: Option<Ledger<'a>>,
        epoch: i64,
        horizon: u64,
    ) -> Self {
        Self {
            ledger,
            epoch,
            horizon,
            committer,
            chunks: VecDeque::new(),
        }
    }

    /// Hands a batch over once there is room.
    pub(super) async fn submit(
        &mut self,
        filled: Filled,
        shutdown: &Shutdown,
    ) -> Result<(), SnapshotError> {
        while !self.committer.has_room() {
            tokio::select! {
                biased;
                () = shutdown.requested() => return Err(SnapshotError::Stopped),
                published = self.committer.next() => {
                    published?;
                    self.counts().await?;
                }
            }
        }
        self.hand_over(filled)
    }

    /// To be called with room only.
    pub(super) fn hand_over(
        &mut self,
        Filled { batch, chunks }: Filled,
    ) -> Result<(), SnapshotError> {
        self.committer.submit(batch)?;
        self.chunks.push_back(chunks);
        Ok(())
    }

    /// The oldest batch counts.
    pub(super) async fn counts(&mut self) -> Result<(), SnapshotError> {
        let notes = self.chunks.pop_front().unwrap_or_default();
        let Some(ledger) = self.ledger.filter(|_| !notes.is_empty()) else {
            return Ok(());
        };
        let noted = ledger.note(self.epoch, self.horizon, &notes).await;
        match noted.map_err(SnapshotError::Ledger)? {
            Owner::We => Ok(()),
            Owner::Another => Err(SnapshotError::TakenOver),
        }
    }

    /// Waits until all of them count.
    pub(super) async fn drain(&mut self) -> Result<(), SnapshotError> {
        while self.committer.waiting() > 0 {
            self.committer.next().await?;
            self.counts().await?;
        }
        Ok(())
    }
}
