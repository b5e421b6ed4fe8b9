//! The task that reads tables once more, chunk by chunk, beside the stream.

use std::time::Instant;

use service::postgres::{Connection, Dsn};
use service::{Backoff, Shutdown};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::chunk::{Desk, Outcome, Repeat};
use super::reading::{BYTES_AIM, Read, ReadError, Reading, open, request_error};
use super::request::{self, Counted, Request, Wanted};
use super::watermark::{Doubt, Token};
use crate::control::{Order, Pressure, Sight};
use crate::metrics::Metrics;
use crate::refusals;
use crate::source::SlotName;

const ROWS_FIRST: u32 = 1_000;
const ROWS_MAX: u32 = 10_000;
/// Under pressure a chunk is followed by a rest of as many times what it took.
const REST: u32 = 4;

/// What the task needs.
pub(crate) struct Worker {
    pub source: Dsn,
    pub slot: SlotName,
    pub publication: String,
    pub epoch: i64,
    pub desk: Desk,
    pub sights: watch::Receiver<Sight>,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
}

/// The running task. Dropping it ends it: what it had begun, the next one begins anew.
pub(crate) struct WorkerTask(JoinHandle<()>);

impl Drop for WorkerTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    pub(crate) fn start(self) -> WorkerTask {
        WorkerTask(tokio::spawn(self.run()))
    }

    /// Serves requests as they come, until it is dropped. Faults of the source are waited out here:
    /// the stream has its own.
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut readings = 0;
        while !self.shutdown.is_requested() {
            match self.serve_all(&mut readings).await {
                Ok(()) => backoff.reset(),
                Err(ReadError::Gone) => return,
                Err(error) => {
                    tracing::warn!(
                        error = error.to_text(),
                        "a snapshot is interrupted, trying again"
                    );
                    backoff.pause(&self.shutdown).await;
                    continue;
                }
            }
            if self.sights.changed().await.is_err() {
                return;
            }
        }
    }

    /// Serves what is asked for now.
    async fn serve_all(&mut self, readings: &mut u64) -> Result<(), ReadError> {
        if self.sights.borrow_and_update().requests == 0 {
            return Ok(());
        }
        let mut session = open(&self.source).await?;
        loop {
            let next = request::next(&session, &self.slot).await;
            let Some(mut request) = next.map_err(request_error("take the next snapshot"))? else {
                return Ok(());
            };
            tracing::info!(table = %request.table, id = request.id, "reading a table once more");
            let served = self.serve(&mut session, &mut request, readings).await;
            let table = request.table.to_string();
            // A table that nothing is asked of has no line.
            let left = &self.metrics.resnapshot_rows_left;
            let _ = left.remove_label_values(&[&table]);
            match served {
                Ok(()) => {}
                Err(error) if error.is_for_whoever_asked() => {
                    session = open(&self.source).await?;
                    if locate(&session, &mut request).await? {
                        // It was renamed while it was read: it is the next again.
                        continue;
                    }
                    let said = error.to_text();
                    tracing::warn!(table, id = request.id, error = said, "a snapshot failed");
                    let failed = request::fail(&session, &request, &said).await;
                    failed.map_err(request_error("take note of a failed snapshot"))?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a table from where the request stands to its end.
    async fn serve(
        &mut self,
        session: &mut Connection,
        request: &mut Request,
        readings: &mut u64,
    ) -> Result<(), ReadError> {
        let mut rows_max = ROWS_FIRST;
        let mut backoff = Backoff::default();
        let mut pass = Pass::taken_up(request);
        loop {
            if self.wait_for_room(session, request).await? == Wanted::No {
                return Ok(());
            }
            locate(session, request).await?;
            *readings += 1;
            let token = Token {
                epoch: self.epoch,
                request: request.id,
                reading: *readings,
            };
            let began = Instant::now();
            let reading = Reading {
                session,
                request,
                slot: &self.slot,
                publication: &self.publication,
                desk: &self.desk,
                doubt: pass.doubt,
            };
            let read = match reading.read(token, rows_max).await {
                Err(ReadError::TooLarge { rows, .. }) => {
                    rows_max = (rows / 2).max(1);
                    // What the server still sends is not waited for.
                    *session = open(&self.source).await?;
                    continue;
                }
                read => read?,
            };
            match read.outcome {
                Outcome::Published { owing } => {
                    pass.owing |= owing;
                    backoff.reset();
                    if request.after_key.is_none() {
                        // Before the request moves on: until then the table is emptied once more.
                        let forgotten = refusals::forget(session, &self.slot, &request.table).await;
                        forgotten.map_err(request_error("take note of a table that is back"))?;
                    }
                    rows_max = next_rows_max(rows_max, &read);
                    if self.advance(session, request, &mut pass, read).await? == Wanted::No {
                        return Ok(());
                    }
                    if self.sights.borrow().pressure == Pressure::Slow {
                        tokio::time::sleep(began.elapsed() * REST).await;
                    }
                }
                Outcome::Restart => {
                    let restarted = request::restart(session, request).await;
                    restarted.map_err(request_error("begin a snapshot anew"))?;
                    pass = Pass::taken_up(request);
                }
                Outcome::Refused(reason) => {
                    let table = request.table.clone();
                    return Err(ReadError::Refused { table, reason });
                }
                Outcome::Repeat(why) => {
                    self.tell_repeat(session, request, why).await?;
                    if why == Repeat::Crowded {
                        rows_max = (rows_max / 2).max(1);
                    }
                    backoff.pause(&self.shutdown).await;
                }
            }
        }
    }

    async fn tell_repeat(
        &self,
        session: &Connection,
        request: &Request,
        why: Repeat,
    ) -> Result<(), ReadError> {
        let repeated = &self.metrics.resnapshot_chunks_repeated;
        repeated.with_label_values(&[why.name()]).inc();
        tracing::info!(table = %request.table, why = why.name(), "reading a chunk again");
        let reason = match why {
            Repeat::Unseen => Some("a transaction that readers of the source do not see yet"),
            Repeat::Truncated | Repeat::Altered | Repeat::Crowded => None,
        };
        let told = request::wait(session, request, reason).await;
        told.map(drop).map_err(request_error("take note of a wait"))
    }

    /// Waits as long as the slot has no room, or capture is paused.
    async fn wait_for_room(
        &mut self,
        session: &Connection,
        request: &Request,
    ) -> Result<Wanted, ReadError> {
        let mut told = None;
        loop {
            let reason = obstacle(&self.sights.borrow_and_update());
            // Written when it changes only: what waits for room should not fill it.
            let wanted = match reason == told {
                true => request::wanted(session, request).await,
                false => request::wait(session, request, reason).await,
            };
            let wanted = wanted.map_err(request_error("take note of a wait"))?;
            if wanted == Wanted::No || reason.is_none() {
                return Ok(wanted);
            }
            told = reason;
            self.sights.changed().await.map_err(|_| ReadError::Gone)?;
        }
    }

    async fn advance(
        &self,
        session: &Connection,
        request: &mut Request,
        pass: &mut Pass,
        read: Read,
    ) -> Result<Wanted, ReadError> {
        let chunk = Counted {
            key: &read.key,
            to: read.to.as_deref(),
            rows: i64::from(read.rows),
            horizon: read.horizon,
        };
        let goes_on = read.to.is_none() && pass.owing;
        let wanted = match goes_on {
            true => request::pass(session, request, &chunk).await,
            false => request::advance(session, request, &chunk).await,
        };
        let wanted = wanted.map_err(request_error("take note of a chunk"))?;
        let table = request.table.to_string();
        let count = self.metrics.snapshot_rows.with_label_values(&[&table]);
        count.inc_by(u64::from(read.rows));
        request.rows_read += chunk.rows;
        if let Some(estimated) = request.rows_estimated {
            let left = self
                .metrics
                .resnapshot_rows_left
                .with_label_values(&[&table]);
            left.set(estimated.saturating_sub(request.rows_read).max(0));
        }
        if goes_on {
            tracing::info!(
                table,
                id = request.id,
                "rows changed their key meanwhile: reading what was written since"
            );
            *pass = pass.next();
            return Ok(wanted);
        }
        if read.to.is_none() {
            tracing::info!(
                table,
                id = request.id,
                rows = request.rows_read,
                "read a table once more"
            );
            return Ok(Wanted::No);
        }
        request.after_key = read.to;
        request.key_columns = Some(read.key);
        Ok(wanted)
    }
}

/// One reading of a table from its first key to its last.
#[derive(Debug, PartialEq, Eq)]
struct Pass {
    doubt: Doubt,
    /// Whether rows came where it does not read any more, and not all of them.
    owing: bool,
    /// Whether all of it was read by this capture, which knows what is owed.
    is_whole: bool,
}

impl Pass {
    /// The request is taken up where it stands: of what came before this nothing is known.
    fn taken_up(request: &Request) -> Self {
        let is_whole = request.after_key.is_none();
        Self {
            doubt: Doubt::AllRows,
            owing: !is_whole,
            is_whole,
        }
    }

    /// What was not owed is whole by now.
    fn next(&self) -> Self {
        Self {
            doubt: match self.is_whole {
                true => Doubt::KnownRows,
                false => Doubt::AllRows,
            },
            owing: false,
            is_whole: true,
        }
    }
}

async fn locate(session: &Connection, request: &mut Request) -> Result<bool, ReadError> {
    let located = request::locate(session, request).await;
    located.map_err(request_error("look a table up"))
}

/// Why no chunk is read now, if so.
fn obstacle(sight: &Sight) -> Option<&'static str> {
    match (&sight.order, sight.pressure) {
        (Order::Pause { .. }, _) => Some("capture is paused"),
        (Order::Go, Pressure::Wait) => Some("the slot has little room left"),
        (Order::Go, Pressure::Slow | Pressure::None) => None,
    }
}

/// As many rows as make a chunk of the size that is aimed at, growing step by step.
fn next_rows_max(rows_max: u32, read: &Read) -> u32 {
    let width = read.bytes / usize::try_from(read.rows.max(1)).unwrap_or(usize::MAX);
    let fit = u32::try_from(BYTES_AIM / width.max(1)).unwrap_or(u32::MAX);
    fit.clamp(1, ROWS_MAX).min(rows_max.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows_max: u32, rows: u32, bytes: usize, expected: u32) {
        let read = Read {
            outcome: Outcome::Published { owing: false },
            horizon: 0,
            key: Vec::new(),
            to: None,
            rows,
            bytes,
        };
        assert_eq!(next_rows_max(rows_max, &read), expected);
    }

    #[test]
    fn chunks_grow_to_their_size_and_shrink_at_once() {
        check(1_000, 1_000, 50_000, 2_000);
        check(8_000, 8_000, 400_000, ROWS_MAX);
        check(ROWS_MAX, 1_000, 40 * BYTES_AIM, 25);
        check(1_000, 2, 8 * BYTES_AIM, 1);
        check(1_000, 0, 0, 2_000);
    }
}
