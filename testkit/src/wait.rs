//! Waiting for what must become true.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for a slow machine: a test that works never waits this long.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks again and again until the answer is `Ok`, and panics with `what` and the last answer when
/// it is not so in time ([`PATIENCE`]).
///
/// ```no_run
/// # async fn rows() -> i64 { 3 }
/// # async fn example() {
/// testkit::wait::until("three rows on the target", async || match rows().await {
///     3 => Ok(()),
///     n => Err(n),
/// })
/// .await;
/// # }
/// ```
#[track_caller]
pub fn until<T, E, F>(what: &str, ask: F) -> impl Future<Output = T>
where
    E: Debug,
    F: AsyncFnMut() -> Result<T, E>,
{
    within(PATIENCE, what, ask)
}

/// As [`until`], with a limit of its own, for promises that are about time.
#[track_caller]
pub fn within<T, E, F>(limit: Duration, what: &str, mut ask: F) -> impl Future<Output = T>
where
    E: Debug,
    F: AsyncFnMut() -> Result<T, E>,
{
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            let last = match ask().await {
                Ok(answer) => return answer,
                Err(last) => last,
            };
            assert!(
                Instant::now() < deadline,
                "{caller}: not within {limit:?}: {what}; the last answer was {last:?}"
            );
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_answer_is_returned_when_it_comes() {
        let mut asked = 0;
        let answer = until("the third", async || {
            asked += 1;
            if asked == 3 { Ok(asked) } else { Err(asked) }
        });
        assert_eq!(answer.await, 3);
    }

    #[tokio::test]
    async fn what_was_waited_for_and_the_last_answer_are_named() {
        let never = tokio::spawn(within(Duration::from_millis(20), "the moon", async || {
            Err::<(), _>(7)
        }));
        let panic = never.await.unwrap_err().into_panic();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(
            text.contains("the moon") && text.contains("was 7"),
            "{text}"
        );
        assert!(text.contains("wait.rs"), "{text}");
    }
}
