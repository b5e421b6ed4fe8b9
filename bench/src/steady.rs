//! While the source is written to: how long a commit takes to be seen, and what rate can be followed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use testkit::postgres::Connection;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::backlog::Backlog;
use crate::contender::native::Native;
use crate::contender::{Contender, Kafka, Lockstep, Running, until};
use crate::options::{Options, Steady};
use crate::servers::Servers;
use crate::spread::{Spread, quantile, sorted};
use crate::workload::{Scale, Workload};
use crate::{plot, report};

/// Rates that are tried, in rows a second.
const FIRST_RATE: u32 = 10_000;
const RATES: u32 = 14;
/// How long each is tried.
const TRIED_SECONDS: u32 = 4;
const ROWS_EACH: u32 = 10;
/// The target follows a rate if it has everything so soon after the last commit.
const FOLLOWS: Duration = Duration::from_millis(500);
/// Of a rate that the source itself no longer takes.
const REACHED: f64 = 0.9;

/// # Errors
/// When a contender fails, or what it brought is not what the source has.
pub(crate) async fn measure(options: &Options, steady: &Steady) -> anyhow::Result<()> {
    let servers = Servers::start(&options.kafkas()).await?;
    let scale = Scale {
        percent: 100,
        tables: 1,
    };
    let backlog = Backlog::tables(&servers, Workload::Insert, scale).await?;
    let no_wait = backlog.source.batch_execute("set synchronous_commit = off");
    no_wait.await.context("set up the writer")?;
    let mut stage = Stage {
        servers: &servers,
        backlog,
        next_id: 1,
    };
    let mut followers = Vec::new();
    for contender in options.appliers() {
        followers.push(stage.follower(contender).await?);
    }
    let mut rounds = Vec::new();
    for number in 0..=steady.rounds {
        for follower in &followers {
            // Apache Kafka's Java machine gets a round that does not count.
            if number > 0 || follower.contender() == Contender::Lockstep(Kafka::Apache) {
                let round = stage.round(follower, steady).await?;
                eprintln!("round {number} of {}: {}", steady.rounds, round.text());
                rounds.extend((number > 0).then_some(round));
            }
        }
        // Each goes first in turn.
        followers.rotate_left(1);
    }
    for follower in &followers {
        if let Follower::Native(native) = follower {
            native.drop().await?;
        }
    }
    stage.backlog.end(&servers).await?;
    tell(options, steady, &rounds)
}

/// What one round gave.
struct Round {
    contender: Contender,
    /// Sorted.
    milliseconds: Vec<f64>,
    rate: Rate,
}

/// The highest rate that was followed.
#[derive(Clone, Copy, Debug)]
struct Rate {
    rows_per_second: f64,
    /// The source took no higher rate, or none was tried.
    is_least: bool,
}

impl Round {
    fn text(&self) -> String {
        let [p50, p99] = [500, 990].map(|at| quantile(&self.milliseconds, at).unwrap_or(f64::NAN));
        let (name, rate) = (self.contender.name(), self.rate);
        let least = if rate.is_least { "at least " } else { "" };
        let rows = rate.rows_per_second;
        format!("{name}: p50 {p50:.1} ms, p99 {p99:.1} ms, follows {least}{rows:.0} rows/s")
    }
}

/// Who follows the source, stopped.
enum Follower {
    Native(Native),
    Lockstep(Kafka, Lockstep),
}

impl Follower {
    fn contender(&self) -> Contender {
        match self {
            Self::Native(_) => Contender::Native,
            Self::Lockstep(kafka, _) => Contender::Lockstep(*kafka),
        }
    }

    fn target(&self) -> &Connection {
        match self {
            Self::Native(native) => &native.target,
            Self::Lockstep(_, lockstep) => &lockstep.target,
        }
    }

    /// Starts to follow; of Lockstep, with its processes.
    async fn start(&self) -> anyhow::Result<Option<Running>> {
        match self {
            Self::Native(native) => native.enable().await.map(|()| None),
            Self::Lockstep(_, lockstep) => lockstep.start().map(Some),
        }
    }

    /// Ends it; of Lockstep, after a comparison.
    async fn end(&self, running: Option<Running>) -> anyhow::Result<()> {
        match self {
            Self::Native(native) => native.disable().await?,
            Self::Lockstep(_, lockstep) => lockstep.verify().await?,
        }
        if let Some(running) = running {
            running.stop().await;
        }
        Ok(())
    }
}

/// The source, and what was written to it.
struct Stage<'a> {
    servers: &'a Servers,
    backlog: Backlog,
    next_id: i64,
}

impl Stage<'_> {
    async fn follower(&self, contender: Contender) -> anyhow::Result<Follower> {
        let (servers, backlog) = (self.servers, &self.backlog);
        Ok(match contender {
            Contender::Lockstep(kafka) => {
                let lockstep = Lockstep::at_slot(servers, backlog, contender, 1).await?;
                Follower::Lockstep(kafka, lockstep)
            }
            Contender::Native | Contender::Floor | Contender::Capture(_) => {
                Follower::Native(Native::at_slot(servers, backlog, 1).await?)
            }
        })
    }

    async fn round(&mut self, follower: &Follower, steady: &Steady) -> anyhow::Result<Round> {
        let running = self.begin(follower).await?;
        self.servers.settle().await?;
        let latencies = self.latencies(follower, steady).await?;
        let rate = self.rate(follower).await?;
        follower.end(running).await?;
        Ok(Round {
            contender: follower.contender(),
            milliseconds: sorted(latencies),
            rate,
        })
    }

    /// Starts to follow, and waits until everything is there.
    async fn begin(&mut self, follower: &Follower) -> anyhow::Result<Option<Running>> {
        let running = follower.start().await?;
        self.write(ROWS_EACH, FIRST_RATE).await?;
        self.seen(follower).await?;
        Ok(running)
    }

    /// Writes rows at a rate, and answers the rate that it came to.
    async fn write(&mut self, rows: u32, rate: u32) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let paced = paced(self.next_id, rows, rate);
        self.backlog.source.batch_execute(&paced).await?;
        self.next_id += i64::from(rows);
        Ok(f64::from(rows) / begun.elapsed().as_secs_f64())
    }

    /// Waits until the target has all that was written.
    async fn seen(&self, follower: &Follower) -> anyhow::Result<()> {
        let last = self.next_id - 1;
        let seen = "select exists (select from articles where id = $1)";
        until(follower.target(), seen, &[&last]).await
    }

    /// Commits at the rate that was asked for, and looks at the target all the time.
    async fn latencies(
        &mut self,
        follower: &Follower,
        steady: &Steady,
    ) -> anyhow::Result<Vec<f64>> {
        let first = self.next_id;
        let count = i64::from(steady.rate * steady.seconds);
        let pace = Duration::from_secs(1) / steady.rate;
        let writer = self.servers.at_source(&self.backlog.database).await?;
        let commits = commit_all(&writer, first, count, pace);
        let sights = see_all(follower.target(), first, count);
        let (commits, sights) = tokio::try_join!(commits, sights)?;
        self.next_id += count;
        let took = commits.last().zip(commits.first());
        let took = took.map_or(Duration::ZERO, |(last, first)| *last - *first);
        ensure!(
            took.as_secs_f64() * REACHED < f64::from(steady.seconds),
            "the source does not commit {} times a second: {count} commits took {took:?}",
            steady.rate
        );
        let waits = commits.iter().zip(&sights);
        let waits = waits.map(|(commit, sight)| sight.saturating_duration_since(*commit));
        Ok(waits.map(|it| it.as_secs_f64() * 1e3).collect())
    }

    /// The highest rate that the target follows.
    async fn rate(&mut self, follower: &Follower) -> anyhow::Result<Rate> {
        let mut followed = 0.0;
        let mut rate = FIRST_RATE;
        for _ in 0..RATES {
            let reached = self.write(rate * TRIED_SECONDS, rate).await?;
            let last = Instant::now();
            self.seen(follower).await?;
            if last.elapsed() > FOLLOWS {
                return Ok(Rate {
                    rows_per_second: followed,
                    is_least: false,
                });
            }
            followed = reached;
            if reached < f64::from(rate) * REACHED {
                break;
            }
            rate = rate * 5 / 4 / ROWS_EACH * ROWS_EACH;
        }
        Ok(Rate {
            rows_per_second: followed,
            is_least: true,
        })
    }
}

/// Inserts rows from `first` on, [`ROWS_EACH`] a transaction, `rate` a second. It pauses often enough
/// that it is a steady rate.
fn paced(first: i64, rows: u32, rate: u32) -> String {
    format!(
        "do $$ declare begun timestamptz := clock_timestamp(); begin \
           for batch in 0 .. {rows} / {ROWS_EACH} - 1 loop \
             insert into articles (id, title, content, author) \
             select n, 'Article ' || n, repeat(md5(n::text), 7), 'author ' || n % 1000 \
             from generate_series({first} + batch * {ROWS_EACH}, \
                                  {first} + batch * {ROWS_EACH} + {ROWS_EACH} - 1) n; \
             commit; \
             if batch % 20 = 0 then \
               perform pg_sleep_until(begun + \
                 make_interval(secs => batch * {ROWS_EACH}::float8 / {rate})); \
             end if; \
           end loop; end $$"
    )
}

/// Commits rows one by one from `first` on, and answers when each was done.
async fn commit_all(
    source: &Connection,
    first: i64,
    count: i64,
    pace: Duration,
) -> anyhow::Result<Vec<Instant>> {
    let insert = "insert into articles (id, title, content, author) \
                  values ($1, 'Article', repeat(md5($1::bigint::text), 7), 'author')";
    let insert = source.prepare(insert).await?;
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut commits = Vec::new();
    for id in first..first + count {
        ticks.tick().await;
        source.execute(&insert, &[&id]).await.context("commit")?;
        commits.push(Instant::now());
    }
    Ok(commits)
}

/// Looks at the target until it has `count` rows from `first` on, and answers when each was seen
/// first.
async fn see_all(target: &Connection, first: i64, count: i64) -> anyhow::Result<Vec<Instant>> {
    let look = target.prepare("select max(id) from articles").await?;
    let mut sights = Vec::new();
    let mut next = first;
    while next < first + count {
        let last: Option<i64> = target.query_one(&look, &[]).await?.get(0);
        let now = Instant::now();
        while last.is_some_and(|last| next <= last) {
            sights.push(now);
            next += 1;
        }
        // What a look takes is about as long.
        sleep(Duration::from_micros(500)).await;
    }
    Ok(sights)
}

fn tell(options: &Options, steady: &Steady, rounds: &[Round]) -> anyhow::Result<()> {
    println!(
        "\n{:<15} {:>8} {:>8} {:>8}   {:>36}",
        "", "p50 ms", "p99 ms", "p99.9 ms", "rows/s that it follows"
    );
    let mut latencies = Vec::new();
    let mut contenders = serde_json::Map::new();
    for contender in options.appliers() {
        let own = || rounds.iter().filter(|round| round.contender == contender);
        let milliseconds = sorted(own().flat_map(|round| round.milliseconds.iter().copied()));
        let at = |per_mille| quantile(&milliseconds, per_mille).unwrap_or(f64::NAN);
        let rate = Spread::of(own().map(|round| round.rate.rows_per_second));
        let is_least = own().any(|round| round.rate.is_least);
        let Spread {
            median,
            least,
            most,
        } = rate;
        println!(
            "{:<15} {:>8.1} {:>8.1} {:>8.1}   {:>36}",
            contender.name(),
            at(500),
            at(990),
            at(999),
            format!(
                "{}{median:.0} ({least:.0} - {most:.0})",
                if is_least { "at least " } else { "" }
            ),
        );
        contenders.insert(
            contender.name().to_owned(),
            json!({
                "p50_milliseconds": at(500),
                "p99_milliseconds": at(990),
                "p99_9_milliseconds": at(999),
                "rows_per_second_followed": rate.json(),
                "is_least": is_least,
            }),
        );
        latencies.push((contender, milliseconds));
    }
    let value = json!({
        "transactions_per_second": steady.rate,
        "seconds": steady.seconds,
        "rounds": steady.rounds,
        "contenders": contenders,
    });
    report::write(options, "steady", &value)?;
    plot::latencies(options, &latencies)
}
