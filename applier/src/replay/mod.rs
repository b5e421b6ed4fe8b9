//! Replaying what the topics still hold: into a schema as a copy of a moment, or into the live tables
//! while the stream goes on.
//!
//! A **copy** begins with a snapshot in the topics and applies what follows up to an LSN, portion by
//! portion, with its progress in the same transaction.
//!
//! Into the **live tables** nothing is applied again: that would show readers old states. The changes
//! only select rows, by their keys, whose state as of now is put in place where it is not:
//!
//! ```text
//! topics ── wanted ──┬── until now ──▶ stage: whole rows, keys
//!                    │                   │ a chunk of keys: read on to where apply stands,
//!                    └─ select keys      ▼ put their rows in place, let apply go on
//!                                      live tables
//! ```
//!
//! - `request`, `error`, `numbers`: what is asked, and answered;
//! - `survey`: where in the topics it begins and ends;
//! - `source`: changes from the topics;
//! - `home`: the schema that holds its rows;
//! - `merge`: from the stage to the live table;
//! - `ledger`: how far it is, kept in the transaction that brings it there;
//! - `run`, `live`: a replay from its beginning to its end;
//! - `catch_up`: a table that waited follows the others.

mod catch_up;
mod error;
mod home;
mod ledger;
mod live;
mod merge;
mod numbers;
mod request;
mod run;
mod source;
mod survey;

pub use catch_up::{CaughtUp, catch_up};
pub use error::ReplayError;
pub use ledger::{Entry, cancel, list};
pub use merge::Difference;
pub use numbers::{Numbers, TableNumbers, TableRows, table_rows};
pub use request::{Begin, By, Destination, Place, Request};
pub use run::{Event, Outcome, dry_run, resume, run};
