//! Who writes, and how much was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use service::Shutdown;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::articles::{Action, Articles};

/// A running load.
#[derive(Debug)]
pub(super) struct Load {
    tally: Arc<Tally>,
    stop: Shutdown,
    task: JoinHandle<()>,
}

/// What was asked of the API so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    done: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    /// Requests that were answered well; each is one transaction.
    pub(super) fn transactions(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Load {
    /// # Errors
    /// When no HTTP client can be made.
    pub(super) fn start(api: &str, rate: u32) -> anyhow::Result<Self> {
        let (tally, stop) = (Arc::new(Tally::default()), Shutdown::new());
        let writer = Writer {
            articles: Articles::new(api)?,
            known: Vec::new(),
            random: Random(u64::from(std::process::id())),
        };
        let task = tokio::spawn(writer.write(rate, Arc::clone(&tally), stop.clone()));
        Ok(Self { tally, stop, task })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Lets the request in flight end.
    pub(super) async fn stop(self) -> Arc<Tally> {
        self.stop.request();
        if let Err(error) = self.task.await {
            warn!(%error, "the demo's writer failed");
        }
        self.tally
    }
}

struct Writer {
    articles: Articles,
    /// Ids of articles that this writer created and has not deleted.
    known: Vec<i64>,
    random: Random,
}

/// Beyond this, articles are deleted as often as they are created.
const KNOWN_MAX: usize = 1000;

impl Writer {
    async fn write(mut self, rate: u32, tally: Arc<Tally>, stop: Shutdown) {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return,
                _ = ticks.tick() => {}
            }
            let action = self.choose();
            match self.articles.perform(action, self.random.next()).await {
                Ok(created) => {
                    self.known.extend(created);
                    tally.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    warn!(error = format!("{error:#}"), "the API refused a request");
                    tally.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn choose(&mut self) -> Action {
        let roll = self.random.next() % 10;
        let Ok(count) = u64::try_from(self.known.len()) else {
            return Action::Create;
        };
        if count == 0 {
            return Action::Create;
        }
        let at = usize::try_from(self.random.next() % count).unwrap_or_default();
        match roll {
            0..=3 if self.known.len() < KNOWN_MAX => Action::Create,
            0..=6 => Action::Edit(self.known[at]),
            7..=8 => Action::Publish(self.known[at]),
            _ => Action::Delete(self.known.swap_remove(at)),
        }
    }
}

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
