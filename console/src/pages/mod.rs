//! The pages, a file each. All are for GET and can be bookmarked: what a page shows of a list, and
//! from when, stands in its query.

mod tables;

mod overview;

mod replication;

pub(crate) mod topics;

pub(crate) mod schemas;

pub(crate) mod dead_letters;

pub(crate) mod replay;

pub(crate) mod activity;

mod sign_in;
pub(crate) use sign_in::sign_in;

mod answered;
pub(crate) use answered::answered;

use maud::html;

use crate::console::Console;
use crate::frame::Page;
use crate::http::{Pairs, StatusCode};
use crate::sessions::Caller;

/// Who visits a page, and what of it is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'a> {
    pub(crate) console: &'a Console,
    pub(crate) caller: &'a Caller,
    pub(crate) query: &'a Pairs,
}

/// The page of a path; none when there is none.
pub(crate) async fn find(visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(overview::page(visit).await),
        ["replication", rest @ ..] => replication::find(visit, rest).await,
        ["topics", rest @ ..] => topics::find(visit, rest).await,
        ["schemas", rest @ ..] => schemas::find(visit, rest).await,
        ["dead-letters", rest @ ..] => dead_letters::find(visit, rest).await,
        ["replay", rest @ ..] => replay::find(visit, rest).await,
        ["activity"] => Some(activity::page(visit).await),
        _ => None,
    }
}

pub(crate) fn absent() -> Page {
    let body =
        html! { p { "There is no page here. The navigation above leads to those there are." } };
    Page::about(StatusCode::NOT_FOUND, "Not found", body)
}
