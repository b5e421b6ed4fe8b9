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

const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// A registry by its URL.
pub(crate) struct Registry {
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
                url: url.to_owned(),
                source,
            })?;
        Ok(Self {
            url: url.to_owned(),
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
