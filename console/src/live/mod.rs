//! The pipeline as it is now and as it was: one look a second, remembered in memory.

mod look;
pub(crate) use look::{Aged, Look};

mod history;
pub(crate) use history::{History, Range, Series};

mod happenings;
pub(crate) use happenings::Happenings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use operate::endpoints::Endpoints;
use operate::status::{Observer, Report};
use service::Shutdown;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

#[derive(Debug)]
pub(crate) struct Live {
    max_lag: Duration,
    observer: tokio::sync::Mutex<Observer>,
    latest: watch::Sender<Option<Arc<Look>>>,
    history: Mutex<History>,
    happenings: Mutex<Happenings>,
}

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Live {
    pub(crate) fn new(endpoints: Endpoints, max_lag: Duration) -> Self {
        Self {
            max_lag,
            observer: tokio::sync::Mutex::new(Observer::new(endpoints)),
            latest: watch::Sender::new(None),
            history: Mutex::default(),
            happenings: Mutex::default(),
        }
    }

    /// Looks until a stop is requested. A look at a part that does not answer takes as long as is
    /// waited for it; the next follows then.
    pub(crate) async fn watch(&self, shutdown: &Shutdown) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                _ = ticks.tick() => {}
            }
            let report = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                report = self.look(self.max_lag) => report,
            };
            let previous = self.latest();
            let look = Look::after(previous.as_deref(), report, SystemTime::now());
            self.history().add(&look);
            self.happenings().add(previous.as_deref(), &look);
            self.latest.send_replace(Some(Arc::new(look)));
        }
    }

    /// A look of now, for who cannot wait for the next one, or finds another lag to be well.
    pub(crate) async fn look(&self, max_lag: Duration) -> Report {
        self.observer.lock().await.look(max_lag).await
    }

    /// None before the first look has ended.
    pub(crate) fn latest(&self) -> Option<Arc<Look>> {
        self.latest.borrow().clone()
    }

    /// Tells of every look from now on; those that a slow reader misses are in the history.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<Arc<Look>>> {
        self.latest.subscribe()
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        // No code that holds it can panic half-way through a change.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn happenings(&self) -> MutexGuard<'_, Happenings> {
        // As above.
        self.happenings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
