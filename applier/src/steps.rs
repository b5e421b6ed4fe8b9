//! From portions to transactions on the target, by the rules that operators set meanwhile.

use std::time::{Duration, Instant};

use change::Lsn;
use tracing::info;

use crate::batch::Portion;
use crate::bell::Bells;
use crate::control::Control;
use crate::decode::Action;
use crate::error::Error;
use crate::metrics::{self, Metrics};
use crate::progress::{Mark, Phase};
use crate::schema_change::SchemaPolicy;
use crate::target::{Outcome, Session};

/// Between two looks at the rules while apply stands still: an operator waits for the end of a hold,
/// nobody for that of a pause.
const HOLD_INTERVAL: Duration = Duration::from_millis(10);
const PAUSE_INTERVAL: Duration = Duration::from_millis(200);

/// What applies portions one after the other.
pub(crate) struct Steps {
    session: Session,
    control: Control,
    /// Where the target is; `None` while it is nowhere.
    mark: Option<Mark>,
    metrics: Metrics,
    bells: Bells,
    /// Whether something was set aside in the transaction that is open, or a table changed.
    is_aside: bool,
    is_changed: bool,
}

impl Steps {
    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn begin(
        session: Session,
        metrics: &Metrics,
        bells: &Bells,
    ) -> Result<Self, Error> {
        let mark = session.progress().await?.map(|progress| progress.mark());
        let control = session.control().await?;
        // For what was set aside and written down by who died then.
        bells.letters.ring();
        bells.indexes.ring();
        let mut steps = Self {
            session,
            control: Control::default(),
            mark,
            metrics: metrics.clone(),
            bells: bells.clone(),
            is_aside: false,
            is_changed: false,
        };
        steps.heed(control);
        Ok(steps)
    }

    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Applies a portion, standing still where the rules say so.
    ///
    /// # Errors
    /// When it could not be applied.
    pub(crate) async fn apply(&mut self, mut portion: Portion) -> Result<(), Error> {
        loop {
            self.rest().await?;
            let cut = self.cut(&mut portion);
            let outcome = match self.hold_changing_tables(&portion, None).await? {
                true => Outcome::OtherRules,
                false => self.apply_or_hold(&portion).await?,
            };
            match (outcome, cut) {
                (Outcome::Applied | Outcome::SetAside, None) => return Ok(()),
                (Outcome::Applied | Outcome::SetAside, Some(rest)) => portion = rest,
                (Outcome::OtherRules, cut) => {
                    if let Some(rest) = cut {
                        portion.join(rest);
                    }
                    let control = self.session.control().await?;
                    self.heed(control);
                }
            }
        }
    }

    /// Cuts a portion at its border, if there is one, and answers the rest.
    fn cut(&self, portion: &mut Portion) -> Option<Portion> {
        let lsn = self.border(portion)?;
        // While the target is nowhere, the first commits record is what comes before all others.
        let before = match &self.mark {
            Some(mark) => mark.clone(),
            None => portion.borders.first()?.mark.clone(),
        };
        (before.applied < lsn).then(|| portion.cut(lsn, &before))
    }

    /// Where to cut a portion: at a hold, and around a transaction that changes tables.
    fn border(&self, portion: &Portion) -> Option<Lsn> {
        let hold = self.control.hold.filter(|lsn| portion.reaches(*lsn));
        let schema = match self.session.is_open() {
            true => None,
            false => portion.schema_border(),
        };
        hold.into_iter().chain(schema).min()
    }

    /// Has tables wait whose change is left to somebody, or was refused. Whether there were any: the
    /// rules have changed then.
    async fn hold_changing_tables(
        &mut self,
        portion: &Portion,
        refused: Option<&Error>,
    ) -> Result<bool, Error> {
        if self.mark.is_none() {
            return Ok(false);
        }
        let (mut held, mut begun) = (None, false);
        for placed in &portion.schema_changes {
            let notice = placed.notice();
            let reason = match (refused, &notice.refused) {
                (Some(Error::SchemaChange { place, .. }), _) if *place != placed.record => continue,
                (Some(error), _) => service::chain(error),
                (None, Some(reason)) => reason.clone(),
                (None, None) if self.session.policy(placed) == SchemaPolicy::Hold => format!(
                    "{} at {}: make the change here, then resume",
                    notice.tag,
                    placed.commit_lsn()
                ),
                (None, None) if placed.is_of(&self.control.held_tables) => format!(
                    "{} at {} of a table that was held",
                    notice.tag,
                    placed.commit_lsn()
                ),
                (None, None) => match self.session.untranslatable(placed).await? {
                    Some(why) => format!(
                        "{} at {}: {why}: make the change here, let the applier's options fit, then resume",
                        notice.tag,
                        placed.commit_lsn()
                    ),
                    None => continue,
                },
            };
            // By both names, where it was renamed.
            for table in placed.tables() {
                if self.control.held_tables.contains(&table) {
                    continue;
                }
                // What of the transaction is applied was not to be.
                if self.session.is_open() {
                    self.session.abandon().await?;
                    begun = true;
                }
                self.session.hold_table(&table, &reason).await?;
                held = Some(table);
            }
        }
        match held {
            Some(table) if begun => Err(Error::Waits { table }),
            held => Ok(held.is_some()),
        }
    }

    /// Applies a portion; a table whose change the target refuses waits, and the others go on.
    async fn apply_or_hold(&mut self, portion: &Portion) -> Result<Outcome, Error> {
        let resumed = self.session.is_open();
        let error = match self.apply_whole(portion).await {
            Err(error @ Error::SchemaChange { .. }) if !error.is_transient() => error,
            other => return other,
        };
        if !resumed {
            self.session.abandon().await?;
        }
        match self.hold_changing_tables(portion, Some(&error)).await? {
            true => Ok(Outcome::OtherRules),
            false => Err(error),
        }
    }

    /// Stands still as long as the rules say so. In the middle of a transaction they cannot change.
    async fn rest(&mut self) -> Result<(), Error> {
        while !self.session.is_open() {
            let applied = self.mark.as_ref().map(|mark| mark.applied);
            let held = self.control.hold.map(Lsn::just_before);
            let interval = match (self.control.paused, held.is_some() && held == applied) {
                (_, true) => HOLD_INTERVAL,
                (true, false) => PAUSE_INTERVAL,
                (false, false) => break,
            };
            tokio::time::sleep(interval).await;
            let control = self.session.control().await?;
            self.heed(control);
        }
        Ok(())
    }

    fn heed(&mut self, control: Control) {
        if control.paused != self.control.paused {
            info!(paused = control.paused, "an operator decided");
        }
        let held = i64::try_from(control.held_tables.len()).unwrap_or(i64::MAX);
        self.metrics.held_tables.set(held);
        self.metrics.paused.set(control.paused.into());
        self.metrics.dead_letters.set(control.open_letters);
        self.control = control;
    }

    async fn apply_whole(&mut self, portion: &Portion) -> Result<Outcome, Error> {
        let started = Instant::now();
        let (mark, control) = (self.mark.as_ref(), &self.control);
        let outcome = self.session.apply(portion, mark, control).await?;
        if outcome == Outcome::OtherRules {
            return Ok(outcome);
        }
        self.note(portion, started);
        self.is_aside |= outcome == Outcome::SetAside;
        self.is_changed |= !portion.schema_changes.is_empty();
        if let Some(mark) = portion.mark() {
            self.mark = Some(mark.clone());
            if std::mem::take(&mut self.is_aside) {
                self.bells.letters.ring();
            }
            if std::mem::take(&mut self.is_changed) {
                self.bells.indexes.ring();
            }
        }
        if outcome == Outcome::SetAside {
            let control = self.session.control().await?;
            self.heed(control);
        }
        Ok(outcome)
    }

    fn note(&self, portion: &Portion, started: Instant) {
        let metrics = &self.metrics;
        let elapsed = started.elapsed().as_secs_f64();
        metrics.apply_seconds.observe(elapsed);
        let mut rows = [("insert", 0), ("update", 0), ("delete", 0), ("truncate", 0)];
        for change in self.control.live(&portion.changes) {
            let op = match change.action {
                Action::Insert(_) => 0,
                Action::Update { .. } => 1,
                Action::Delete(_) => 2,
                Action::Truncate => 3,
                Action::Unreadable(_) => continue,
            };
            rows[op].1 += 1;
        }
        for (op, rows) in rows {
            metrics.rows.with_label_values(&[op]).inc_by(rows);
        }
        let Some(mark) = portion.mark() else {
            return;
        };
        let transactions = u64::try_from(portion.transactions()).unwrap_or(u64::MAX);
        metrics.transactions.inc_by(transactions);
        metrics.batches.inc();
        let snapshotting = mark.phase == Phase::Snapshotting;
        metrics.snapshotting.set(snapshotting.into());
        metrics.applied(mark.applied, mark.commits_offset, mark.commit_time);
        if transactions > 0 {
            let seconds = metrics::since(mark.commit_time).as_secs_f64();
            metrics.commit_to_visible_seconds.observe(seconds);
        }
    }
}
