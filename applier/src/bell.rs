//! Tasks beside apply, and how it tells them that there may be work.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Says that there may be work. Rung while nobody waits, it is heard by who waits next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Notify>);

/// Those that apply rings.
#[derive(Clone, Debug)]
pub(crate) struct Bells {
    /// Something may have been set aside.
    pub(crate) letters: Bell,
    /// An index may have been written down.
    pub(crate) indexes: Bell,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    /// Cancel-safe.
    pub(crate) async fn rung(&self) {
        self.0.notified().await;
    }
}

/// A task that waits for its bell. It ends when this is dropped.
pub(crate) struct Beside {
    bell: Bell,
    task: JoinHandle<()>,
}

impl Beside {
    pub(crate) fn start<F>(task: impl FnOnce(Bell) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let bell = Bell::default();
        let task = tokio::spawn(task(bell.clone()));
        Self { bell, task }
    }

    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.task.abort();
    }
}
