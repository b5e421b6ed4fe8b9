//! The runtime of what outlives a single test.
//!
//! Every `#[tokio::test]` has a runtime of its own, and what it spawned ends with it. Servers that
//! tests share live here instead, for as long as the process.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .thread_name("household")
        .enable_all();
    builder
        .build()
        .expect("a machine that runs tests can start two threads")
});

/// Runs a future in the household, whose runtime its sockets and children then belong to.
pub(crate) async fn run<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    RUNTIME
        .spawn(future)
        .await
        .expect("the household's tasks are not cancelled and do not panic")
}

/// Starts a future that nobody waits for, such as cleaning up after a test.
pub(crate) fn start(future: impl Future<Output = ()> + Send + 'static) {
    drop(RUNTIME.spawn(future));
}
