//! Whether so much comes that it is better to let it gather.
//!
//! Does no I/O and reads no clock.

use std::time::{Duration, Instant};

/// How dense the stream is that comes in.
///
/// In a stream that is not dense nothing waits.
#[derive(Debug)]
pub(super) struct Density {
    /// What came since.
    bytes: usize,
    since: Instant,
    is_dense: bool,
}

/// Over which the stream is judged.
const WINDOW: Duration = Duration::from_millis(10);
/// In a window: 3 MB/s.
const DENSE_BYTES: u128 = 32 * 1024;

impl Density {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            is_dense: false,
        }
    }

    /// Takes note of a read of `bytes`, which may be none.
    pub(super) fn came(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        let windows = now.duration_since(self.since).as_nanos() / WINDOW.as_nanos();
        if windows > 0 {
            // Who has not read for a while finds what gathered meanwhile: that ends no dense stream.
            let windows = if self.is_dense { 1 } else { windows };
            let bytes = u128::try_from(self.bytes).unwrap_or(u128::MAX);
            self.is_dense = bytes >= DENSE_BYTES * windows;
            self.bytes = 0;
            self.since = now;
        }
    }

    pub(super) fn is_dense(&self) -> bool {
        self.is_dense
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
        assert_eq!(
            density.is_dense(),
            is_dense,
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
        assert!(density.is_dense());
        density.came(0, begun + WINDOW * 2);
        assert!(!density.is_dense());
        // A piece after a long silence is no stream, while the reader's own silence ends none.
        density.came(40_000, begun + WINDOW * 1_000);
        assert!(!density.is_dense());
        density.came(40_000, begun + WINDOW * 1_001);
        density.came(40_000, begun + WINDOW * 1_100);
        assert!(density.is_dense());
    }
}
