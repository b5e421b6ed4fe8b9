//! Connections to Postgres, with the meanings that libpq gives to a connection string.
//!
//! A [`Dsn`] says where and how; [`dial`] opens the socket and negotiates TLS; [`connect`] starts a
//! session on it. [`Dsn::tokio_config`] and [`tls_connector`] are the same for a connection
//! pool. [`describe`] is what of a failed statement may be logged, [`passes`] whether to try it again.

mod dsn;
pub use dsn::{Dsn, DsnError, SslMode};

mod passfile;

mod tls;
pub use tls::{TlsError, tls_connector};

mod binding;

mod density;

mod socket;
pub use socket::Socket;

mod dial;
pub use dial::{Stream, dial};

mod connect;
pub use connect::{ConnectError, ConnectFault, Connection, connect};

mod watch;
pub use watch::{Asking, Watch};

mod describe;
pub use describe::describe;

mod passes;
pub use passes::passes;
