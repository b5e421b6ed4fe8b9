//! Who uses a command that changes something.

use anyhow::ensure;
use operate::audit::Actor;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ActorConfig {
    /// Who does this, for the audit log [default: who runs the command]
    #[arg(long, env = "LOCKSTEP_WHO", value_name = "NAME")]
    who: Option<String>,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ActorConfig {
    pub(crate) fn actor(&self) -> Actor {
        let process = Actor::of_process(self.reason.clone());
        Actor {
            who: self.who.clone().unwrap_or(process.who),
            reason: process.reason,
        }
    }

    /// For a console, which knows by itself who asks it.
    ///
    /// # Errors
    /// When somebody is named.
    pub(crate) fn reason(&self) -> anyhow::Result<Option<&str>> {
        ensure!(
            self.who.is_none(),
            "a console writes down who signs in: leave out --who, and name the user by --console-as"
        );
        Ok(self.reason.as_deref())
    }
}
