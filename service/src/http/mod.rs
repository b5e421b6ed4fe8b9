//! What every HTTP service here shares.

mod server;
pub use server::serve_http;

mod encoding;
pub use encoding::{accepts_gzip, gzipped};

mod asset;
pub use asset::Asset;
