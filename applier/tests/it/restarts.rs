//! Kills at random moments: nothing is lost, nothing takes effect twice.

use std::time::Duration;

use crate::rig::{Record, Rig};

/// A deterministic sequence of pseudo-random numbers (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_repeat_nothing() {
    let mut rig = Rig::start().await;
    rig.config.batch_rows = 50;
    // Each row of the keyless table must come exactly once; the counter must end where it ends.
    rig.sql("create table log (n int, v text); create table counter (id int primary key, n int)")
        .await;
    rig.sql("insert into counter values (1, 0)").await;
    let (log, counter) = (rig.table("log", 3).await, rig.table("counter", 2).await);
    let first = rig.creates(&counter, "select * from counter").await;
    rig.capture.commit(&first).await;
    let mut dice = Dice(7);
    let mut applier = rig.apply();
    for n in 1..=60 {
        let rows = dice.roll(120) + 1;
        rig.sql(&format!(
            "insert into log select {n}, 'v' || i % 3 from generate_series(1, {rows}) i; \
             update counter set n = {n}"
        ))
        .await;
        let mut changes: Vec<Record> = rig
            .creates(&log, &format!("select * from log where n = {n}"))
            .await;
        changes.push(counter.update(rig.row("select * from counter").await));
        rig.capture.commit(&changes).await;
        if n % 6 == 0 {
            // Any moment will do, so there is nothing to wait for.
            tokio::time::sleep(Duration::from_micros(dice.roll(20_000))).await;
            applier.kill().await;
            applier = rig.apply();
        }
        let torn = "select (select coalesce(max(n), 0) from log) <> (select n from counter)";
        let exists = "select count(*) from pg_class where relname in ('log', 'counter')";
        if rig.count(exists).await == 2 {
            let row = rig.target.query_one(torn, &[]).await.unwrap();
            assert!(
                !row.get::<_, Option<bool>>(0).unwrap_or(false),
                "half a transaction"
            );
        }
    }
    rig.caught_up().await;
    rig.assert_equal(&["public.log", "public.counter"]).await;
    applier.stop().await;
}
