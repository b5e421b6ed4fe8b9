//! Asking the schema registry: the only module that names its client.

use std::error::Error as _;
use std::time::Duration;

use change::framing::SchemaId;
use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id};
use schema_registry_converter::error::SRCError;
use service::url::without_login;

use crate::error::{Error, RegistryError};

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A registry by its URL.
#[derive(Debug)]
pub(crate) struct Registry {
    /// For people: without the login that the URL may hold.
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
        let settings = SrSettings::new_builder(url.trim_end_matches('/').to_owned())
            .no_proxy()
            .set_timeout(ANSWER_LIMIT)
            .build()
            .map_err(|error| Error::RegistryClient {
                url: without_login(url),
                source: described(&error),
            })?;
        Ok(Self {
            url: without_login(url.trim_end_matches('/')),
            settings,
        })
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
    let mut text = format!("{}: {cause}", error.error);
    // The first of them is the cause; those below tell of names, ports and certificates.
    let mut deeper = error.source().and_then(std::error::Error::source);
    while let Some(reason) = deeper {
        text = format!("{text}: {reason}");
        deeper = reason.source();
    }
    RegistryError {
        // Its own word for it (REST API, "Schema not found"), which no proxy says in its stead.
        is_unknown: cause.contains("40403"),
        text,
        transient: true,
    }
}

#[cfg(test)]
mod tests {
    use schema_registry_converter::async_impl::schema_registry::post_schema;
    use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};
    use testkit::name;
    use testkit::registry::{Front, Transport};

    use super::*;

    const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    const UNKNOWN: SchemaId = SchemaId(4_000_000);

    async fn use_it(url: &str) {
        let registry = Registry::new(url).unwrap();
        let subject = format!("shop.{}-value", name::unique());
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, SCHEMA.to_owned());
        let registered = post_schema(&registry.settings, subject, supplied).await;
        let id = SchemaId(registered.unwrap().id);
        assert_eq!(registry.schema(id).await.unwrap(), SCHEMA);
        let error = registry.schema(UNKNOWN).await.unwrap_err();
        let Error::Registry { source, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(source.is_unknown, "{error:?}");
        let told = format!("{error} {error:?} {:?}", error.source());
        assert!(!told.contains(Front::PASSWORD), "{told}");
    }

    #[tokio::test]
    async fn a_registry_may_have_a_path_and_ask_for_a_login() {
        let front = Front::start(Transport::Plain).await;
        use_it(&front.url()).await;
        let stranger = Registry::new(&front.url_without_login()).unwrap();
        let error = stranger.schema(UNKNOWN).await.unwrap_err();
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
        let error = unknown.schema(UNKNOWN).await.unwrap_err();
        let error = service::chain(&error);
        assert!(error.contains("UnknownIssuer"), "{error}");
        assert!(!error.contains(Front::PASSWORD), "{error}");

        front.used_by_child("registry::tests::child").await;
    }
}
