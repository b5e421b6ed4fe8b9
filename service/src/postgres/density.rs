//! Whether so much comes that it is better to let it gather, and for how long.
//!
//! Does no I/O and reads no clock.

use std::ops::RangeInclusive;
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
/// In a window: 6 MB/s.
const DENSE_BYTES: u128 = 64 * 1024;

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

/// For how long a dense stream gathers.
///
/// Each piece that its sender hands to the socket is cheap while others wait there, and dear where it
/// is sent by itself. So the longer the better, but for two bounds: nobody is to notice it, and what
/// gathers must find room in the sockets (on Linux they grow to several megabytes by themselves).
#[derive(Debug)]
pub(super) struct Gathering {
    span: Duration,
}

const SPAN_MIN: Duration = Duration::from_millis(1);
const SPAN_MAX: Duration = Duration::from_millis(20);
/// What should be there after a span.
const GATHERED_BYTES: RangeInclusive<usize> = 1 << 20..=3 << 20;

impl Gathering {
    pub(super) const fn new() -> Self {
        Self {
            span: Duration::from_millis(4),
        }
    }

    pub(super) fn span(&self) -> Duration {
        self.span
    }

    /// Takes note of what was there after a span.
    pub(super) fn brought(&mut self, bytes: usize) {
        if bytes > *GATHERED_BYTES.end() {
            self.span = (self.span / 2).max(SPAN_MIN);
        } else if bytes < *GATHERED_BYTES.start() {
            self.span = (self.span * 2).min(SPAN_MAX);
        }
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

    /// The spans of a stream of so many bytes a millisecond come to rest here, whatever they began with.
    #[track_caller]
    fn check_span(bytes_each_ms: usize, millis: RangeInclusive<u128>) {
        for first in [SPAN_MIN, SPAN_MAX] {
            let mut gathering = Gathering { span: first };
            for _ in 0..10 {
                let span = usize::try_from(gathering.span().as_millis()).unwrap();
                gathering.brought(bytes_each_ms * span.max(1));
            }
            let span = gathering.span().as_millis();
            assert!(
                millis.contains(&span),
                "{bytes_each_ms} bytes/ms: {span} ms"
            );
        }
    }

    #[test]
    fn some_megabytes_gather_unless_that_takes_long() {
        check_span(5_000, 20..=20);
        check_span(80_000, 13..=20);
        check_span(350_000, 4..=5);
        check_span(5_000_000, 1..=1);
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
        density.came(80_000, begun + WINDOW * 1_000);
        assert!(!density.is_dense());
        density.came(80_000, begun + WINDOW * 1_001);
        density.came(80_000, begun + WINDOW * 1_100);
        assert!(density.is_dense());
    }
}
