//! GraphQL in front of the REST API.
//!
//! A request's way: `server` takes it off the socket, `exchange` gives it an id and its place in the
//! metrics, `http` reads the operations, `schema` resolves them, `upstream` asks the REST APIs:
//! writes go to the primary, reads to the replica where there is one.

mod config;
pub use config::Config;

mod run;
pub use run::{Error, run};

mod exchange;
mod server;

mod http;

mod schema;
pub use schema::sdl;

mod graphiql;
mod upstream;
pub use upstream::BuildError;

mod health;
mod metrics;
