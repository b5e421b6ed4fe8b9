//! Where the source's log ends and how the slot is, in the source's own words: for metrics that
//! stay true while capture waits, and for who looks from outside.

mod look;
mod metrics;
mod trail;
mod watch;

pub use look::{Slot, Standing, look};
pub use trail::Trail;
pub(crate) use watch::watch;
