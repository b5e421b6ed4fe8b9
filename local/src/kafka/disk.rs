use tokio::sync::Semaphore;

/// Runs file work away from the threads that serve connections.
#[derive(Debug)]
pub(super) struct Disk {
    permits: Semaphore,
}

/// Jobs at work at one time. More would only queue in the kernel, and each takes a thread.
const JOBS_MAX: usize = 16;

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            permits: Semaphore::new(JOBS_MAX),
        }
    }

    /// Waits for the jobs at work and lets no other begin.
    pub(super) async fn close(&self) {
        let all = u32::try_from(JOBS_MAX).unwrap_or(u32::MAX);
        if let Ok(permits) = self.permits.acquire_many(all).await {
            permits.forget();
        }
    }

    /// Runs `work` to its end. Once started it is not cancelled with the returned future.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let _permit = self
            .permits
            .acquire()
            .await
            .expect("the semaphore is never closed");
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => value,
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that is shutting down cancels a blocking job that has not begun;
                // it drops this future too.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
