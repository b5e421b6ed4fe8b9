//! For tests only: real servers that end with the test, random load, faults, waiting, comparing.
//!
//! A test asks for what it needs and gets it or fails with instructions; nothing is skipped.
//! Servers are started once per test process and end with it, even when it is killed
//! ([`guardian`]); what must be a test's own (databases, topics, slots) gets a name of its own.

pub mod browser;
pub mod compare;
pub mod guardian;
mod household;
pub mod kafka;
pub mod ledger;
pub mod name;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod random;
pub mod registry;
pub mod schemathesis;
pub mod setting;
pub mod value;
pub mod wait;
pub mod workload;
