//! Applying changes one by one, doing with those that the target refuses as their table's policy says.
//!
//! Only where a change of the portion was refused before: each takes a savepoint and an answer.

use tokio_postgres::Client;

use super::flight::{Flight, Purpose};
use super::letters::Refusal;
use super::rows;
use super::session::{BEGIN, Outcome, Session, run, step};
use crate::batch::{Aside, Change, Form, HeldKeys, Portion, stages};
use crate::conflicts::Policy;
use crate::control::Control;
use crate::error::Error;
use crate::progress::Mark;

/// So many keys are held in memory. More of them are no exceptions, and apply stops.
const KEYS_MAX: usize = 100_000;

/// What is done with a change that the target refuses.
pub(super) enum Answer {
    SetAside(Refusal),
    Overwrite,
}

impl Session {
    /// As [`Session::apply`].
    pub(super) async fn apply_singly(
        &mut self,
        portion: &Portion,
        expected: Option<&Mark>,
        control: &Control,
    ) -> Result<Outcome, Error> {
        if !self.open {
            match self.begin_singly(expected, control.version).await {
                Ok(()) => self.open = true,
                Err(Error::Fenced { .. }) => return self.fenced(expected, control).await,
                Err(error) => return Err(error),
            }
        }
        let mut held = control.held_keys.clone();
        for change in control.live(&portion.changes) {
            if let Some(aside) = held.sift(change) {
                self.write_aside(aside).await?;
                if !aside.is_applied() {
                    continue;
                }
            }
            if let Err(error) = self.attempt_one(change).await {
                match self.answer(&error, &held) {
                    None => return Err(error),
                    Some(Answer::Overwrite) => self.overwrite(change, error).await?,
                    Some(Answer::SetAside(refusal)) => {
                        self.set_aside(change, &refusal).await?;
                        held.hold(change);
                    }
                }
            }
        }
        if let Some(mark) = portion.mark() {
            let (client, pipeline) = (&*self.connection, self.pipeline.as_str());
            let mut flight = Flight::default();
            let advance = self.progress.advance(client, pipeline, expected, mark);
            let sent = flight.send(Purpose::Progress, advance).await;
            sent.map_err(|failed| failed.into_error(pipeline))?;
            let landed = flight.land().await;
            landed.map_err(|failed| failed.into_error(pipeline))?;
            run(client, "commit").await.map_err(step("commit"))?;
            self.open = false;
        }
        Ok(Outcome::SetAside)
    }

    /// What a table's policy says to a change that failed; `None`: stop.
    pub(super) fn answer(&self, error: &Error, held: &HeldKeys) -> Option<Answer> {
        let Error::Apply { table, source, .. } = error else {
            return None;
        };
        match self.conflicts.policy(table) {
            Policy::Stop => None,
            Policy::DeadLetter => (source.is_refusal() && held.count() < KEYS_MAX)
                .then(|| Answer::SetAside(Refusal::conflict(source))),
            // A row whose changes wait is in the way of others, and is the source's all the same.
            Policy::Overwrite => {
                (source.in_the_way().is_some() && !held.any_of(table)).then_some(Answer::Overwrite)
            }
        }
    }

    async fn begin_singly(&self, expected: Option<&Mark>, version: i64) -> Result<(), Error> {
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
                let mut flight = Flight::default();
                let mut sent = Ok(());
                for work in &work {
                    sent = rows::send(&mut flight, client, &self.statements, work).await;
                    if sent.is_err() {
                        break;
                    }
                }
                let landed = match sent {
                    Ok(()) => flight.land().await,
                    Err(failed) => Err(failed),
                };
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
