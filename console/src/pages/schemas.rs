//! Schemas.

use super::Visit;
use crate::frame::{Page, Section};
use crate::widgets;

/// The list, or what the rest of the path names.
pub(super) fn find(_visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(Page::new(
            Section::Schemas,
            "Schemas",
            widgets::empty("The subjects are listed by the registry itself so far."),
        )),
        _ => None,
    }
}
