//! Asks a database the same again and again, beside a service's own work: numbers that must stay
//! true also while the service waits, or begins again.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{Client, Error};

use super::connect::{Connection, connect};
use super::dsn::Dsn;
use crate::chain;

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Watch(JoinHandle<()>);

/// A third of the usual interval of a scrape.
const INTERVAL: Duration = Duration::from_secs(5);

/// A question under way.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

impl Watch {
    /// `told` is called with each answer, and with `None` when there is none. The service itself
    /// reports that a database is away, and why.
    pub fn start<T, A, N>(dsn: Dsn, application_name: &'static str, ask: A, mut told: N) -> Self
    where
        T: Send + 'static,
        A: for<'a> Fn(&'a Client) -> Asking<'a, T> + Send + Sync + 'static,
        N: FnMut(Option<T>) + Send + 'static,
    {
        Self(tokio::spawn(async move {
            let mut connection = None;
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let asked = asked(&mut connection, &dsn, application_name, &ask);
                // What was asked and not answered would be in the way of the next question.
                let answer = timeout(INTERVAL, asked).await.ok().flatten();
                if answer.is_none() {
                    connection = None;
                }
                told(answer);
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn asked<T, A>(
    connection: &mut Option<Connection>,
    dsn: &Dsn,
    application_name: &str,
    ask: &A,
) -> Option<T>
where
    A: for<'a> Fn(&'a Client) -> Asking<'a, T>,
{
    if connection.is_none() {
        *connection = Some(connect(dsn, application_name).await.ok()?);
    }
    let answer = ask(connection.as_ref()?).await;
    answer
        .inspect_err(|error| {
            tracing::debug!(database = %dsn, error = %chain(error), "a watch is not answered");
        })
        .ok()
}
