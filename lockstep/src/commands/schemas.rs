//! `lockstep schemas`: what the registry keeps.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use change::topic::Topics;
use operate::endpoints::EndpointsConfig;
use operate::registry::{Deleted, Registry};
use operate::schemas::{self, Pair, Slice, Subject};

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

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<ExitCode> {
    screen::line(&serde_json::to_string_pretty(value)?);
    Ok(ExitCode::SUCCESS)
}
