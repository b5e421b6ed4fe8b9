//! What every HTTP service here shares.

mod server;
pub use server::serve_http;

mod encoding;
pub use encoding::{accepts_gzip, gzipped, is_refusal};

mod asset;
pub use asset::Asset;

mod request;
pub use request::{carries_token, cookie, request_id};

mod metrics;
pub use metrics::RequestMetrics;
