//! The same request twice is done once: a form that was sent again, a program that heard no answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Answer, Refusal};

/// What the last requests came to, in memory: a console that starts anew has forgotten them, and
/// the actions themselves change nothing that is changed already.
#[derive(Debug, Default)]
pub(crate) struct Once(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// None while it is being done.
    answers: HashMap<String, Option<Answer>>,
    order: VecDeque<String>,
}

const KEPT: usize = 1_000;

impl Once {
    /// The work's answer, or the one that the work of this key gave before. What failed may be
    /// tried again.
    pub(crate) async fn run(&self, key: &str, work: impl Future<Output = Answer>) -> Answer {
        if let Some(known) = self.begin(key) {
            return known;
        }
        let mut turn = Turn {
            once: self,
            key,
            answer: None,
        };
        let answer = work.await;
        turn.answer = answer.is_ok().then(|| answer.clone());
        answer
    }

    fn begin(&self, key: &str) -> Option<Answer> {
        let mut known = self.known();
        match known.answers.get(key) {
            Some(Some(answer)) => return Some(answer.clone()),
            Some(None) => return Some(Err(Refusal::UnderWay)),
            None => {}
        }
        if known.order.len() >= KEPT
            && let Some(oldest) = known.order.pop_front()
        {
            known.answers.remove(&oldest);
        }
        known.answers.insert(key.to_owned(), None);
        known.order.push_back(key.to_owned());
        None
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No code that holds it can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Also ends when the work is given up because the client has gone.
struct Turn<'a> {
    once: &'a Once,
    key: &'a str,
    answer: Option<Answer>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut known = self.once.known();
        match self.answer.take() {
            Some(answer) => {
                known.answers.insert(self.key.to_owned(), Some(answer));
            }
            None => {
                known.answers.remove(self.key);
                known.order.retain(|key| key != self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::Outcome;
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            changed: "Apply is paused".into(),
            command: "lockstep pause apply".into(),
            back: "/".into(),
            ..Outcome::default()
        }
    }

    #[tokio::test]
    async fn a_key_is_worked_on_once_and_failures_again() {
        let (once, runs) = (Once::default(), AtomicU32::new(0));
        let work = async |answer: Answer| {
            runs.fetch_add(1, Ordering::Relaxed);
            answer
        };
        let failed = Err(Refusal::Failed("away".into()));
        assert_eq!(once.run("a", work(failed.clone())).await, failed);
        for _ in 0..3 {
            assert_eq!(once.run("a", work(Ok(outcome()))).await, Ok(outcome()));
        }
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_is_under_way_is_not_begun_again() {
        let once = Once::default();
        let waiting = once.run("a", std::future::pending());
        let second = async { once.run("a", async { Ok(outcome()) }).await };
        tokio::select! {
            biased;
            _ = waiting => unreachable!("it waits for ever"),
            answer = second => assert_eq!(answer, Err(Refusal::UnderWay)),
        }
        assert_eq!(once.run("a", async { Ok(outcome()) }).await, Ok(outcome()));
    }
}
