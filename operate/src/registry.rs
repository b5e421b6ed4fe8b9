//! What commands and console ask a schema registry: Confluent's REST API, by URL, path included.

use std::time::Duration;

use anyhow::{Context, ensure};
use change::framing::SchemaId;
use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Whether something that speaks Confluent's REST API answers.
///
/// # Errors
/// Why not, with the address.
pub async fn reach(url: &str, limit: Duration) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(limit).build()?;
    let url = format!("{}/subjects", url.trim_end_matches('/'));
    // The client's own error repeats the URL, credentials included.
    let response = client.get(&url).send().await;
    let response = response
        .map_err(reqwest::Error::without_url)
        .context("ask for the subjects")?;
    let status = response.status();
    ensure!(
        status.is_success(),
        "asked for the subjects, it answered {status}"
    );
    let subjects: Result<Vec<String>, _> = response.json().await;
    subjects
        .map_err(reqwest::Error::without_url)
        .context("its answer is not a list of subjects: it is no schema registry")?;
    Ok(())
}

/// A registry by its URL.
#[derive(Clone)]
pub struct Registry {
    /// May hold a password.
    url: Url,
    client: reqwest::Client,
}

/// Why a registry did not do what was asked. Never names its URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("ask the schema registry")]
    Away(#[source] reqwest::Error),
    /// In its own words.
    #[error("the schema registry says: {message} (error code {code})")]
    Refused { code: i64, message: String },
    /// It would be another resource's address.
    #[error("no subject is called {0:?}")]
    Name(String),
    #[error("the schema registry's answer is none of its API's")]
    Answer(#[source] reqwest::Error),
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Version {
    pub subject: String,
    pub version: i32,
    pub id: u32,
    pub schema: String,
}

/// Whether a schema may be registered, and if not why, as the registry says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Compatibility {
    pub is_compatible: bool,
    #[serde(default)]
    pub messages: Vec<String>,
}

/// Whether subjects and versions that were deleted, but not for ever, are told too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    Hidden,
    Shown,
}

/// How a subject or version is deleted. A registry refuses the second before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Readers still find the schema by its id.
    Soft,
    Permanent,
}

/// What must hold between a schema and those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    None,
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const SUBJECT_NOT_FOUND: i64 = 40_401;
const NO_MODE_OF_ITS_OWN: i64 = 40_409;
const NO_LEVEL_OF_ITS_OWN: i64 = 40_408;

impl RegistryError {
    /// The code of an id that the registry does not know.
    pub const SCHEMA_NOT_FOUND: i64 = 40_403;
}

impl Level {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        let mut levels = Self::ALL.into_iter();
        levels.find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

impl Registry {
    /// # Errors
    /// When `url` is none, or no client can be made.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        // The HTTP client wants a provider of cryptography even for plain http; a second
        // installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The parser's error does not repeat the text.
        let url: Url = url.parse().context("read the schema registry's URL")?;
        ensure!(
            matches!(url.scheme(), "http" | "https"),
            "the schema registry's URL starts with neither http:// nor https://"
        );
        let client = reqwest::Client::builder().timeout(ANSWER_LIMIT).build()?;
        Ok(Self { url, client })
    }

    /// # Errors
    /// As the registry's.
    pub async fn subjects(&self, deleted: Deleted) -> Result<Vec<String>, RegistryError> {
        answer(self.request(Method::GET, &["subjects"], deleted.query())?).await
    }

    /// # Errors
    /// As the registry's.
    pub async fn versions(
        &self,
        subject: &str,
        deleted: Deleted,
    ) -> Result<Vec<i32>, RegistryError> {
        let path = ["subjects", subject, "versions"];
        answer(self.request(Method::GET, &path, deleted.query())?).await
    }

    /// # Errors
    /// As the registry's.
    pub async fn version(
        &self,
        subject: &str,
        version: i32,
        deleted: Deleted,
    ) -> Result<Version, RegistryError> {
        let version = version.to_string();
        let path = ["subjects", subject, "versions", &version];
        answer(self.request(Method::GET, &path, deleted.query())?).await
    }

    /// The text of a schema.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn schema(&self, SchemaId(id): SchemaId) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        let request = self.request(Method::GET, &["schemas", "ids", &id.to_string()], "")?;
        let schema: Schema = answer(request).await?;
        Ok(schema.schema)
    }

    /// The level of subjects that have none of their own.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn global_level(&self) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "compatibilityLevel")]
            level: String,
        }
        // What was configured without a level would be told without one; so it comes with the default.
        let query = "defaultToGlobal=true";
        let config: Config = answer(self.request(Method::GET, &["config"], query)?).await?;
        Ok(config.level)
    }

    /// The subject's own level; none as well where the subject is configured, but not its level.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn level(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "compatibilityLevel")]
            level: Option<String>,
        }
        match answer::<Config>(self.request(Method::GET, &["config", subject], "")?).await {
            Ok(config) => Ok(config.level),
            Err(RegistryError::Refused {
                code: NO_LEVEL_OF_ITS_OWN | SUBJECT_NOT_FOUND,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the level of a subject, or that of all that have none of their own.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn set_level(
        &self,
        subject: Option<&str>,
        level: Level,
    ) -> Result<(), RegistryError> {
        let path: &[&str] = match &subject {
            Some(subject) => &["config", subject],
            None => &["config"],
        };
        let request = self.request(Method::PUT, path, "")?;
        let body = json!({ "compatibility": level.name() });
        answer::<Value>(request.json(&body)).await.map(|_| ())
    }

    /// Takes a subject's own level away, and whatever else is configured for it.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn clear_level(&self, subject: &str) -> Result<(), RegistryError> {
        let request = self.request(Method::DELETE, &["config", subject], "")?;
        answer::<Value>(request).await.map(|_| ())
    }

    /// Whether `schema` could be the subject's next version.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn test(&self, subject: &str, schema: &str) -> Result<Compatibility, RegistryError> {
        let path = ["compatibility", "subjects", subject, "versions"];
        let request = self.request(Method::POST, &path, "verbose=true")?;
        answer(request.json(&json!({ "schema": schema }))).await
    }

    /// Deletes a subject with all its versions, or one of them.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn delete(
        &self,
        subject: &str,
        version: Option<i32>,
        deletion: Deletion,
    ) -> Result<(), RegistryError> {
        let version = version.map(|version| version.to_string());
        let path: &[&str] = match &version {
            Some(version) => &["subjects", subject, "versions", version],
            None => &["subjects", subject],
        };
        let query = match deletion {
            Deletion::Soft => "",
            Deletion::Permanent => "permanent=true",
        };
        answer::<Value>(self.request(Method::DELETE, path, query)?)
            .await
            .map(|_| ())
    }

    /// The subject's own mode.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn mode(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        match answer::<Mode>(self.request(Method::GET, &["mode", subject], "")?).await {
            Ok(Mode { mode }) => Ok(Some(mode)),
            Err(RegistryError::Refused {
                code: NO_MODE_OF_ITS_OWN | SUBJECT_NOT_FOUND,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the subject's mode, whether it has versions or not.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn set_mode(&self, subject: &str, mode: &str) -> Result<(), RegistryError> {
        let request = self.request(Method::PUT, &["mode", subject], "force=true")?;
        let body = json!({ "mode": mode });
        answer::<Value>(request.json(&body)).await.map(|_| ())
    }

    /// Takes a subject's own mode away.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn clear_mode(&self, subject: &str) -> Result<(), RegistryError> {
        let request = self.request(Method::DELETE, &["mode", subject], "")?;
        answer::<Value>(request).await.map(|_| ())
    }

    /// Registers a schema under an id, as the subject's next version. The subject's mode is IMPORT.
    ///
    /// # Errors
    /// As the registry's.
    pub async fn import(
        &self,
        subject: &str,
        SchemaId(id): SchemaId,
        schema: &str,
    ) -> Result<(), RegistryError> {
        let path = ["subjects", subject, "versions"];
        let request = self.request(Method::POST, &path, "")?;
        let body = json!({ "schema": schema, "id": id });
        answer::<Value>(request.json(&body)).await.map(|_| ())
    }

    /// Subjects may hold any character, also a slash. But what the address of a path leaves out
    /// would make it that of something else: the global level, all subjects.
    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
    ) -> Result<RequestBuilder, RegistryError> {
        if let Some(left_out) = path.iter().find(|it| matches!(**it, "" | "." | "..")) {
            return Err(RegistryError::Name((*left_out).to_owned()));
        }
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_query((!query.is_empty()).then_some(query));
        Ok(self.client.request(method, url))
    }
}

#[derive(Deserialize)]
struct Mode {
    mode: String,
}

impl Deleted {
    fn query(self) -> &'static str {
        match self {
            Self::Hidden => "",
            Self::Shown => "deleted=true",
        }
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, RegistryError> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        error_code: i64,
        #[serde(default)]
        message: String,
    }
    // The client's errors repeat the URL, credentials included.
    let response = request.send().await;
    let response = response.map_err(|error| RegistryError::Away(error.without_url()))?;
    let status = response.status();
    if !status.is_success() {
        let refusal = response.json::<Refusal>().await.ok();
        let refusal = refusal.filter(|it| !it.message.is_empty());
        return Err(match refusal {
            Some(refusal) => RegistryError::Refused {
                code: refusal.error_code,
                message: refusal.message,
            },
            None => RegistryError::Refused {
                code: status.as_u16().into(),
                message: status.to_string(),
            },
        });
    }
    let answer = response.json().await;
    answer.map_err(|error| RegistryError::Answer(error.without_url()))
}

#[cfg(test)]
mod tests {
    use testkit::name;
    use testkit::registry::{Front, Transport};

    use super::*;

    fn registry() -> Registry {
        Registry::new("http://ann:secret@127.0.0.1:8081/apis/ccompat/v7/").unwrap()
    }

    #[test]
    fn subjects_are_one_part_of_the_path() {
        let path = ["subjects", "a/b ?#%", "versions"];
        let request = registry().request(Method::GET, &path, "deleted=true");
        let url = request.unwrap().build().unwrap().url().clone();
        let expected = "/apis/ccompat/v7/subjects/a%2Fb%20%3F%23%25/versions";
        assert_eq!((url.path(), url.query()), (expected, Some("deleted=true")));
    }

    #[test]
    fn a_name_that_an_address_leaves_out_is_none() {
        for name in ["", ".", ".."] {
            let refused = registry().request(Method::DELETE, &["config", name], "");
            assert!(matches!(refused, Err(RegistryError::Name(_))), "{name:?}");
        }
    }

    async fn use_it(url: &str) {
        let registry = Registry::new(url).unwrap();
        reach(url, ANSWER_LIMIT).await.unwrap();
        let level = registry.global_level().await.unwrap();
        assert_eq!(level, Level::Backward.name());
        let subject = format!("a/b c {}-value", name::unique());
        let subjects = registry.subjects(Deleted::Shown).await.unwrap();
        assert!(!subjects.contains(&subject), "{subjects:?}");
        let refused = registry
            .versions(&subject, Deleted::Hidden)
            .await
            .unwrap_err();
        assert!(
            matches!(
                refused,
                RegistryError::Refused {
                    code: SUBJECT_NOT_FOUND,
                    ..
                }
            ),
            "{refused:?}"
        );
        let refused = registry.schema(SchemaId(4_000_000)).await.unwrap_err();
        let refused = format!("{refused} {refused:?}");
        assert!(refused.contains("40403"), "{refused}");
    }

    #[tokio::test]
    async fn a_registry_may_have_a_path_and_ask_for_a_login() {
        let front = Front::start(Transport::Plain).await;
        use_it(&front.url()).await;
        let stranger = Registry::new(&front.url_without_login()).unwrap();
        let error = reach(&front.url_without_login(), ANSWER_LIMIT).await;
        let error = format!("{:?}", error.unwrap_err());
        assert!(error.contains("401"), "{error}");
        let refused = stranger.subjects(Deleted::Hidden).await.unwrap_err();
        assert!(
            matches!(refused, RegistryError::Refused { code: 401, .. }),
            "{refused:?}"
        );
    }

    /// Not a test but the process that the next one starts: this binary again.
    #[tokio::test]
    async fn child() {
        Front::used_as_child(use_it).await;
    }

    #[tokio::test]
    async fn a_registry_may_have_a_certificate_of_an_own_authority() {
        let front = Front::start(Transport::Tls).await;
        let unknown = Registry::new(&front.url()).unwrap();
        let error = unknown.subjects(Deleted::Hidden).await.unwrap_err();
        let error = format!("{error} {error:?}");
        assert!(error.contains("ertificate"), "{error}");
        assert!(!error.contains(Front::PASSWORD), "{error}");

        front.used_by_child("registry::tests::child").await;
    }
}
