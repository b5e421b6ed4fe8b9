//! Replay.

use super::Visit;
use crate::frame::{Page, Section};
use crate::widgets;

/// The list, or what the rest of the path names.
pub(super) fn find(_visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(Page::new(
            Section::Replay,
            "Replay",
            widgets::empty("Nothing is shown here so far."),
        )),
        _ => None,
    }
}
