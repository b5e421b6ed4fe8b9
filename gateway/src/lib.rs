//! GraphQL in front of the REST API.
//!
//! A request's way: `server` takes it off the socket, `exchange` gives it an id and its place in the
//! metrics, `http` reads the operations, `schema` resolves them, `upstream` asks the REST APIs:
//! writes go to the primary, reads to the replica where there is one. `changes` follows the topics that
//! capture writes, for subscriptions; `replication` tells how far each stage of the pipeline is.

mod config;
pub use config::Config;

mod run;
pub use run::{Error, run};

mod exchange;
mod server;

mod http;

mod schema;
pub use schema::sdl;

mod changes;
mod graphiql;
pub use changes::Config as ChangesConfig;

mod replication;

mod upstream;
pub use upstream::BuildError;

mod health;
mod metrics;
