//! The stream by which pages stay up to date: Server-Sent Events, one a look.
//!
//! An event's id is the number of its look. Who comes back with `Last-Event-ID` is sent the points
//! that it missed with the first event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::json;
use service::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::console::Console;
use crate::facts::Facts;
use crate::http::Events;
use crate::live::{Look, Range};

/// Then the browser comes back by itself, and has to be let in anew.
const STREAM_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How soon a browser comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;

pub(crate) fn stream(
    console: Arc<Console>,
    last: Option<u64>,
    place: OwnedSemaphorePermit,
    stop: Shutdown,
) -> Events {
    let looks = console.live.follow();
    let state = Follower {
        console,
        looks,
        seen: last,
        _place: place,
    };
    let hello = stream::once(async { Ok(Bytes::from(format!("retry: {RETRY_MS}\n\n"))) });
    let events = stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((Ok(Bytes::from(event)), state))
    });
    let end = async move {
        tokio::select! {
            biased;
            () = stop.requested() => {}
            () = tokio::time::sleep(STREAM_LIMIT) => {}
        }
    };
    Box::pin(hello.chain(events).take_until(Box::pin(end)))
}

struct Follower {
    console: Arc<Console>,
    looks: watch::Receiver<Option<Arc<Look>>>,
    seen: Option<u64>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// Waits for a look that was not seen. None when the console has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            let look = self.looks.borrow_and_update().clone();
            if let Some(look) = look.filter(|look| self.seen != Some(look.number)) {
                let event = self.event(&look);
                self.seen = Some(look.number);
                return Some(event);
            }
            self.looks.changed().await.ok()?;
        }
    }

    fn event(&self, look: &Look) -> String {
        let missed = self.seen.map_or(1, |seen| look.number.saturating_sub(seen));
        let points = self.console.live.history().points(Range::QuarterHour);
        let first = points
            .len()
            .saturating_sub(usize::try_from(missed).unwrap_or(usize::MAX));
        let data = json!({
            "at": look.seconds(),
            "facts": Facts::of(Some(look)).all(),
            "points": points.get(first..).unwrap_or_default(),
        });
        format!("id: {}\nevent: look\ndata: {data}\n\n", look.number)
    }
}
