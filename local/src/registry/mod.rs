//! A schema registry with Confluent's REST API (that of release 7.9), for Avro, in this process:
//! for the machine that has no cluster. Everything it knows stands in one file that people can
//! read.
//!
//! The way of a request: `routes` (HTTP) → `api` (resources, codes) → `ledger` (rules) →
//! `store` (the file) → `state` (what is known). `schema`, `canonical`, `compatibility`, `level`,
//! `mode` and `scope` are what it knows of Avro and of settings; they do no I/O.
//!
//! # Limits
//!
//! Refused, and never passed over in silence:
//!
//! - Protobuf and JSON Schema; metadata, tags and rules of schemas (42201).
//! - In a configuration, what is about those: `compatibilityGroup`, `compatibilityPolicy`,
//!   `validateFields`, default and override metadata and rules (422). So is an alias of the
//!   whole registry.
//! - Contexts other than the default one, `:.:` (42208; their paths and `DELETE /contexts` 404).
//! - The mode FORWARD (42204): there is no other registry to hand requests on to.
//! - Associations, GUIDs, exporters and keys for encryption (404). Newer clients ask for
//!   associations first and take only a 404 for "none".
//! - Bodies of more than 8 MiB (413).
//!
//! Different from Confluent's registry, each on the side of losing nothing:
//!
//! - An id stands for one schema for ever. In mode IMPORT it may come again with the same schema
//!   after that was erased, never with another; and an import replaces no version (42205).
//! - A version that a deleted schema refers to cannot be erased (42206): records written with the
//!   deleted one may still be read. Confluent's registry counts live ones only.
//! - A soft-deleted version is kept when the same schema is registered again; Confluent's
//!   registry erases it then.
//! - `PUT /config` with nothing in it that is known is refused (42203), since GET and PUT differ in
//!   the name of the level.
//! - References may lead through 100 schemas. All types of a referenced schema are known by name;
//!   with Confluent's registry a type defined inside another one is not.
//! - An incompatible schema is `error_code` 409, as until release 8.0.3; the status is 409 in all.
//! - Words differ where Confluent's own say nothing: why a text is no schema, an ambiguous alias,
//!   a comparison that is too large.
//! - `GET /schemas` does not list aliases (`aliases=true`), and a format or a filter by rule that
//!   is not known here has no effect.
//!
//! It listens on loopback only, for it authenticates nobody and has no TLS of its own.

mod routes;

mod api;
mod error;
mod ledger;

mod event;
mod state;
mod store;

mod canonical;
mod compatibility;
mod level;
mod mode;
mod schema;
mod scope;

mod server;

#[cfg(test)]
mod golden;

pub use server::{Config, Registry, StartError};
pub use store::OpenError;
