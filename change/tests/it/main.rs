//! Integration tests of the contract: Postgres itself is the oracle of the value mapping.
#![allow(clippy::unwrap_used, reason = "a helper fails as its test does")]

mod value_cases;
mod value_oracle;
