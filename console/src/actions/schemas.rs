//! What people ask of the registry, and change in it.

use operate::registry::{Deletion, Level, Registry, RegistryError};
use operate::schemas::{Changer, GLOBAL};
use serde_json::json;

use super::{Answer, Outcome, Refusal, Request};
use crate::http::path_segment;
use crate::users::Role;

/// Whether a schema could be the subject's next version. Changes nothing.
pub(super) async fn test(request: &Request<'_>) -> Answer {
    let subject = request.field("subject")?;
    let schema = request.field("schema")?;
    let tested = registry(request)?.test(subject, schema).await;
    let tested = tested.map_err(refused)?;
    let result = json!(tested);
    let reasons = tested.messages.into_iter();
    Ok(Outcome {
        changed: match tested.is_compatible {
            true => "The registry would take this schema. Nothing was changed.".to_owned(),
            false => "The registry would refuse this schema. Nothing was changed.".to_owned(),
        },
        details: reasons
            .map(|it| ("The registry says".to_owned(), it))
            .collect(),
        command: format!("lockstep schemas test {subject} FILE"),
        back: page(subject),
        result,
    })
}

/// Of the subject that a field names, or of all that have no level of their own.
pub(super) async fn set_level(request: &Request<'_>) -> Answer {
    request.require(Role::Admin)?;
    let subject = request.fields.one("subject");
    let name = request.field("level")?;
    request.require_typed(subject.unwrap_or(GLOBAL))?;
    let registry = registry(request)?;
    let mut target = request.target().await?;
    let actor = request.actor();
    let mut changer = Changer {
        registry,
        target: &mut target,
        pipeline: request.pipeline(),
        actor: &actor,
    };
    let (changed, flag) = match (name, subject, Level::parse(name)) {
        (GLOBAL, Some(subject), _) => {
            changer.clear_level(subject).await?;
            ("The global level holds.".to_owned(), "--clear".to_owned())
        }
        (_, subject, Some(level)) => {
            changer.set_level(subject, level).await?;
            let name = level.name();
            (format!("The level is {name}."), format!("--set {name}"))
        }
        (_, _, None) => return Err(Refusal::Fields("there is no such level".to_owned())),
    };
    let of = subject.map_or_else(String::new, |subject| format!("{subject} "));
    Ok(Outcome {
        changed,
        details: vec![("Subject".to_owned(), subject.unwrap_or("all").to_owned())],
        command: format!("lockstep schemas level {of}{flag}"),
        back: subject.map_or_else(|| "/schemas".to_owned(), page),
        ..Outcome::default()
    })
}

/// The subject, or the version that a field names; for ever in a step of its own.
pub(super) async fn delete(request: &Request<'_>, deletion: Deletion) -> Answer {
    request.require(Role::Admin)?;
    let subject = request.field("subject")?;
    request.require_typed(subject)?;
    let version = match request.fields.one("version") {
        None | Some("all") => None,
        Some(version) => {
            let rule = || Refusal::Fields("version is a number, or all".to_owned());
            Some(version.parse::<i32>().map_err(|_| rule())?)
        }
    };
    let registry = registry(request)?;
    let mut target = request.target().await?;
    let actor = request.actor();
    let mut changer = Changer {
        registry,
        target: &mut target,
        pipeline: request.pipeline(),
        actor: &actor,
    };
    changer.delete(subject, version, deletion).await?;
    let what = match version {
        Some(version) => format!("Version {version} of {subject}"),
        None => format!("{subject}, with all its versions,"),
    };
    let (how, flag) = match deletion {
        Deletion::Soft => ("deleted; readers still find its schemas by their ids", ""),
        Deletion::Permanent => ("deleted for ever", " --permanent"),
    };
    let version = version.map_or_else(String::new, |it| format!(" --version {it}"));
    Ok(Outcome {
        changed: format!("{what} is {how}."),
        command: format!("lockstep schemas delete {subject}{version}{flag}"),
        back: "/schemas?deleted=yes".to_owned(),
        ..Outcome::default()
    })
}

/// All that the target keeps and the registry does not know.
pub(super) async fn restore(request: &Request<'_>) -> Answer {
    request.require(Role::Admin)?;
    let registry = registry(request)?;
    let mut target = request.target().await?;
    let actor = request.actor();
    let mut changer = Changer {
        registry,
        target: &mut target,
        pipeline: request.pipeline(),
        actor: &actor,
    };
    let all = changer.restore().await?;
    let restored = all.iter().filter(|it| it.restored);
    let (missing, there) = (restored.clone().count(), all.len());
    Ok(Outcome {
        changed: format!("{missing} of {there} schemas that the target keeps were restored."),
        details: restored
            .map(|it| (it.subject.clone(), format!("id {}", it.id)))
            .collect(),
        command: "lockstep schemas restore".to_owned(),
        back: "/schemas".to_owned(),
        result: json!(all),
    })
}

fn registry<'a>(request: &Request<'a>) -> Result<&'a Registry, Refusal> {
    Ok(request.console.registry()?)
}

fn refused(error: RegistryError) -> Refusal {
    Refusal::from(anyhow::Error::from(error))
}

fn page(subject: &str) -> String {
    format!("/schemas/{}", path_segment(subject))
}
