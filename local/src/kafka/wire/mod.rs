//! The outside of a request: what is served, the header, and the check that runs before a decoder
//! may trust the lengths inside. Bytes in, values out; no I/O.

#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod apis;
mod cursor;
mod header;
mod shape;

pub(super) use apis::{Api, served};
pub(super) use cursor::WireError;
pub(super) use header::RequestHeader;
pub(super) use shape::check_body;
