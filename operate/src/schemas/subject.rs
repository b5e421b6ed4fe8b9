//! Subjects and their versions.

use change::topic::{Topics, key_subject, value_subject};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::columns::changes;
use super::lines::{Pair, side_by_side};
use crate::registry::{Deleted, Registry, RegistryError, Version};

#[derive(Debug, Deserialize, Serialize)]
pub struct Listing {
    /// How many there are in all that were asked for.
    pub total: usize,
    pub global_level: String,
    pub subjects: Vec<Subject>,
}

/// Which subjects are asked for.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// A part of the name; all when empty.
    pub name: String,
    pub skip: usize,
    pub limit: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Subject {
    pub name: String,
    pub part: Option<Part>,
    /// The topic of this pipeline that it is for.
    pub topic: Option<String>,
    pub table: Option<String>,
    pub versions: usize,
    pub latest_version: Option<i32>,
    pub latest_id: Option<u32>,
    /// Its own level; none when the global one holds.
    pub level: Option<String>,
    /// Deleted, but not for ever.
    pub deleted: bool,
}

/// Which part of a topic's records a subject describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Key,
    Value,
}

impl Part {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub struct SubjectDetail {
    #[serde(flatten)]
    pub subject: Subject,
    pub global_level: String,
    /// Newest first, at most 50.
    pub history: Vec<VersionDetail>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct VersionDetail {
    pub version: i32,
    pub id: u32,
    pub deleted: bool,
    /// What makes it another than the one before; none for the first that is shown.
    pub changes: Option<Vec<String>>,
    #[serde(skip)]
    pub schema: String,
}

/// Two versions of a subject.
#[derive(Debug, Deserialize, Serialize)]
pub struct Comparison {
    pub subject: String,
    pub from: i32,
    pub to: i32,
    pub changes: Vec<String>,
    pub lines: Vec<Pair>,
}

/// What must hold between the versions of a subject, or of all that have no level of their own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Levels {
    pub subject: Option<String>,
    /// The subject's own; none when the global one holds.
    pub level: Option<String>,
    pub global_level: String,
}

/// Versions whose schemas are read for a subject's page.
const VERSIONS_MAX: usize = 50;

/// Subjects by their names.
///
/// # Errors
/// As the registry's.
pub async fn list(
    registry: &Registry,
    topics: &Topics,
    slice: &Slice,
    deleted: Deleted,
) -> Result<Listing, RegistryError> {
    let live = registry.subjects(Deleted::Hidden).await?;
    let mut names = match deleted {
        Deleted::Hidden => live.clone(),
        Deleted::Shown => registry.subjects(Deleted::Shown).await?,
    };
    names.retain(|name| name.contains(&slice.name));
    names.sort();
    let total = names.len();
    let some = names.iter().skip(slice.skip).take(slice.limit);
    let subjects = some.map(|name| subject(registry, topics, name, live.contains(name)));
    Ok(Listing {
        total,
        global_level: registry.global_level().await?,
        subjects: try_join_all(subjects).await?,
    })
}

async fn subject(
    registry: &Registry,
    topics: &Topics,
    name: &str,
    is_live: bool,
) -> Result<Subject, RegistryError> {
    let shown = match is_live {
        true => Deleted::Hidden,
        false => Deleted::Shown,
    };
    let versions = registry.versions(name, shown).await?;
    let latest = match versions.last() {
        Some(latest) => Some(registry.version(name, *latest, shown).await?),
        None => None,
    };
    let (topic, part) = used_by(name, topics);
    Ok(Subject {
        name: name.to_owned(),
        part,
        table: topic
            .as_deref()
            .and_then(|it| topics.table(it))
            .map(|it| it.to_string()),
        topic,
        versions: versions.len(),
        latest_version: versions.last().copied(),
        latest_id: latest.map(|latest| latest.id),
        level: registry.level(name).await?,
        deleted: !is_live,
    })
}

/// The topic of this pipeline that a subject is for, and the part of its records.
fn used_by(subject: &str, topics: &Topics) -> (Option<String>, Option<Part>) {
    let parts = [
        (subject.strip_suffix("-key"), Part::Key),
        (subject.strip_suffix("-value"), Part::Value),
    ];
    for (topic, part) in parts {
        let Some(topic) = topic else { continue };
        let is_ours = topics.table(topic).is_some() || topic == topics.commits();
        let named = match part {
            Part::Key => key_subject(topic),
            Part::Value => value_subject(topic),
        };
        if is_ours && named == subject {
            return (Some(topic.to_owned()), Some(part));
        }
    }
    (None, None)
}

/// A subject with its versions.
///
/// # Errors
/// As the registry's.
pub async fn detail(
    registry: &Registry,
    topics: &Topics,
    name: &str,
) -> Result<SubjectDetail, RegistryError> {
    let all = registry.versions(name, Deleted::Shown).await?;
    let live = match registry.versions(name, Deleted::Hidden).await {
        Ok(live) => live,
        Err(RegistryError::Refused { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let shown = all.iter().skip(all.len().saturating_sub(VERSIONS_MAX));
    let versions = shown.map(|version| registry.version(name, *version, Deleted::Shown));
    let versions = try_join_all(versions).await?;
    let mut history = Vec::with_capacity(versions.len());
    let mut before: Option<&Version> = None;
    for version in &versions {
        history.push(VersionDetail {
            version: version.version,
            id: version.id,
            deleted: !live.contains(&version.version),
            changes: before.map(|before| changes(&before.schema, &version.schema)),
            schema: version.schema.clone(),
        });
        before = Some(version);
    }
    history.reverse();
    Ok(SubjectDetail {
        subject: subject(registry, topics, name, !live.is_empty()).await?,
        global_level: registry.global_level().await?,
        history,
    })
}

/// Two versions of a subject, side by side and in words.
///
/// # Errors
/// As the registry's.
pub async fn compare(
    registry: &Registry,
    name: &str,
    from: i32,
    to: i32,
) -> Result<Comparison, RegistryError> {
    let left = registry.version(name, from, Deleted::Shown).await?;
    let right = registry.version(name, to, Deleted::Shown).await?;
    Ok(Comparison {
        subject: name.to_owned(),
        from,
        to,
        changes: changes(&left.schema, &right.schema),
        lines: side_by_side(&pretty(&left.schema), &pretty(&right.schema)),
    })
}

/// # Errors
/// As the registry's.
pub async fn levels(registry: &Registry, subject: Option<&str>) -> Result<Levels, RegistryError> {
    Ok(Levels {
        subject: subject.map(str::to_owned),
        level: match subject {
            Some(subject) => registry.level(subject).await?,
            None => None,
        },
        global_level: registry.global_level().await?,
    })
}

/// A schema's text with one attribute on a line.
pub fn pretty(schema: &str) -> String {
    let value: Option<Value> = serde_json::from_str(schema).ok();
    let printed = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    printed.unwrap_or_else(|| schema.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::name;

    use super::*;
    use crate::registry::Level;

    #[tokio::test]
    async fn the_global_level_holds_for_a_subject_that_is_configured_without_one() {
        let url = testkit::registry::url().await;
        let registry = Registry::new(url).unwrap();
        let subject = format!("{}-value", name::unique());
        let own = async || {
            let levels = levels(&registry, Some(&subject)).await.unwrap();
            assert_eq!(levels.global_level, Level::Backward.name());
            levels.level
        };
        assert_eq!(own().await, None);
        for configured in [json!({ "normalize": true }), json!({ "alias": "other" })] {
            let client = reqwest::Client::new();
            let request = client.put(format!("{url}/config/{subject}"));
            let answer = request.json(&configured).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
            assert_eq!(own().await, None, "{configured}");
        }
        let set = registry.set_level(Some(&subject), Level::Full).await;
        set.unwrap();
        assert_eq!(own().await.as_deref(), Some(Level::Full.name()));
    }
}
