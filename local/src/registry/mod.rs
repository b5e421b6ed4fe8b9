//! A schema registry with Confluent's REST API, for Avro, in this process: for the machine that
//! has no cluster. Everything it knows stands in one file that people can read.
//!
//! The way of a request: `routes` (HTTP) → `api` (resources, codes) → `ledger` (rules) →
//! `store` (the file) → `state` (what is known). `schema`, `canonical`, `compatibility` and
//! `level` are what it knows of Avro; they do no I/O.

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
