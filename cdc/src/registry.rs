//! The schema registry: ids for schemas.

use std::time::Duration;

use change::framing::SchemaId;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_subject, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    SchemaType, SubjectNameStrategy, SuppliedSchema,
};
use service::url::without_login;

const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// A registry by its URL.
pub(crate) struct Registry {
    /// For people: without the login that the URL may hold.
    url: String,
    settings: SrSettings,
}

/// Why a schema has no id.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("schema registry URL {url} cannot be used")]
    Url { url: String, source: SRCError },
    #[error("schema registry at {url} does not answer")]
    Unavailable { url: String, source: SRCError },
    #[error(
        "schema registry at {url} refuses the schema of subject {subject}: compare it with the \
         subject's versions, or change the subject's compatibility level"
    )]
    Refused {
        url: String,
        subject: String,
        source: SRCError,
    },
}

impl RegistryError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Url { .. } | Self::Refused { .. } => false,
        }
    }
}

impl Registry {
    /// # Errors
    /// When no client can be made for `url`.
    pub(crate) fn new(url: &str) -> Result<Self, RegistryError> {
        // The HTTP client wants a provider of cryptography even for plain http; a second
        // installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = SrSettings::new_builder(url.trim_end_matches('/').to_owned())
            .no_proxy()
            .set_timeout(REQUEST_LIMIT)
            .build()
            .map_err(|source| RegistryError::Url {
                url: without_login(url),
                source,
            })?;
        Ok(Self {
            url: without_login(url),
            settings,
        })
    }

    /// The newest schema of `subject`; none where it has none.
    ///
    /// # Errors
    /// When the registry is away.
    pub(crate) async fn latest(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let strategy = SubjectNameStrategy::RecordNameStrategy(subject.to_owned());
        match get_schema_by_subject(&self.settings, &strategy).await {
            Ok(registered) => Ok(Some(registered.schema)),
            Err(source) if is_unknown(&source) => Ok(None),
            Err(source) => Err(RegistryError::Unavailable {
                url: self.url.clone(),
                source,
            }),
        }
    }

    /// The id of `schema` under `subject`, registered when it is new there.
    ///
    /// # Errors
    /// When the registry is away, or finds the schema incompatible with the subject's versions.
    pub(crate) async fn register(
        &self,
        subject: &str,
        schema: &str,
    ) -> Result<SchemaId, RegistryError> {
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
        let registered = post_schema(&self.settings, subject.to_owned(), supplied).await;
        let registered = registered.map_err(|source| {
            let url = self.url.clone();
            match is_refusal(&source) {
                false => RegistryError::Unavailable { url, source },
                true => RegistryError::Refused {
                    url,
                    subject: subject.to_owned(),
                    source,
                },
            }
        })?;
        Ok(SchemaId(registered.id))
    }
}

/// Whether the registry has judged the schema: incompatible, or none. Anything else passes, or is for
/// whoever runs the registry.
fn is_refusal(error: &SRCError) -> bool {
    [409, 422].iter().any(|status| answered(error, *status))
}

fn is_unknown(error: &SRCError) -> bool {
    answered(error, 404)
}

/// The client tells the status in its text only.
fn answered(error: &SRCError, status: u16) -> bool {
    error
        .error
        .contains(&format!("failed with status {status}"))
}

#[cfg(test)]
mod tests {
    use testkit::name;
    use testkit::registry::{Front, Transport};

    use super::*;

    const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;

    /// Everything that capture asks of a registry.
    async fn use_it(url: &str) {
        let registry = Registry::new(url).unwrap();
        let subject = format!("shop.{}-value", name::unique());
        assert_eq!(registry.latest(&subject).await.unwrap(), None);
        let id = registry.register(&subject, SCHEMA).await.unwrap();
        assert_eq!(registry.register(&subject, SCHEMA).await.unwrap(), id);
        assert_eq!(
            registry.latest(&subject).await.unwrap().as_deref(),
            Some(SCHEMA)
        );
        let narrower = SCHEMA.replace("int", "string");
        let refused = registry.register(&subject, &narrower).await.unwrap_err();
        assert!(
            matches!(refused, RegistryError::Refused { .. }),
            "{refused:?}"
        );
        assert!(!refused.is_transient());
        let refused = format!("{refused} {refused:?}");
        assert!(!refused.contains(Front::PASSWORD), "{refused}");
    }

    #[tokio::test]
    async fn a_registry_may_have_a_path_and_ask_for_a_login() {
        let front = Front::start(Transport::Plain).await;
        use_it(&front.url()).await;
        let stranger = Registry::new(&front.url_without_login()).unwrap();
        let error = stranger.register("s", SCHEMA).await.unwrap_err();
        assert!(format!("{error:?}").contains("401"), "{error:?}");
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
        let error = unknown.register("s", SCHEMA).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let error = service::chain(&error);
        assert!(error.contains("UnknownIssuer"), "{error}");
        assert!(!error.contains(Front::PASSWORD), "{error}");

        front.used_by_child("registry::tests::child").await;
    }
}
