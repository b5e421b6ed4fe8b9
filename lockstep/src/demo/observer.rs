//! What both databases show meanwhile.

use std::time::Duration;

use anyhow::Context;
use service::postgres::{Connection, connect};
use tokio::time::Instant;

use super::load::Tally;
use operate::catalog::{self, PublishedTable};
use operate::endpoints::Endpoints;
use operate::progress::{self, Phase};

pub(super) struct Observer {
    source: Connection,
    target: Connection,
    publication: String,
    pipeline: String,
    last: Option<(Instant, u64)>,
}

impl Observer {
    /// # Errors
    /// When a database cannot be reached.
    pub(super) async fn connect(endpoints: &Endpoints) -> anyhow::Result<Self> {
        Ok(Self {
            source: connect(&endpoints.source, "lockstep demo").await?,
            target: connect(&endpoints.target, "lockstep demo").await?,
            publication: endpoints.names.publication.clone(),
            pipeline: endpoints.names.pipeline.clone(),
            last: None,
        })
    }

    pub(super) async fn is_streaming(&self) -> anyhow::Result<bool> {
        let progress = progress::read(&self.target, &self.pipeline).await?;
        Ok(progress.is_some_and(|progress| progress.phase == Phase::Streaming))
    }

    /// How many rows the first snapshot has brought, by what both servers estimate: counting a
    /// large table every second would slow down what it watches.
    pub(super) async fn snapshot_line(&self) -> anyhow::Result<String> {
        let tables = self.published().await?;
        let names: Vec<String> = tables.iter().map(|table| table.name.quoted()).collect();
        let size = "select coalesce(sum(pg_table_size(to_regclass(name))), 0)::int8
                      from unnest($1::text[]) as name";
        let step = "ask for the size of the tables";
        let source: i64 = self
            .source
            .query_one(size, &[&names])
            .await
            .context(step)?
            .get(0);
        let target: i64 = self
            .target
            .query_one(size, &[&names])
            .await
            .context(step)?
            .get(0);
        let shown = |size: i64| operate::units::bytes(u64::try_from(size).unwrap_or_default());
        Ok(format!(
            "first snapshot: {} of {} are on the target",
            shown(target),
            shown(source)
        ))
    }

    /// The status line: rows, rate, lag.
    pub(super) async fn line(&mut self, tally: &Tally) -> anyhow::Result<String> {
        let count = "select count(*) from public.articles";
        let there = self.source.query_one(count, &[]).await;
        let there: i64 = there.context("count the source's articles")?.get(0);
        // The table is missing until the first rows come.
        let here: Option<i64> = match self.target.query_one(count, &[]).await {
            Ok(row) => Some(row.get(0)),
            Err(_) => None,
        };
        let lag = self.lag().await?;
        let here = here.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
        let refused = match tally.refused() {
            0 => String::new(),
            count => format!(", {count} refused"),
        };
        let rate = self.rate(tally.transactions());
        let done = tally.transactions();
        Ok(format!(
            "articles {there} on DB1, {here} on DB2 | {done} transactions{refused}, {rate} | lag {lag}"
        ))
    }

    fn rate(&mut self, done: u64) -> String {
        let now = Instant::now();
        let Some((then, before)) = self.last.replace((now, done)) else {
            return "unknown/s".to_owned();
        };
        let elapsed_ms = (now - then).as_millis().max(1);
        let per_second = u128::from(done.saturating_sub(before)) * 1000 / elapsed_ms;
        format!("{per_second}/s")
    }

    /// From the commit on the source to the commit on the target, of what was applied last. Both
    /// clocks are the same one when both servers run on this machine.
    async fn lag(&self) -> anyhow::Result<String> {
        let Some(progress) = progress::read(&self.target, &self.pipeline).await? else {
            return Ok("unknown".to_owned());
        };
        let lag = progress.applied_at.duration_since(progress.commit_time);
        let lag: Duration = lag.unwrap_or_default();
        Ok(format!("{} ms", lag.as_millis()))
    }

    async fn published(&self) -> anyhow::Result<Vec<PublishedTable>> {
        catalog::published(&self.source, &self.publication).await
    }
}
