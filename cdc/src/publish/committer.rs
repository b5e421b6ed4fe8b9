//! Writes the commits record of each batch, in order, after Kafka has acknowledged its records.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::batch::Batch;
use super::chain::{Chain, PublishError, Published};

/// The task that makes batches count. Dropping it ends the task: what it had not written is sent
/// again by the next start.
pub(crate) struct Committer {
    batches: mpsc::Sender<Batch>,
    published: mpsc::Receiver<Result<Published, PublishError>>,
    task: JoinHandle<()>,
    waiting: usize,
    epoch: i64,
}

/// Batches that wait for their acknowledgements while the next is filled. More would only make
/// smaller batches: one that cannot be handed over keeps growing.
const BATCHES_MAX: usize = 4;

impl Committer {
    pub(crate) fn start(mut chain: Chain) -> Self {
        let (batches, mut incoming) = mpsc::channel::<Batch>(BATCHES_MAX);
        let (outgoing, published) = mpsc::channel(BATCHES_MAX);
        let epoch = chain.epoch();
        let task = tokio::spawn(async move {
            while let Some(batch) = incoming.recv().await {
                let outcome = chain.publish(batch).await;
                let failed = outcome.is_err();
                if outgoing.send(outcome).await.is_err() || failed {
                    return;
                }
            }
        });
        Self {
            batches,
            published,
            task,
            waiting: 0,
            epoch,
        }
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Batches that were handed over and do not count yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting < BATCHES_MAX
    }

    /// Hands a batch over, all of whose records are sent. Call only with [`Committer::has_room`].
    ///
    /// # Errors
    /// When the task has ended; [`Committer::next`] then says why.
    pub(crate) fn submit(&mut self, batch: Batch) -> Result<(), PublishError> {
        self.batches
            .try_send(batch)
            .map_err(|_| PublishError::Gone)?;
        self.waiting += 1;
        Ok(())
    }

    /// Waits for the next batch to count; forever while none waits. Cancel-safe.
    ///
    /// # Errors
    /// When it never will.
    pub(crate) async fn next(&mut self) -> Result<Published, PublishError> {
        if self.waiting == 0 {
            return std::future::pending().await;
        }
        let published = self.published.recv().await.ok_or(PublishError::Gone)??;
        self.waiting -= 1;
        Ok(published)
    }

    /// Ends the task, and with it the last use of Kafka's client that is not the caller's.
    pub(crate) async fn finish(mut self) {
        self.task.abort();
        // It was told to end; how it ended does not matter any more.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
