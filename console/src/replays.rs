//! Replays that people plan here: a dry run first, and then perhaps the run itself.
//!
//! Both take longer than a request, so they run beside it. Their records are in memory; what a run
//! has done stands in the target's own history, and one that a stop of the console cuts off can be
//! resumed there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use operate::audit::Actor;
use operate::endpoints::Endpoints;
use operate::replay::{self, Begin, Course, Destination, Event, Outcome, Report, Request};
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
    pub(crate) work: Work,
    pub(crate) course: Course,
}

/// What is replayed.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// After its dry run.
    New(Request),
    /// One of the history, by its number, which goes on.
    Resumed(i64),
}

const KEPT: usize = 50;

impl Replays {
    /// Begins a dry run; returns its number.
    pub(crate) fn begin(self: &Arc<Self>, endpoints: Endpoints, request: Request) -> u64 {
        let id = self.add(Plan {
            work: Work::New(request.clone()),
            course: Course::Trying { far: begins() },
        });
        let plans = Arc::clone(self);
        self.spawn(async move {
            let mut report = |event: Event<'_>| {
                let far = words(&event);
                plans.set(id, Course::Trying { far });
            };
            let outcome = replay::dry_run(&endpoints, &request, &mut report).await;
            plans.set(id, ended(outcome, |report| Course::Planned { report }));
        });
        id
    }

    /// Does what was planned. False when the dry run has not ended, or it is done already.
    pub(crate) fn run(self: &Arc<Self>, endpoints: Endpoints, id: u64, actor: Actor) -> bool {
        let request = {
            let mut known = self.known();
            let Some(plan) = known.get_mut(&id) else {
                return false;
            };
            let (Work::New(request), Course::Planned { .. }) = (&plan.work, &plan.course) else {
                return false;
            };
            let request = request.clone();
            plan.course = Course::Running { far: begins() };
            request
        };
        let plans = Arc::clone(self);
        self.spawn(async move {
            let mut report = |event: Event<'_>| plans.running(id, &event);
            let outcome = replay::run(&endpoints, &request, &actor, &mut report).await;
            plans.set(id, ended(outcome, |report| Course::Done { report }));
        });
        true
    }

    /// Goes on with a replay of the history; returns the number by which it is asked for.
    pub(crate) fn resume(self: &Arc<Self>, endpoints: Endpoints, replay: i64, actor: Actor) -> u64 {
        let id = self.add(Plan {
            work: Work::Resumed(replay),
            course: Course::Running { far: begins() },
        });
        let plans = Arc::clone(self);
        self.spawn(async move {
            let mut report = |event: Event<'_>| plans.running(id, &event);
            let outcome = replay::resume(&endpoints, replay, &actor, &mut report).await;
            plans.set(id, ended(outcome, |report| Course::Done { report }));
        });
        id
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

    fn running(&self, id: u64, event: &Event<'_>) {
        let far = words(event);
        self.set(id, Course::Running { far });
    }

    fn set(&self, id: u64, course: Course) {
        if let Some(plan) = self.known().get_mut(&id) {
            plan.course = course;
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

fn begins() -> String {
    "it begins".to_owned()
}

fn words(event: &Event<'_>) -> String {
    match event {
        Event::Reading { read, of } => format!("{read} of {of} changes read"),
        Event::Merging { done, of } => format!("{done} of {of} rows in place"),
        Event::Planned(_) => "it is known what is to be done".to_owned(),
    }
}

fn ended(outcome: anyhow::Result<Outcome>, well: fn(Box<Report>) -> Course) -> Course {
    match outcome {
        Ok(outcome) => well(Box::new(Report::of(&outcome))),
        Err(error) => Course::Failed {
            error: format!("{error:#}"),
        },
    }
}

impl Work {
    /// The same by the command line.
    pub(crate) fn command(&self) -> String {
        match self {
            Self::New(request) => command(request),
            Self::Resumed(id) => format!("lockstep replay --resume {id}"),
        }
    }
}

/// The same by the command line, without the dry run.
pub(crate) fn command(request: &Request) -> String {
    let mut command = "lockstep replay".to_owned();
    match request.begin {
        Begin::Earliest => command.push_str(" --from-lsn earliest"),
        Begin::Lsn(lsn) => command.push_str(&format!(" --from-lsn {lsn}")),
        Begin::Time(micros) => command.push_str(&format!(" --from-time {}", replay::time(micros))),
        Begin::Offset(offset) => command.push_str(&format!(" --from-offset {offset}")),
        Begin::Resumed { from, .. } => command.push_str(&format!(" --from-lsn {from}")),
    }
    if let Some(to) = request.to {
        command.push_str(&format!(" --to-lsn {to}"));
    }
    for table in &request.tables {
        command.push_str(&format!(" --table {table}"));
    }
    if let Destination::Schema(schema) = &request.into {
        command.push_str(&format!(" --into {schema}"));
    }
    command
}
