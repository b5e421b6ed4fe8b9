//! Whether so much comes that it is better to let it gather.
//!
//! Does no I/O and reads no clock.

use std::time::{Duration, Instant};

/// How dense the stream is that comes in.
///
/// A walsender hands each message to the socket by itself, and wakes who waits there: under load the
/// wake-ups cost both sides more than the messages. So a reader of a dense stream waits a moment
/// before it reads on, and finds many. In a stream that is not dense nothing waits.
#[derive(Debug)]
pub(super) struct Density {
    /// What came since.
    bytes: usize,
    since: Instant,
    is_dense: bool,
    /// When something came last.
    came_at: Instant,
}

/// Over which the stream is judged.
const WINDOW: Duration = Duration::from_millis(10);
/// In a window: 3 MB/s.
const DENSE_BYTES: usize = 32 * 1024;
/// Less than what sockets take on meanwhile (`tcp_rmem` begins with 128 KiB).
const MOMENT: Duration = Duration::from_millis(1);

impl Density {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            is_dense: false,
            came_at: now,
        }
    }

    /// Takes note of a read of `bytes`.
    pub(super) fn came(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        self.came_at = now;
        if now.duration_since(self.since) >= WINDOW {
            self.is_dense = self.bytes >= DENSE_BYTES;
            self.bytes = 0;
            self.since = now;
        }
    }

    /// When to read on, if nothing is there now.
    pub(super) fn read_at(&self) -> Option<Instant> {
        self.is_dense.then(|| self.came_at + MOMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of `bytes` every `micros`, for a tenth of a second.
    #[track_caller]
    fn check(bytes: usize, micros: u64, is_dense: bool) {
        let begun = Instant::now();
        let mut density = Density::new(begun);
        let mut now = begun;
        for _ in 0..100_000 / micros {
            now += Duration::from_micros(micros);
            density.came(bytes, now);
        }
        let expected = is_dense.then(|| now + MOMENT);
        assert_eq!(
            density.read_at(),
            expected,
            "{bytes} bytes each {micros} µs"
        );
    }

    #[test]
    fn only_a_dense_stream_waits() {
        check(400, 10, true);
        check(100_000, 2_000, true);
        // 500 transactions a second.
        check(1_000, 2_000, false);
        check(200, 200, false);
    }

    #[test]
    fn silence_ends_it() {
        let begun = Instant::now();
        let mut density = Density::new(begun);
        density.came(1 << 20, begun + WINDOW);
        assert!(density.read_at().is_some());
        density.came(100, begun + WINDOW * 100);
        density.came(100, begun + WINDOW * 101);
        assert_eq!(density.read_at(), None);
    }
}
