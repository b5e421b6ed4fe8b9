//! Operating a pipeline: what the commands and the console do with one that runs.
//!
//! - `endpoints`: where its parts are, and what they are called;
//! - `catalog`, `kafka`, `registry`, `progress`: what each part says when it is asked;
//! - `capture`, `snapshot`: what is asked of capture: to pause, to read a table once more;
//! - `status`: what all of them say together;
//! - `topics`: the records that stand in the topics;
//! - `schemas`: what the registry keeps, and how its versions differ;
//! - `control`: letting apply, or a table, rest;
//! - `dead_letters`: changes that apply has set aside;
//! - `audit`: who did what, and why;
//! - `verify`: whether the target holds the source's rows;
//! - `replay`: what the topics still hold, once more.
//!
//! Nothing here prints: what takes long tells a callback how far it is.

pub mod audit;
pub mod capture;
pub mod catalog;
pub mod control;
pub mod dead_letters;
pub mod endpoints;
pub mod kafka;
pub mod progress;
pub mod registry;
pub mod replay;
pub mod schemas;
pub mod snapshot;
pub mod status;
pub mod topics;
pub mod units;
pub mod verify;
