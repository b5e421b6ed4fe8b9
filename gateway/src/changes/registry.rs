//! Records from bytes to values, by the schemas in the registry.

use std::collections::HashMap;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use change::framing::{self, SchemaId};
use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id};
use schema_registry_converter::error::SRCError;
use serde_json::Value;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A registry, and the schemas that were asked for.
pub(super) struct Registry {
    url: String,
    settings: SrSettings,
    known: HashMap<SchemaId, Schema>,
}

/// Why a record is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It may answer later.
    #[error("ask the schema registry {url} for schema {id}: {text}")]
    Registry { url: String, id: u32, text: String },
    #[error("the record is not framed as Confluent's are")]
    Framing(#[from] framing::FramingError),
    #[error("the record does not fit its schema {id}")]
    Avro {
        id: u32,
        source: Box<apache_avro::Error>,
    },
}

impl Registry {
    pub(super) fn new(url: &str) -> Result<Self, String> {
        // The HTTP client wants a provider of cryptography even for plain http; a second
        // installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = url.trim_end_matches('/').to_owned();
        let settings = SrSettings::new_builder(url.clone())
            .no_proxy()
            .set_timeout(ANSWER_LIMIT)
            .build()
            .map_err(|error| text(&error))?;
        Ok(Self {
            url,
            settings,
            known: HashMap::new(),
        })
    }

    /// A record's value in JSON's form.
    pub(super) async fn read(&mut self, record: &[u8]) -> Result<Value, ReadError> {
        let (id, mut datum) = framing::split(record)?;
        if !self.known.contains_key(&id) {
            let schema = self.schema(id).await?;
            self.known.insert(id, schema);
        }
        let avro = |source| ReadError::Avro {
            id: id.0,
            source: Box::new(source),
        };
        let reader = GenericDatumReader::builder(&self.known[&id]).build();
        let value = reader.and_then(|reader| reader.read_value(&mut datum));
        value.and_then(Value::try_from).map_err(avro)
    }

    async fn schema(&self, id: SchemaId) -> Result<Schema, ReadError> {
        let answer = get_schema_by_id(id.0, &self.settings).await;
        let registered = answer.map_err(|error| ReadError::Registry {
            url: self.url.clone(),
            id: id.0,
            text: text(&error),
        })?;
        Schema::parse_str(&registered.schema).map_err(|source| ReadError::Avro {
            id: id.0,
            source: Box::new(source),
        })
    }
}

fn text(error: &SRCError) -> String {
    let cause = error.cause.as_deref().unwrap_or_default();
    format!("{}: {cause}", error.error)
}
