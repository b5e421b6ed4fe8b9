//! What people do by buttons and programs by the API: the same, each with its twin on the command
//! line and a line in the audit log.

mod once;
pub(crate) use once::Once;

mod control;

mod capture;

mod letters;

mod replays;

mod schemas;

use std::fmt;
use std::str::FromStr;

use operate::audit::Actor;
use operate::registry::Deletion;
use serde::Serialize;
use serde_json::Value;
use service::chain;
use service::postgres::{Connection, connect};

use crate::console::Console;
use crate::http::{Pairs, StatusCode};
use crate::sessions::Caller;
use crate::users::Role;

/// What an action has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    /// A sentence.
    pub(crate) changed: String,
    pub(crate) details: Vec<(String, String)>,
    /// The same on the command line.
    pub(crate) command: String,
    /// The page that shows it.
    pub(crate) back: String,
    /// For programs, what the sentence does not tell: as the command prints it.
    pub(crate) result: Value,
}

/// Why an action was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unknown,
    Role(Role),
    /// What is wrong with the fields.
    Fields(String),
    /// The name of what is changed was not typed.
    NotConfirmed(String),
    /// The same is being done.
    UnderWay,
    Failed(String),
}

pub(crate) type Answer = Result<Outcome, Refusal>;

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Role(_) => StatusCode::FORBIDDEN,
            Self::Fields(_) | Self::NotConfirmed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UnderWay => StatusCode::CONFLICT,
            Self::Failed(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such action"),
            Self::Role(role) => write!(f, "this needs the role {}", role.name()),
            Self::Fields(rule) => f.write_str(rule),
            Self::NotConfirmed(name) => write!(f, "type {name} to confirm"),
            Self::UnderWay => f.write_str("the same request is being done"),
            Self::Failed(error) => f.write_str(error),
        }
    }
}

/// What an action is done with.
pub(crate) struct Request<'a> {
    pub(crate) console: &'a Console,
    pub(crate) caller: &'a Caller,
    pub(crate) fields: &'a Pairs,
}

/// Does an action once for each key, however often it is asked for.
pub(crate) async fn run(
    console: &Console,
    caller: &Caller,
    name: &str,
    fields: &Pairs,
    key: Option<&str>,
) -> Answer {
    let Some(key) = key else {
        let rule = "an idempotency key is missing: the field key, or the header Idempotency-Key";
        return Err(Refusal::Fields(rule.to_owned()));
    };
    let request = Request {
        console,
        caller,
        fields,
    };
    let whole = format!("{}/{name}/{key}", caller.name);
    console.once.run(&whole, request.act(name)).await
}

impl Request<'_> {
    async fn act(&self, name: &str) -> Answer {
        match name {
            "pause-apply" => control::pause_apply(self).await,
            "resume-apply" => control::resume_apply(self).await,
            "pause-table" => control::pause_table(self).await,
            "resume-table" => control::resume_table(self).await,
            "pause-capture" => capture::pause(self).await,
            "resume-capture" => capture::resume(self).await,
            "snapshot-table" => capture::read_again(self).await,
            "snapshot-cancel" => capture::cancel(self).await,
            "replay-plan" => replays::plan(self),
            "replay-run" => replays::run(self),
            "replay-cancel" => replays::cancel(self).await,
            "replay-resume" => replays::resume(self),
            "redrive" => letters::redrive(self).await,
            "redrive-group" => letters::redrive_group(self).await,
            "discard" => letters::discard(self).await,
            "test-schema" => schemas::test(self).await,
            "set-level" => schemas::set_level(self).await,
            "delete-schema" => schemas::delete(self, Deletion::Soft).await,
            "delete-schema-for-ever" => schemas::delete(self, Deletion::Permanent).await,
            "restore-schemas" => schemas::restore(self).await,
            _ => Err(Refusal::Unknown),
        }
    }

    pub(crate) fn require(&self, role: Role) -> Result<(), Refusal> {
        match self.caller.may(role) {
            true => Ok(()),
            false => Err(Refusal::Role(role)),
        }
    }

    /// What cannot be taken back needs the name of what it is done to, typed.
    pub(crate) fn require_typed(&self, name: &str) -> Result<(), Refusal> {
        match self.fields.one("confirm") == Some(name) {
            true => Ok(()),
            false => Err(Refusal::NotConfirmed(name.to_owned())),
        }
    }

    pub(crate) fn field<'a>(&'a self, name: &'a str) -> Result<&'a str, Refusal> {
        let missing = || Refusal::Fields(format!("the field {name} is missing"));
        self.fields.one(name).ok_or_else(missing)
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<T, Refusal> {
        let number = self.field(name)?.parse();
        number.map_err(|_| Refusal::Fields(format!("{name} is a number")))
    }

    /// Who is written to the audit log, with the reason that was given.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            who: self.caller.name.clone(),
            reason: self.fields.one("reason").map(str::to_owned),
        }
    }

    pub(crate) fn pipeline(&self) -> &str {
        &self.console.endpoints.names.pipeline
    }

    /// A connection of the action's own.
    pub(crate) async fn target(&self) -> Result<Connection, Refusal> {
        let target = connect(&self.console.endpoints.target, "lockstep console").await;
        target.map_err(|error| Refusal::Failed(chain(&error)))
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}
