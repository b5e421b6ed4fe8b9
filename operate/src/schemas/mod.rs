//! Schemas as people look at them: what a subject is for, how its versions differ, what its level
//! would let in.
//!
//! - `subject`: subjects and their versions;
//! - `lines`: two texts side by side;
//! - `columns`: what changed between two versions, in words;
//! - `change`: levels and deletions;
//! - `restore`: what a lost registry had.

mod change;
mod columns;
mod lines;
mod restore;
mod subject;

pub use change::{Changer, GLOBAL};
pub use columns::changes;
pub use lines::{Line, Pair, side_by_side};
pub use restore::Restored;
pub use subject::{
    Comparison, Levels, Listing, Part, Slice, Subject, SubjectDetail, VersionDetail, compare,
    detail, levels, list, pretty,
};
