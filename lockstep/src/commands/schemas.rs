//! `lockstep schemas`: what the registry keeps.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use change::topic::Topics;
use operate::endpoints::Endpoints;
use operate::registry::{Compatibility, Deleted, Deletion, Level, Registry, Version};
use operate::schemas::{
    self, Changer, Comparison, Listing, Pair, Restored, Slice, Subject, SubjectDetail,
};
use serde_json::json;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::commands::remote::Remote;
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
    /// Register again, with their ids, the schemas that a lost registry had and the target keeps
    #[command(
        long_about = "Register again, with their ids, the schemas that a lost registry had and the \
        target keeps: of records that apply has read. Capture should not run meanwhile: what it \
        registers has other ids, above those that are restored. Ids that the target does not know \
        may be given again; see \"What the target refuses\" in the README."
    )]
    Restore(Restore),
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

    /// Take the subject's own level away, so that the global one holds, and what else is configured
    /// for it
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
struct Restore {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    actor: ActorConfig,
}

#[derive(Clone, Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    pipeline: PipelineConfig,

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
        Action::Restore(restore) => restore.run().await,
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (pipeline, json) = self.common.open()?;
        let listing = match pipeline {
            Pipeline::Direct(endpoints) => {
                let (registry, topics) = (registry(&endpoints)?, topics(&endpoints)?);
                let all = Slice {
                    name: self.name,
                    skip: 0,
                    limit: usize::MAX,
                };
                let deleted = match self.deleted {
                    true => Deleted::Shown,
                    false => Deleted::Hidden,
                };
                schemas::list(&registry, &topics, &all, deleted).await?
            }
            Pipeline::Remote(console) => list_there(&console, &self.name, self.deleted).await?,
        };
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

/// A console tells them page by page.
async fn list_there(console: &Remote, name: &str, deleted: bool) -> anyhow::Result<Listing> {
    let deleted = if deleted { "yes" } else { "" };
    let query = [("name", name), ("deleted", deleted)];
    let mut all: Listing = console.get(&["schemas"], &query).await?;
    while all.subjects.len() < all.total {
        let from = all.subjects.len().to_string();
        let query = [("name", name), ("deleted", deleted), ("from", &from)];
        let more: Listing = console.get(&["schemas"], &query).await?;
        if more.subjects.is_empty() {
            break;
        }
        all.subjects.extend(more.subjects);
    }
    Ok(all)
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
        let (pipeline, json) = self.common.open()?;
        if let Some(version) = self.version {
            let version = version_of(&pipeline, &self.subject, version).await?;
            if json {
                return print_json(&version);
            }
            screen::line(&schemas::pretty(&version.schema));
            return Ok(ExitCode::SUCCESS);
        }
        let detail = detail(&pipeline, &self.subject).await?;
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

async fn version_of(pipeline: &Pipeline, subject: &str, version: i32) -> anyhow::Result<Version> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let registry = registry(endpoints)?;
            Ok(registry.version(subject, version, Deleted::Shown).await?)
        }
        Pipeline::Remote(console) => {
            let path = ["schemas", subject, "versions", &version.to_string()];
            console.get(&path, &[]).await
        }
    }
}

async fn detail(pipeline: &Pipeline, subject: &str) -> anyhow::Result<SubjectDetail> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let (registry, topics) = (registry(endpoints)?, topics(endpoints)?);
            Ok(schemas::detail(&registry, &topics, subject).await?)
        }
        Pipeline::Remote(console) => console.get(&["schemas", subject], &[]).await,
    }
}

impl Diff {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (pipeline, json) = self.common.open()?;
        let compared: Comparison = match pipeline {
            Pipeline::Direct(endpoints) => {
                let registry = registry(&endpoints)?;
                schemas::compare(&registry, &self.subject, self.from, self.to).await?
            }
            Pipeline::Remote(console) => {
                let (from, to) = (self.from.to_string(), self.to.to_string());
                let query = [("with", &*from), ("to", &*to)];
                let path = ["schemas", &self.subject, "diff"];
                console.get(&path, &query).await?
            }
        };
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
        let (pipeline, json) = self.common.open()?;
        let step = || format!("read {}", self.file.display());
        let schema = fs::read_to_string(&self.file).with_context(step)?;
        let tested: Compatibility = match pipeline {
            Pipeline::Direct(endpoints) => {
                registry(&endpoints)?.test(&self.subject, &schema).await?
            }
            Pipeline::Remote(console) => {
                let fields = json!({ "subject": self.subject, "schema": schema });
                console.act("test-schema", &fields).await?
            }
        };
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
        let (pipeline, json) = self.common.open()?;
        let subject = self.subject.as_deref();
        if self.set.is_some() || self.clear {
            change_level(&pipeline, subject, self.set, &self.actor).await?;
        }
        let levels = match &pipeline {
            Pipeline::Direct(endpoints) => schemas::levels(&registry(endpoints)?, subject).await?,
            Pipeline::Remote(console) => {
                let query = [("subject", subject.unwrap_or_default())];
                console.get(&["level"], &query).await?
            }
        };
        if json {
            return print_json(&levels);
        }
        screen::line(&match levels.level {
            Some(level) => level,
            None => format!("{}, the global level", levels.global_level),
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// Sets the level of a subject, or of all; without a level, takes the subject's own away.
async fn change_level(
    pipeline: &Pipeline,
    subject: Option<&str>,
    level: Option<Level>,
    actor: &ActorConfig,
) -> anyhow::Result<()> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let (registry, actor) = (registry(endpoints)?, actor.actor());
            let mut target = connect(&endpoints.target, "lockstep schemas").await?;
            let mut changer = Changer {
                registry: &registry,
                target: &mut target,
                pipeline: &endpoints.names.pipeline,
                actor: &actor,
            };
            match (level, subject) {
                (Some(level), subject) => changer.set_level(subject, level).await,
                (None, Some(subject)) => changer.clear_level(subject).await,
                (None, None) => Ok(()),
            }
        }
        Pipeline::Remote(console) => {
            let fields = json!({
                "subject": subject,
                "level": level.map_or(schemas::GLOBAL, Level::name),
                "confirm": subject.unwrap_or(schemas::GLOBAL),
                "reason": actor.reason()?,
            });
            console.act("set-level", &fields).await
        }
    }
}

impl Delete {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (pipeline, json) = self.common.clone().open()?;
        match pipeline {
            Pipeline::Direct(endpoints) => self.delete(&endpoints).await?,
            Pipeline::Remote(console) => {
                let action = match self.permanent {
                    true => "delete-schema-for-ever",
                    false => "delete-schema",
                };
                let fields = json!({
                    "subject": self.subject,
                    "version": self.version,
                    "confirm": self.subject,
                    "reason": self.actor.reason()?,
                });
                console.act::<()>(action, &fields).await?;
            }
        }
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

    async fn delete(&self, endpoints: &Endpoints) -> anyhow::Result<()> {
        let (registry, actor) = (registry(endpoints)?, self.actor.actor());
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
        changer.delete(&self.subject, self.version, deletion).await
    }
}

impl Restore {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (pipeline, json) = self.common.open()?;
        let all: Vec<Restored> = match pipeline {
            Pipeline::Direct(endpoints) => {
                let (registry, actor) = (registry(&endpoints)?, self.actor.actor());
                let mut target = connect(&endpoints.target, "lockstep schemas").await?;
                let mut changer = Changer {
                    registry: &registry,
                    target: &mut target,
                    pipeline: &endpoints.names.pipeline,
                    actor: &actor,
                };
                changer.restore().await?
            }
            Pipeline::Remote(console) => {
                let fields = json!({ "reason": self.actor.reason()? });
                console.act("restore-schemas", &fields).await?
            }
        };
        if json {
            return print_json(&all);
        }
        for Restored {
            id,
            subject,
            restored,
        } in &all
        {
            let how = if *restored { "restored" } else { "is there" };
            screen::line(&format!("{subject}: id {id} {how}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Common {
    /// Where to ask, and whether to print JSON.
    fn open(self) -> anyhow::Result<(Pipeline, bool)> {
        Ok((self.pipeline.open()?, self.json))
    }
}

fn registry(endpoints: &Endpoints) -> anyhow::Result<Registry> {
    Registry::new(&endpoints.registry)
}

fn topics(endpoints: &Endpoints) -> anyhow::Result<Topics> {
    Ok(Topics::new(&endpoints.names.prefix)?)
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<ExitCode> {
    screen::line(&serde_json::to_string_pretty(value)?);
    Ok(ExitCode::SUCCESS)
}
