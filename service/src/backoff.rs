//! Waiting longer after each failure.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::Shutdown;

/// Delays that double up to a cap, each drawn at random below its bound ("full jitter"), so that
/// many clients of one dead server do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    bound: Duration,
}

impl Backoff {
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            bound: first.min(cap),
        }
    }

    /// The delay before the next attempt. Never under half of the first bound, so that an unlucky
    /// draw does not turn a retry into a busy loop.
    #[expect(
        clippy::should_implement_trait,
        reason = "endless: there is no None to return"
    )]
    pub fn next(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.cap);
        bound.mul_f64(fraction()).max(self.first.min(bound) / 2)
    }

    /// Back to the first bound: the last attempt succeeded.
    pub fn reset(&mut self) {
        self.bound = self.first.min(self.cap);
    }

    /// Waits for the next delay, or until a stop is requested. Cancel-safe.
    pub async fn pause(&mut self, shutdown: &Shutdown) {
        let delay = self.next();
        tokio::select! {
            biased;
            () = shutdown.requested() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }
}

impl Default for Backoff {
    /// 100 ms doubling up to 10 s: short enough for a restart of a server, mild on a dead one.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }
}

/// A random number in 0..1. Each `RandomState` hashes with other keys, which is as random as
/// spreading retries needs.
fn fraction() -> f64 {
    let bits = RandomState::new().hash_one(()) >> 32;
    f64::from(u32::try_from(bits).expect("shifted to 32 bits above")) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(1);

    #[test]
    fn delays_stay_within_their_bounds() {
        for _ in 0..100 {
            let mut backoff = Backoff::new(FIRST, CAP);
            for bound_ms in [100, 200, 400, 800, 1000, 1000] {
                let delay = backoff.next();
                assert!(delay >= FIRST / 2, "{delay:?}");
                assert!(delay <= Duration::from_millis(bound_ms), "{delay:?}");
            }
        }
    }

    #[test]
    fn delays_differ() {
        let mut backoff = Backoff::new(CAP, CAP);
        let delays: std::collections::HashSet<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(delays.len() > 2, "{delays:?}");
    }

    #[test]
    fn reset_starts_again() {
        let mut backoff = Backoff::new(FIRST, CAP);
        for _ in 0..10 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[tokio::test]
    async fn a_stop_ends_the_pause() {
        let shutdown = Shutdown::new();
        shutdown.request();
        let hour = Duration::from_secs(3600);
        Backoff::new(hour, hour).pause(&shutdown).await;
    }
}
