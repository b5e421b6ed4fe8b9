//! Asking the schema registry: the only module that names its client.

use std::time::Duration;

use change::framing::SchemaId;
use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id};
use schema_registry_converter::error::SRCError;

use crate::error::{Error, RegistryError};

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A registry by its URL.
#[derive(Debug)]
pub(crate) struct Registry {
    url: String,
    settings: SrSettings,
}

impl Registry {
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        // The HTTP client wants a provider of cryptography even for plain http; a second
        // installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = url.trim_end_matches('/').to_owned();
        let settings = SrSettings::new_builder(url.clone())
            .no_proxy()
            .set_timeout(ANSWER_LIMIT)
            .build()
            .map_err(|error| Error::RegistryClient {
                url: url.clone(),
                source: described(&error),
            })?;
        Ok(Self { url, settings })
    }

    /// The text of a schema.
    ///
    /// # Errors
    /// When the registry is away or does not know the id. Both may pass: capture could have been
    /// pointed at this registry a moment before the registry was.
    pub(crate) async fn schema(&self, schema: SchemaId) -> Result<String, Error> {
        let answer = get_schema_by_id(schema.0, &self.settings).await;
        let registered = answer.map_err(|error| Error::Registry {
            url: self.url.clone(),
            schema,
            source: described(&error),
        })?;
        Ok(registered.schema)
    }
}

fn described(error: &SRCError) -> RegistryError {
    let cause = error.cause.as_deref().unwrap_or_default();
    RegistryError {
        // Its own word for it (REST API, "Schema not found"), which no proxy says in its stead.
        is_unknown: cause.contains("40403"),
        text: format!("{}: {cause}", error.error),
        transient: true,
    }
}
