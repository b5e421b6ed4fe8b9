//! The registry's subjects and their versions.

mod subject;

pub(crate) use subject::{comparison, detail};

use change::topic::Topics;
use maud::{Markup, html};
use operate::registry::Deleted;
use operate::schemas::{self, Listing, Slice, Subject};

use super::Visit;
use crate::frame::{Page, Section};
use crate::http::path_segment;
use crate::widgets;

/// Subjects on a page.
const PAGE: usize = 50;

/// The list, or what the rest of the path names.
pub(super) async fn find(visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(list(visit).await),
        [subject] => Some(subject::page(visit, subject).await),
        _ => None,
    }
}

/// The subjects that a query asks for.
pub(crate) async fn listing(visit: &Visit<'_>) -> anyhow::Result<Listing> {
    let names = Topics::new(&visit.console.endpoints.names.prefix)?;
    let deleted = match visit.query.one("deleted") {
        Some(_) => Deleted::Shown,
        None => Deleted::Hidden,
    };
    let registry = visit.console.registry()?;
    Ok(schemas::list(registry, &names, &slice(visit), deleted).await?)
}

fn slice(visit: &Visit<'_>) -> Slice {
    let from = visit.query.one("from").and_then(|from| from.parse().ok());
    Slice {
        name: visit.query.one("name").unwrap_or_default().to_owned(),
        skip: from.unwrap_or(0),
        limit: PAGE,
    }
}

async fn list(visit: &Visit<'_>) -> Page {
    let slice = slice(visit);
    let body = html! {
        form.filters method="get" action="/schemas" {
            div.field {
                label for="name" { "Name holds" }
                input #name name="name" value=(slice.name);
            }
            div {
                input #deleted type="checkbox" name="deleted" value="yes"
                    checked[visit.query.one("deleted").is_some()];
                " " label for="deleted" { "also deleted subjects" }
            }
            button { "Show" }
        }
        @match listing(visit).await {
            Ok(listing) => (listed(visit, &slice, &listing)),
            Err(error) => (widgets::failed("The list of subjects", &error)),
        }
        (widgets::command_line("lockstep schemas list"))
    };
    Page::new(Section::Schemas, "Schemas", body)
}

fn listed(visit: &Visit<'_>, slice: &Slice, listing: &Listing) -> Markup {
    if listing.subjects.is_empty() {
        return widgets::empty(
            "There is no such subject. Capture registers a table's schemas when it starts.",
        );
    }
    let head = [
        "Subject",
        "Table",
        "Part",
        "Versions",
        "Latest",
        "Schema id",
        "Level",
    ];
    let rows =
        html! { @for subject in &listing.subjects { (row(subject, &listing.global_level)) } };
    let link = |from: usize| {
        let query = visit.query.query_with("from", &from.to_string());
        format!("/schemas?{query}")
    };
    let end = slice.skip + listing.subjects.len();
    let place = format!(
        "{} to {} of {}",
        widgets::count(slice.skip as u64 + 1),
        widgets::count(end as u64),
        widgets::count(listing.total as u64)
    );
    html! {
        p { "Global level: " strong { (listing.global_level) } }
        (widgets::table("Subjects", &head, rows))
        (widgets::pager(
            (slice.skip > 0).then(|| link(slice.skip.saturating_sub(PAGE))),
            (end < listing.total).then(|| link(end)),
            &place,
        ))
    }
}

fn row(subject: &Subject, global: &str) -> Markup {
    let unknown = widgets::UNKNOWN;
    html! {
        tr {
            td {
                a href={ "/schemas/" (path_segment(&subject.name)) } { (subject.name) }
                @if subject.deleted { " " span.badge data-state="warn" { "deleted" } }
            }
            td { @match (&subject.table, &subject.topic) {
                (Some(table), Some(topic)) => { a href={ "/topics/" (path_segment(topic)) } { (table) } },
                (None, Some(topic)) => { a href={ "/topics/" (path_segment(topic)) } { (topic) } },
                _ => { "none of this pipeline" },
            } }
            td { @match subject.part { Some(part) => (part.name()), None => "" } }
            td.number { (subject.versions) }
            td.number { @match subject.latest_version { Some(version) => (version), None => (unknown) } }
            td.number { @match subject.latest_id { Some(id) => (id), None => (unknown) } }
            td { @match &subject.level { Some(level) => (level), None => { (global) " (global)" } } }
        }
    }
}
