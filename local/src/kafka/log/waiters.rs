use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Partition;

/// Readers that wait for records in one partition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Mutex<BTreeMap<u64, Arc<Notify>>>,
}

impl Waiters {
    pub(super) fn wake(&self) {
        for notify in self.lock().values() {
            notify.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's place among the waiters of several partitions, left when dropped.
///
/// Arm it before looking whether there is something to read: an append between the look and the
/// wait then ends the wait at once.
#[derive(Debug)]
pub(in crate::kafka) struct Wait {
    id: u64,
    notify: Arc<Notify>,
    partitions: Vec<Arc<Partition>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Wait {
    pub(in crate::kafka) fn arm(partitions: Vec<Arc<Partition>>) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let notify = Arc::new(Notify::new());
        for partition in &partitions {
            partition.waiters().lock().insert(id, Arc::clone(&notify));
        }
        Self {
            id,
            notify,
            partitions,
        }
    }

    /// Returns after an append to, or the end of, any of the partitions since the last call.
    /// Cancel-safe.
    pub(in crate::kafka) async fn notified(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.waiters().lock().remove(&self.id);
        }
    }
}
