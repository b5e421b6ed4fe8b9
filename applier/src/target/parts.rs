//! Applying changes in ever smaller parts, down to those that the target refuses: each is answered by
//! the policy of its table.
//!
//! Only where a change of the portion was refused before: each part takes a savepoint and an answer.

use tokio_postgres::Client;

use super::flight::{Failed, Flight, Purpose};
use super::letters::Refusal;
use super::rows;
use super::session::{BEGIN, Outcome, Session, run};
use super::statements::{Statements, Work};
use crate::batch::{Aside, Change, Form, HeldKeys, Portion, Sifted, stages};
use crate::conflicts::Policy;
use crate::control::Control;
use crate::error::{Error, step};
use crate::progress::Mark;

/// So many keys are held in memory. More of them are no exceptions, and apply stops.
const KEYS_MAX: usize = 100_000;
/// So many are applied one by one rather than at once and, after a refusal, by halves.
const FEW: usize = 8;

/// Whether a transaction could be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Open,
    OtherRules,
}

/// What is done with a change that the target refuses.
pub(super) enum Answer {
    SetAside(Refusal),
    Overwrite,
}

impl Session {
    /// As [`Session::apply`]: rows in parts, and changes of tables where they stand among them.
    pub(super) async fn apply_in_parts(
        &mut self,
        portion: &Portion,
        expected: Option<&Mark>,
        control: &Control,
    ) -> Result<Outcome, Error> {
        if let Begun::OtherRules = self.begin_transaction(expected, control).await? {
            return Ok(Outcome::OtherRules);
        }
        let mut held = control.held_keys.clone();
        let mut from = 0;
        for placed in &portion.schema_changes {
            let before = portion.changes.get(from..placed.changes);
            let before: Vec<&Change> = control.live(before.unwrap_or_default()).collect();
            self.rows_in_parts(&before, &mut held).await?;
            from = placed.changes;
            self.change_schema(placed, control).await?;
        }
        let rest = portion.changes.get(from..).unwrap_or_default();
        let rest: Vec<&Change> = control.live(rest).collect();
        self.rows_in_parts(&rest, &mut held).await?;
        self.end_transaction(portion, expected).await?;
        Ok(match held.count() == 0 && control.held_keys.count() == 0 {
            true => Outcome::Applied,
            false => Outcome::SetAside,
        })
    }

    /// Applies changes of rows in the transaction that is open: at once where that works, else by
    /// halves. So a few that are refused among many take few answers.
    pub(super) async fn rows_in_parts(
        &mut self,
        changes: &[&Change],
        held: &mut HeldKeys,
    ) -> Result<(), Error> {
        let mut parts = vec![changes];
        while let Some(part) = parts.pop() {
            if part.len() <= FEW {
                self.rows_one_by_one(part, held).await?;
            } else if !self.rows_at_once(part, held).await? {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
        Ok(())
    }

    /// False where the target refused one, and nothing was applied.
    async fn rows_at_once(
        &mut self,
        changes: &[&Change],
        held: &mut HeldKeys,
    ) -> Result<bool, Error> {
        let mut then_held = held.clone();
        let sifted = Sifted::new(changes.iter().copied(), &mut then_held);
        let client: &Client = &self.connection;
        let stages = stages(sifted.admitted.iter().copied(), Form::Compacted);
        // Before the savepoint: what it makes stays when the rows do not.
        let work = self.statements.ready(client, &stages).await?;
        run(client, "savepoint rows")
            .await
            .map_err(step("set a savepoint"))?;
        let landed = send_all(client, &self.statements, &work).await;
        let (end, applied) = match landed.map_err(|failed| failed.into_error(&self.pipeline)) {
            Ok(missing) => {
                self.metrics.missing_rows.inc_by(missing);
                ("release savepoint rows", true)
            }
            Err(Error::Apply { source, .. }) if source.is_refusal() => {
                ("rollback to savepoint rows; release savepoint rows", false)
            }
            Err(error) => return Err(error),
        };
        run(client, end).await.map_err(step("end a savepoint"))?;
        if applied {
            for aside in sifted.aside {
                self.write_aside(aside).await?;
            }
            *held = then_held;
        }
        Ok(applied)
    }

    async fn rows_one_by_one(
        &mut self,
        changes: &[&Change],
        held: &mut HeldKeys,
    ) -> Result<(), Error> {
        for &change in changes {
            if let Some(aside) = held.sift(change) {
                self.write_aside(aside).await?;
                if !aside.is_applied() {
                    continue;
                }
            }
            if let Err(error) = self.attempt_one(change).await {
                match self.answer(&error, held) {
                    None => return Err(error),
                    Some(Answer::Overwrite) => self.overwrite(change, error).await?,
                    Some(Answer::SetAside(refusal)) => {
                        self.set_aside(change, &refusal).await?;
                        held.hold(change);
                    }
                }
            }
        }
        Ok(())
    }

    /// Commits with the progress of the portion, where that ends a commits record.
    pub(super) async fn end_transaction(
        &mut self,
        portion: &Portion,
        expected: Option<&Mark>,
    ) -> Result<(), Error> {
        let sent = self.send_end(portion, expected).await;
        sent.map_err(|failed| failed.into_error(&self.pipeline))?;
        if portion.mark().is_some() {
            run(&self.connection, "commit")
                .await
                .map_err(step("commit"))?;
            self.open = false;
        }
        Ok(())
    }

    async fn send_end<'a>(
        &'a self,
        portion: &'a Portion,
        expected: Option<&'a Mark>,
    ) -> Result<u64, Failed<'a>> {
        let mut flight = Flight::default();
        self.move_sequences(&mut flight, portion).await?;
        if let Some(mark) = portion.mark() {
            let (client, pipeline) = (&*self.connection, self.pipeline.as_str());
            let advance = self.progress.advance(client, pipeline, expected, mark);
            flight.send(Purpose::Progress, advance).await?;
        }
        flight.land().await
    }

    /// What a table's policy says to a change that failed; `None`: stop.
    pub(super) fn answer(&self, error: &Error, held: &HeldKeys) -> Option<Answer> {
        let Error::Apply { table, source, .. } = error else {
            return None;
        };
        match self.policies.conflicts.policy(table) {
            Policy::Stop => None,
            Policy::DeadLetter => (source.is_refusal() && held.count() < KEYS_MAX)
                .then(|| Answer::SetAside(Refusal::conflict(source))),
            // A row whose changes wait is in the way of others, and is the source's all the same.
            Policy::Overwrite => {
                (source.in_the_way().is_some() && !held.any_of(table)).then_some(Answer::Overwrite)
            }
        }
    }

    /// Begins a transaction unless one is open, by the rules as they are known.
    pub(super) async fn begin_transaction(
        &mut self,
        expected: Option<&Mark>,
        control: &Control,
    ) -> Result<Begun, Error> {
        if self.open {
            return Ok(Begun::Open);
        }
        match self.take_progress(expected, control.version).await {
            Ok(()) => {
                self.open = true;
                Ok(Begun::Open)
            }
            Err(Error::Fenced { .. }) => {
                self.fenced(expected, control).await?;
                Ok(Begun::OtherRules)
            }
            Err(error) => Err(error),
        }
    }

    async fn take_progress(&self, expected: Option<&Mark>, version: i64) -> Result<(), Error> {
        let (client, pipeline) = (&*self.connection, self.pipeline.as_str());
        run(client, BEGIN).await.map_err(step("begin"))?;
        let Some(expected) = expected else {
            return Ok(());
        };
        let mut flight = Flight::default();
        let hold = self.progress.hold(client, pipeline, expected, version);
        let sent = flight.send(Purpose::Progress, hold).await;
        sent.map_err(|failed| failed.into_error(pipeline))?;
        let landed = flight.land().await;
        landed.map_err(|failed| failed.into_error(pipeline))?;
        Ok(())
    }

    /// Applies a change behind a savepoint, to which a failure goes back.
    pub(super) async fn attempt_one(&mut self, change: &Change) -> Result<(), Error> {
        let client: &Client = &self.connection;
        run(client, "savepoint change")
            .await
            .map_err(step("set a savepoint"))?;
        let stages = stages([change], Form::Stepwise);
        let applied = match self.statements.ready(client, &stages).await {
            Ok(work) => {
                let landed = send_all(client, &self.statements, &work).await;
                landed.map_err(|failed| failed.into_error(&self.pipeline))
            }
            Err(error) => Err(error),
        };
        let end = match &applied {
            Ok(missing) => {
                self.metrics.missing_rows.inc_by(*missing);
                "release savepoint change"
            }
            Err(_) => "rollback to savepoint change; release savepoint change",
        };
        let ended = run(client, end).await.map_err(step("end a savepoint"));
        applied?;
        ended.map(drop)
    }

    async fn write_aside(&self, aside: Aside<'_>) -> Result<(), Error> {
        let written = self.letters.write(&self.connection, &self.pipeline, aside);
        written.await.map_err(step("set a change aside")).map(drop)
    }

    async fn set_aside(&self, change: &Change, refusal: &Refusal) -> Result<(), Error> {
        let inserted = self
            .letters
            .insert(&self.connection, &self.pipeline, change, refusal);
        inserted.await.map_err(step("set a change aside"))?;
        tracing::warn!(
            change = %change.place(),
            table = %change.plan.relation.table,
            refusal = refusal.text,
            "set a change aside: its key's changes wait until it is redriven or discarded"
        );
        Ok(())
    }
}

/// Sends what `work` needs, and waits for the answers; says how many rows were missing.
async fn send_all<'a>(
    client: &'a Client,
    statements: &'a Statements,
    work: &'a [Work<'a>],
) -> Result<u64, Failed<'a>> {
    let mut flight = Flight::default();
    for work in work {
        rows::send(&mut flight, client, statements, work).await?;
    }
    flight.land().await
}
