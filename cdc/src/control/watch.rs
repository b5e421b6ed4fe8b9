//! Looking, once a second, and telling what was seen.

use std::time::Duration;

use service::Health;
use service::postgres::{Connection, connect};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Statement;

use super::pressure::{Pressure, Room};
use super::tables::Tables;
use super::visibility::Visibility;
use crate::begin::Context;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::source::SlotName;

/// What an order of operators is shown under in the health report.
const CAPTURE: &str = "capture";
/// The slot's name in the health report.
const SLOT: &str = "slot";
/// Soon enough for a person who waits, too rare to cost the source anything.
const INTERVAL: Duration = Duration::from_secs(1);

/// What operators want of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Go,
    /// Take no changes, and say why.
    Pause {
        by: String,
        reason: Option<String>,
    },
}

/// What was seen.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub order: Order,
    pub pressure: Pressure,
    pub visibility: Visibility,
    /// Snapshots of tables that are asked for and not done.
    pub requests: i64,
}

/// The task that looks. Dropping it ends the task.
pub(crate) struct Watch {
    sights: watch::Receiver<Sight>,
    task: JoinHandle<Error>,
}

impl Watch {
    /// Looks for the first time, and goes on with it.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(crate) async fn start(context: Context<'_>, tables: Tables) -> Result<Self, Error> {
        let client = connect(&context.config.source, "lockstep cdc control").await?;
        let statement = client.prepare(&look(tables)).await.map_err(failed)?;
        let mut watcher = Watcher {
            client,
            statement,
            slot: context.config.slot.clone(),
            metrics: context.metrics.clone(),
            health: context.monitor.health.clone(),
            order: Order::Go,
            pressure: Pressure::None,
        };
        let (sender, sights) = watch::channel(watcher.sight().await?);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                match watcher.sight().await {
                    Ok(sight) => _ = sender.send_replace(sight),
                    Err(error) => return error,
                }
            }
        });
        Ok(Self { sights, task })
    }

    /// What was seen last.
    pub(crate) fn last(&self) -> Sight {
        self.sights.borrow().clone()
    }

    /// For who waits for the same on their own.
    pub(crate) fn sights(&self) -> watch::Receiver<Sight> {
        self.sights.clone()
    }

    /// Waits for the next sight. Cancel-safe.
    ///
    /// # Errors
    /// When the source does not answer any more.
    pub(crate) async fn next(&mut self) -> Result<Sight, Error> {
        if self.sights.changed().await.is_ok() {
            return Ok(self.sights.borrow_and_update().clone());
        }
        let ended = (&mut self.task).await;
        Err(ended.unwrap_or(Error::Unwatched))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watcher {
    client: Connection,
    statement: Statement,
    slot: SlotName,
    metrics: Metrics,
    health: Health,
    order: Order,
    pressure: Pressure,
}

impl Watcher {
    async fn sight(&mut self) -> Result<Sight, Error> {
        let slot = self.slot.as_str();
        let row = self.client.query_one(&self.statement, &[&slot]).await;
        let row = row.map_err(failed)?;
        let room = Room {
            wal_status: row.get("wal_status"),
            safe_wal_size: row.get("safe_wal_size"),
            limit: row.get("keep"),
        };
        let order = match row.get("paused") {
            true => Order::Pause {
                by: row.get("changed_by"),
                reason: row.get("reason"),
            },
            false => Order::Go,
        };
        self.tell_order(&order);
        self.tell_room(&room);
        Ok(Sight {
            order,
            pressure: room.pressure(),
            visibility: row.get::<_, &str>("visible").parse()?,
            requests: row.get("requests"),
        })
    }

    fn tell_order(&mut self, order: &Order) {
        let is_news = self.order != *order;
        match order {
            Order::Go => {
                self.metrics.paused.set(0);
                self.health.set(CAPTURE, Ok(()));
                if is_news {
                    tracing::info!("capture is resumed");
                }
            }
            Order::Pause { by, reason } => {
                self.metrics.paused.set(1);
                let reason = reason.as_deref().unwrap_or("no reason given");
                self.health
                    .note(CAPTURE, format!("paused by {by}: {reason}"));
                if is_news {
                    tracing::info!(by, reason, "capture is paused: the slot keeps what changes");
                }
            }
        }
        self.order = order.clone();
    }

    fn tell_room(&mut self, room: &Room) {
        let pressure = room.pressure();
        self.metrics.pressure.set(pressure.level());
        if self.pressure != pressure {
            let safe_wal_size = room.safe_wal_size;
            let wal_status = room.wal_status.as_deref();
            match pressure {
                Pressure::None => tracing::info!(safe_wal_size, "the slot has room again"),
                Pressure::Slow | Pressure::Wait => tracing::warn!(
                    ?pressure,
                    safe_wal_size,
                    wal_status,
                    "the slot is running out of room: snapshots of tables slow down or wait; let \
                     capture catch up, or raise max_slot_wal_keep_size"
                ),
            }
        }
        self.pressure = pressure;
        let safe = room.safe_wal_size.unwrap_or_default() / (1024 * 1024);
        match pressure {
            _ if room.is_lost() => {
                let lost = "it has lost log that it needs: only a new snapshot helps";
                self.health.set(SLOT, Err(lost.to_owned()));
            }
            Pressure::None => self.health.set(SLOT, Ok(())),
            Pressure::Slow => {
                let slow = format!("room for {safe} MB more: snapshots of tables go slowly");
                self.health.note(SLOT, slow);
            }
            Pressure::Wait => {
                let wait = format!("room for {safe} MB more: snapshots of tables wait");
                self.health.note(SLOT, wait);
            }
        }
    }
}

/// One row, whatever is there.
fn look(tables: Tables) -> String {
    let (orders, from) = match tables {
        Tables::There => (
            "coalesce(c.paused, false) as paused, c.reason, c.changed_by,
             (select count(*) from lockstep.snapshots r
               where r.slot = $1::text and r.state in ('waiting', 'running')) as requests",
            "left join lockstep.capture c on c.slot = $1::text",
        ),
        Tables::Missing => (
            "false as paused, null::text as reason, null::text as changed_by, 0::int8 as requests",
            "",
        ),
    };
    format!(
        "select {orders}, pg_current_snapshot()::text as visible, s.wal_status, s.safe_wal_size,
                (select nullif(setting::int8, -1) * 1048576 from pg_settings
                  where name = 'max_slot_wal_keep_size') as keep
           from (select) as one
           left join pg_replication_slots s on s.slot_name = $1::text {from}"
    )
}

fn failed(source: tokio_postgres::Error) -> Error {
    Error::Query {
        step: "look at what capture should heed",
        source,
    }
}
