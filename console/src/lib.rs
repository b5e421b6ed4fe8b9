//! The operator's console: web pages and an HTTP API of a running pipeline.
//!
//! A request comes in by `server`, passes the `gate` (host, origin), gets a caller by `users` and
//! `sessions`, and is answered by `exchange`: a page of `pages` in its `frame`, an
//! action of `actions`, a stream of `events`, or the same in JSON by `api`. What pages show of the pipeline
//! they take from `live`, which looks once a second and remembers, so that they work while a part
//! of it is away.

mod config;
pub use config::Config;

mod run;
pub use run::{Error, run};

mod server;

mod http;

mod gate;

mod users;
pub use users::{Role, User, UserError, hash_password};

mod sessions;

mod exchange;

mod console;

mod link;

mod replays;

mod live;

mod events;

mod facts;

mod frame;

mod widgets;

mod pages;

mod actions;

mod api;

mod assets;
