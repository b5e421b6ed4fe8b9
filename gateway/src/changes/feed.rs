//! From one consumer to many subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use change::Lsn;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::Change;

/// Changes as they come, and how far capture is. Clones share both.
#[derive(Clone)]
pub(crate) struct Changes {
    changes: broadcast::Sender<Result<Arc<Change>, Lost>>,
    captured: watch::Sender<Option<Captured>>,
    /// Whether the place in the topics is known from which on all changes are told.
    begun: Arc<AtomicBool>,
}

/// The last record of the commits topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) position: Lsn,
    pub(crate) epoch: i64,
    pub(crate) committed_at: DateTime<Utc>,
    pub(crate) transactions: usize,
}

/// Why a subscriber has not seen every change, and should read again what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{0} changes came faster than they were taken; read again, and subscribe anew")]
    Lagged(u64),
    #[error("changes were removed from the topic before they were read; read again")]
    Removed,
    #[error("all articles were removed at once (truncate); read again")]
    Truncated,
    #[error("a change could not be read; read again")]
    Unreadable,
}

/// What waits for a subscriber at most. A change has a few kilobytes, and 20 at most.
const CAPACITY: usize = 256;

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            changes: broadcast::Sender::new(CAPACITY),
            captured: watch::Sender::new(None),
            begun: Arc::default(),
        }
    }

    /// None before [`Self::begin`]: a change of now might never be told.
    pub(crate) fn subscribe(&self) -> Option<Subscription> {
        self.begun.load(Ordering::Acquire).then(|| Subscription {
            changes: self.changes.subscribe(),
            ended: false,
        })
    }

    pub(crate) fn captured(&self) -> Option<Captured> {
        self.captured.borrow().clone()
    }

    /// From here on, every change is told.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    pub(super) fn publish(&self, change: Change) {
        // Nobody has to listen.
        _ = self.changes.send(Ok(Arc::new(change)));
    }

    pub(super) fn lose(&self, lost: Lost) {
        _ = self.changes.send(Err(lost));
    }

    pub(super) fn capture(&self, captured: Captured) {
        self.captured.send_replace(Some(captured));
    }
}

/// The changes from its beginning on.
pub(crate) struct Subscription {
    changes: broadcast::Receiver<Result<Arc<Change>, Lost>>,
    ended: bool,
}

impl Subscription {
    /// The next change, or what was lost before it. Ends when this subscriber was too slow: it has to
    /// know that it has not seen all.
    pub(crate) async fn next(&mut self) -> Option<Result<Arc<Change>, Lost>> {
        if self.ended {
            return None;
        }
        match self.changes.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(count)) => {
                self.ended = true;
                Some(Err(Lost::Lagged(count)))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_too_slow_is_told_and_let_go() {
        let changes = Changes::new();
        assert!(changes.subscribe().is_none(), "nobody is told anything yet");
        changes.begin();
        let subscribe = || changes.subscribe().expect("it has begun");
        let (mut slow, mut quick) = (subscribe(), subscribe());
        for _ in 0..=CAPACITY {
            changes.lose(Lost::Truncated);
            assert_eq!(quick.next().await, Some(Err(Lost::Truncated)));
        }
        assert_eq!(slow.next().await, Some(Err(Lost::Lagged(1))));
        assert_eq!(slow.next().await, None);
    }
}
