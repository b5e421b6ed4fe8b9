//! The chassis of a service: settings, telemetry, metrics and health port, shutdown, backoff,
//! secrets, connections to Postgres.
//!
//! A service reads its [`settings`], starts [`telemetry`], is handed a [`Monitor`] and a
//! [`Shutdown`], and retries what fails for a moment with a [`Backoff`].

pub mod settings;

mod kafka_option;
pub use kafka_option::{KafkaOption, KafkaOptionError};

mod secret;
pub use secret::{Secret, SecretError};

pub mod telemetry;

mod monitor;
pub use monitor::{Health, Monitor, MonitorError, serve_monitor};

pub mod listener;

pub mod http;
pub use http::serve_http;

mod shutdown;
pub use shutdown::Shutdown;

mod backoff;
pub use backoff::Backoff;

mod chain;
pub use chain::chain;

pub mod url;

pub mod postgres;
