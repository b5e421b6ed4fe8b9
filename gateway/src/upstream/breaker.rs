//! Leaves a service alone that has failed several times in a row.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A circuit breaker: closed, open for a while, then half open for one call that decides.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<Circuit>);

#[derive(Clone, Copy, Debug)]
struct Circuit {
    /// In a row.
    failures: u32,
    state: State,
    /// How long it stays open the next time.
    rest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// One call is under way to find out, given up on at `until`.
    HalfOpen {
        until: Instant,
    },
}

/// Failures in a row that open the circuit.
const FAILURES: u32 = 5;
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(10);
/// A call that tries may be dropped with its request, and then decides nothing.
const TRIAL_LIMIT: Duration = Duration::from_secs(10);

impl Breaker {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Circuit {
            failures: 0,
            state: State::Closed,
            rest: REST_MIN,
        }))
    }

    /// Whether a call may be made now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut circuit = self.circuit();
        match circuit.state {
            State::Closed => true,
            State::Open { until } | State::HalfOpen { until } if now < until => false,
            State::Open { .. } | State::HalfOpen { .. } => {
                let until = now + TRIAL_LIMIT;
                circuit.state = State::HalfOpen { until };
                true
            }
        }
    }

    pub(super) fn succeeded(&self) {
        *self.circuit() = Circuit {
            failures: 0,
            state: State::Closed,
            rest: REST_MIN,
        };
    }

    pub(super) fn failed(&self, now: Instant) {
        let mut circuit = self.circuit();
        circuit.failures = circuit.failures.saturating_add(1);
        let tried = matches!(circuit.state, State::HalfOpen { .. });
        if tried || circuit.state == State::Closed && circuit.failures >= FAILURES {
            let until = now + circuit.rest;
            circuit.state = State::Open { until };
            circuit.rest = (circuit.rest * 2).min(REST_MAX);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.circuit().state == State::Closed
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        // A copy of plain values is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_tries_once_and_closes() {
        let breaker = Breaker::new();
        let now = Instant::now();
        for _ in 0..FAILURES {
            assert!(breaker.admits(now));
            breaker.failed(now);
        }
        assert!(!breaker.admits(now));
        let later = now + REST_MIN;
        assert!(breaker.admits(later), "one call tries");
        assert!(!breaker.admits(later), "and only one");
        breaker.failed(later);
        assert!(!breaker.admits(later + REST_MIN), "it rests twice as long");
        let later = later + REST_MIN * 2;
        assert!(breaker.admits(later));
        breaker.succeeded();
        assert!(breaker.admits(later) && breaker.is_closed());
    }

    #[test]
    fn failures_between_successes_do_not_open_it() {
        let breaker = Breaker::new();
        let now = Instant::now();
        for _ in 0..FAILURES * 2 {
            breaker.failed(now);
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_trial_that_is_never_heard_of_is_given_up() {
        let breaker = Breaker::new();
        let now = Instant::now();
        for _ in 0..FAILURES {
            breaker.failed(now);
        }
        assert!(breaker.admits(now + REST_MIN));
        assert!(breaker.admits(now + REST_MIN + TRIAL_LIMIT));
    }
}
