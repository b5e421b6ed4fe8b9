//! Replays that people plan here: a dry run first, and then perhaps the run itself.
//!
//! Both take longer than a request, so they run beside it. Their records are in memory; what a run
//! has done stands in the target's own history, and one that a stop of the console cuts off can be
//! resumed there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operate::audit::Actor;
use operate::endpoints::Endpoints;
use operate::replay::{self, Event, Request};
use serde_json::Value;
use tokio::task::JoinSet;

/// The last ones.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    known: Mutex<BTreeMap<u64, Plan>>,
    /// Ended with the console.
    work: Mutex<JoinSet<()>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) request: Request,
    pub(crate) state: State,
}

#[derive(Clone, Debug)]
pub(crate) enum State {
    /// How far the dry run is, in words.
    Trying(String),
    /// What would be done, as `lockstep replay --dry-run --json` prints it.
    Planned(Value),
    Running(String),
    Done(Value),
    Failed(String),
}

const KEPT: usize = 50;

impl Replays {
    /// Begins a dry run; returns its number.
    pub(crate) fn begin(self: &Arc<Self>, endpoints: Endpoints, request: Request) -> u64 {
        let id = self.add(Plan {
            request: request.clone(),
            state: State::Trying("it begins".to_owned()),
        });
        let plans = Arc::clone(self);
        self.spawn(async move {
            let mut report = |event: Event<'_>| plans.say(id, State::Trying, &event);
            let outcome = replay::dry_run(&endpoints, &request, &mut report).await;
            plans.set(
                id,
                match outcome {
                    Ok(outcome) => State::Planned(replay::outcome_json(&outcome)),
                    Err(error) => State::Failed(format!("{error:#}")),
                },
            );
        });
        id
    }

    /// Does what was planned. False when the dry run has not ended, or it is done already.
    pub(crate) fn run(self: &Arc<Self>, endpoints: Endpoints, id: u64, actor: Actor) -> bool {
        let request = {
            let mut known = self.known();
            let planned = known.get_mut(&id);
            let Some(plan) = planned.filter(|plan| matches!(plan.state, State::Planned(_))) else {
                return false;
            };
            plan.state = State::Running("it begins".to_owned());
            plan.request.clone()
        };
        let plans = Arc::clone(self);
        self.spawn(async move {
            let mut report = |event: Event<'_>| plans.say(id, State::Running, &event);
            let outcome = replay::run(&endpoints, &request, &actor, &mut report).await;
            plans.set(
                id,
                match outcome {
                    Ok(outcome) => State::Done(replay::outcome_json(&outcome)),
                    Err(error) => State::Failed(format!("{error:#}")),
                },
            );
        });
        true
    }

    /// Goes on with a replay of the history.
    pub(crate) fn resume(self: &Arc<Self>, endpoints: Endpoints, replay: i64, actor: Actor) {
        self.spawn(async move {
            let mut report = |_: Event<'_>| {};
            // Its row of the history tells how it ends.
            if let Err(error) = replay::resume(&endpoints, replay, &actor, &mut report).await {
                tracing::warn!(
                    replay,
                    error = format!("{error:#}"),
                    "a replay does not go on"
                );
            }
        });
    }

    pub(crate) fn find(&self, id: u64) -> Option<Plan> {
        self.known().get(&id).cloned()
    }

    /// The newest first.
    pub(crate) fn all(&self) -> Vec<(u64, Plan)> {
        let known = self.known();
        let plans = known.iter().rev();
        plans.map(|(id, plan)| (*id, plan.clone())).collect()
    }

    fn add(&self, plan: Plan) -> u64 {
        let mut known = self.known();
        let id = known.last_key_value().map_or(1, |(last, _)| last + 1);
        known.insert(id, plan);
        while known.len() > KEPT {
            known.pop_first();
        }
        id
    }

    fn say(&self, id: u64, state: fn(String) -> State, event: &Event<'_>) {
        let text = match event {
            Event::Reading { read, of } => format!("{read} of {of} changes read"),
            Event::Merging { done, of } => format!("{done} of {of} rows in place"),
            Event::Planned(_) => "it is known what is to be done".to_owned(),
        };
        self.set(id, state(text));
    }

    fn set(&self, id: u64, state: State) {
        if let Some(plan) = self.known().get_mut(&id) {
            plan.state = state;
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(work);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, Plan>> {
        // No code that holds it can panic half-way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
