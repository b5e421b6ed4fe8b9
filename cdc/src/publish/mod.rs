//! Batches of whole transactions: their records, then the commits record that makes them count.

mod batch;
mod committer;
mod tracker;

pub(crate) use batch::Batch;
pub(crate) use committer::{Committer, Identity, PublishError};
pub(crate) use tracker::Tracker;
