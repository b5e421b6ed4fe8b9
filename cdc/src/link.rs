//! The stream from the source, kept alive.

use std::time::{Duration, Instant};

use change::Lsn;
use futures_util::FutureExt;

use crate::source::{Event, ReplicationStream, SourceError};
use crate::wire::replication::Reply;

/// How often the source hears from us: often enough for its `pg_stat_replication` to be of use, and
/// far below any `wal_sender_timeout`.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// A stream with the time of its last status update.
pub(crate) struct Link {
    stream: ReplicationStream,
    status_at: Instant,
}

impl Link {
    pub(crate) fn new(stream: ReplicationStream) -> Self {
        Self {
            stream,
            status_at: Instant::now(),
        }
    }

    /// Waits for the next event. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Event, SourceError> {
        self.stream.next().await
    }

    /// The next event if it is there already.
    pub(crate) fn next_ready(&mut self) -> Option<Result<Event, SourceError>> {
        self.stream.next().now_or_never()
    }

    pub(crate) fn received_lsn(&self) -> Lsn {
        self.stream.received_lsn()
    }

    /// When the next status update is due.
    pub(crate) fn status_due(&self) -> Instant {
        self.status_at + STATUS_INTERVAL
    }

    /// Tells the source what it may forget, if that is due. To be called at least every few seconds by
    /// whoever does not call [`Link::next`].
    pub(crate) async fn keep_alive(&mut self, flush_lsn: Lsn) -> Result<(), SourceError> {
        match self.status_at.elapsed() < STATUS_INTERVAL {
            true => Ok(()),
            false => self.status(flush_lsn).await,
        }
    }

    /// Tells the source what it may forget.
    pub(crate) async fn status(&mut self, flush_lsn: Lsn) -> Result<(), SourceError> {
        self.status_at = Instant::now();
        self.stream.status(flush_lsn, Reply::NotNeeded).await
    }

    /// Ends the stream in good order, if the source does its part in time.
    pub(crate) async fn finish(self) {
        if tokio::time::timeout(STATUS_INTERVAL, self.stream.finish())
            .await
            .is_err()
        {
            tracing::debug!("the source did not end the stream in time");
        }
    }
}
