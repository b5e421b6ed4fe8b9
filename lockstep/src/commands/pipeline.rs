//! Where a command finds the pipeline: by its parts, or through a console.

use operate::endpoints::{Endpoints, EndpointsConfig};

use crate::commands::remote::{Login, Remote};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PipelineConfig {
    /// Ask this console for everything, instead of the databases, Kafka and the registry
    #[arg(long, global = true, env = "LOCKSTEP_CONSOLE", value_name = "URL")]
    console: Option<String>,

    /// Who asks the console, as NAME:PASSWORD or NAME:file:/path
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_CONSOLE_AS",
        value_name = "USER",
        hide_env_values = true
    )]
    console_as: Option<Login>,

    #[command(flatten)]
    endpoints: EndpointsConfig,
}

/// What a command asks, and has done what it is to do.
pub(crate) enum Pipeline {
    Direct(Box<Endpoints>),
    Remote(Remote),
}

impl PipelineConfig {
    /// # Errors
    /// When the console's URL is none; without one, as [`EndpointsConfig::resolve`].
    pub(crate) fn open(self) -> anyhow::Result<Pipeline> {
        match self.console {
            Some(url) => Ok(Pipeline::Remote(Remote::new(&url, self.console_as)?)),
            None => Ok(Pipeline::Direct(Box::new(self.endpoints.resolve()?))),
        }
    }
}
