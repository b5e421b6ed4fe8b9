//! `lockstep schemas`: what the registry keeps.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use change::topic::Topics;
use operate::audit::Actor;
use operate::endpoints::EndpointsConfig;
use operate::registry::{Deleted, Deletion, Level, Registry};
use operate::schemas::{self, Changer, Pair, Slice, Subject};
use serde_json::json;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the subjects with their versions and levels
    List(List),
    /// Show a subject's versions and what each changed, or the text of one
    Show(Show),
    /// Compare two versions, side by side and in words
    Diff(Diff),
    /// Ask whether a schema could be the subject's next version
    Test(Test),
    /// Show or set what must hold between a subject's versions
    Level(LevelOf),
    /// Delete a subject, or one of its versions; for ever only what was deleted before
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    common: Common,

    /// Only subjects whose names hold this
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,

    /// Also those that were deleted, but not for ever
    #[arg(long)]
    deleted: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    common: Common,

    /// Name of the subject
    subject: String,

    /// Print the text of this version
    #[arg(long, value_name = "NUMBER")]
    version: Option<i32>,
}

#[derive(Debug, clap::Args)]
struct Diff {
    #[command(flatten)]
    common: Common,

    /// Name of the subject
    subject: String,

    /// The version to compare
    from: i32,

    /// The version to compare it with
    to: i32,
}

#[derive(Debug, clap::Args)]
struct Test {
    #[command(flatten)]
    common: Common,

    /// Name of the subject
    subject: String,

    /// File with the schema
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct LevelOf {
    #[command(flatten)]
    common: Common,

    /// Name of the subject; the level of all that have none of their own when none is named
    subject: Option<String>,

    /// Set it
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    set: Option<Level>,

    /// Take the subject's own level away, so that the global one holds
    #[arg(long, conflicts_with = "set", requires = "subject")]
    clear: bool,

    #[command(flatten)]
    actor: ActorConfig,
}

#[derive(Debug, clap::Args)]
struct Delete {
    #[command(flatten)]
    common: Common,

    /// Name of the subject
    subject: String,

    /// Only this version
    #[arg(long, value_name = "NUMBER")]
    version: Option<i32>,

    /// For ever: records that name the schema cannot be read any more
    #[arg(long)]
    permanent: bool,

    #[command(flatten)]
    actor: ActorConfig,
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When the registry does not answer, or refuses.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    match config.action {
        Action::List(list) => list.run().await,
        Action::Show(show) => show.run().await,
        Action::Diff(diff) => diff.run().await,
        Action::Test(test) => test.run().await,
        Action::Level(level) => level.run().await,
        Action::Delete(delete) => delete.run().await,
    }
}

impl Common {
    fn registry(self) -> anyhow::Result<(Registry, Topics, bool)> {
        let endpoints = self.endpoints.resolve()?;
        let registry = Registry::new(&endpoints.registry)?;
        Ok((registry, Topics::new(&endpoints.names.prefix)?, self.json))
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (registry, topics, json) = self.common.registry()?;
        let all = Slice {
            name: self.name,
            skip: 0,
            limit: usize::MAX,
        };
        let deleted = match self.deleted {
            true => Deleted::Shown,
            false => Deleted::Hidden,
        };
        let listing = schemas::list(&registry, &topics, &all, deleted).await?;
        if json {
            return print_json(&listing);
        }
        screen::line(&format!("global level: {}", listing.global_level));
        for subject in &listing.subjects {
            screen::line(&listed(subject));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn listed(subject: &Subject) -> String {
    let number = |number: Option<String>| number.unwrap_or_else(|| "none".to_owned());
    let level = subject.level.as_deref().unwrap_or("the global level");
    let table = match &subject.table {
        Some(table) => format!(", table {table}"),
        None => String::new(),
    };
    let deleted = if subject.deleted { ", deleted" } else { "" };
    format!(
        "{}: version {}, id {}, {level}{table}{deleted}",
        subject.name,
        number(subject.latest_version.map(|it| it.to_string())),
        number(subject.latest_id.map(|it| it.to_string()))
    )
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (registry, topics, json) = self.common.registry()?;
        if let Some(version) = self.version {
            let shown = Deleted::Shown;
            let version = registry.version(&self.subject, version, shown).await?;
            if json {
                return print_json(&version);
            }
            screen::line(&schemas::pretty(&version.schema));
            return Ok(ExitCode::SUCCESS);
        }
        let detail = schemas::detail(&registry, &topics, &self.subject).await?;
        if json {
            return print_json(&detail);
        }
        screen::line(&listed(&detail.subject));
        for version in &detail.history {
            let deleted = if version.deleted { ", deleted" } else { "" };
            screen::line(&format!(
                "version {}, id {}{deleted}",
                version.version, version.id
            ));
            for change in version.changes.iter().flatten() {
                screen::line(&format!("    {change}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Diff {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (registry, _, json) = self.common.registry()?;
        let compared = schemas::compare(&registry, &self.subject, self.from, self.to).await?;
        if json {
            return print_json(&compared);
        }
        match compared.changes.as_slice() {
            [] => screen::line("no column changed"),
            changes => changes.iter().for_each(|change| screen::line(change)),
        }
        screen::line("");
        compared.lines.iter().for_each(print_pair);
        Ok(ExitCode::SUCCESS)
    }
}

/// One side below the other: a terminal is seldom wide enough for two.
fn print_pair(pair: &Pair) {
    if pair.same {
        let text = pair.left.as_ref().map_or("", |line| &line.text);
        return screen::line(&format!("  {text}"));
    }
    if let Some(left) = &pair.left {
        screen::line(&format!("- {}", left.text));
    }
    if let Some(right) = &pair.right {
        screen::line(&format!("+ {}", right.text));
    }
}

impl Test {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (registry, _, json) = self.common.registry()?;
        let step = || format!("read {}", self.file.display());
        let schema = fs::read_to_string(&self.file).with_context(step)?;
        let tested = registry.test(&self.subject, &schema).await?;
        if json {
            print_json(&tested)?;
        } else {
            screen::line(match tested.is_compatible {
                true => "compatible",
                false => "NOT compatible",
            });
            for message in &tested.messages {
                screen::line(&format!("    {message}"));
            }
        }
        Ok(match tested.is_compatible {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

impl LevelOf {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (endpoints, json) = (self.common.endpoints.resolve()?, self.common.json);
        let registry = Registry::new(&endpoints.registry)?;
        let subject = self.subject.as_deref();
        if self.set.is_some() || self.clear {
            let actor: Actor = self.actor.into();
            let mut target = connect(&endpoints.target, "lockstep schemas").await?;
            let mut changer = Changer {
                registry: &registry,
                target: &mut target,
                pipeline: &endpoints.names.pipeline,
                actor: &actor,
            };
            match (self.set, subject) {
                (Some(level), subject) => changer.set_level(subject, level).await?,
                (None, Some(subject)) => changer.clear_level(subject).await?,
                (None, None) => {}
            }
        }
        let own = match subject {
            Some(subject) => registry.level(subject).await?,
            None => None,
        };
        let global = registry.global_level().await?;
        if json {
            return print_json(
                &json!({ "subject": subject, "level": own, "global_level": global }),
            );
        }
        screen::line(&match own {
            Some(level) => level,
            None => format!("{global}, the global level"),
        });
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (endpoints, json) = (self.common.endpoints.resolve()?, self.common.json);
        let registry = Registry::new(&endpoints.registry)?;
        let actor: Actor = self.actor.into();
        let mut target = connect(&endpoints.target, "lockstep schemas").await?;
        let mut changer = Changer {
            registry: &registry,
            target: &mut target,
            pipeline: &endpoints.names.pipeline,
            actor: &actor,
        };
        let deletion = match self.permanent {
            true => Deletion::Permanent,
            false => Deletion::Soft,
        };
        changer
            .delete(&self.subject, self.version, deletion)
            .await?;
        if json {
            let deleted = json!({
                "subject": self.subject, "version": self.version, "permanent": self.permanent
            });
            return print_json(&deleted);
        }
        screen::line(match self.permanent {
            true => "deleted for ever",
            false => "deleted; its schemas are still found by their ids",
        });
        Ok(ExitCode::SUCCESS)
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<ExitCode> {
    screen::line(&serde_json::to_string_pretty(value)?);
    Ok(ExitCode::SUCCESS)
}
