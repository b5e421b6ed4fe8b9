//! Who uses a command that changes something.

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

impl From<ActorConfig> for Actor {
    fn from(ActorConfig { who, reason }: ActorConfig) -> Self {
        let process = Self::of_process(reason);
        Self {
            who: who.unwrap_or(process.who),
            reason: process.reason,
        }
    }
}
