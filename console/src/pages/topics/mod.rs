//! The topics and the records in them.

mod asked;
mod record;

pub(crate) use asked::question;

use std::time::{Duration, UNIX_EPOCH};

use change::topic::Topics;
use maud::{Markup, html};
use operate::topics::{self, Kind, Listing, Page as Records, Slice, Topic};

use super::Visit;
use crate::frame::{Page, Section};
use crate::http::path_segment;
use crate::users::Role;
use crate::widgets;

/// Topics on a page.
pub(crate) const PAGE: usize = 50;

/// The list, or what the rest of the path names.
pub(super) async fn find(visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(list(visit).await),
        [topic] => Some(records(visit, topic).await),
        _ => None,
    }
}

/// Which topics the query asks for.
pub(crate) fn slice(visit: &Visit<'_>) -> Slice {
    let from = visit.query.one("from").and_then(|from| from.parse().ok());
    Slice {
        name: visit.query.one("name").unwrap_or_default().to_owned(),
        skip: from.unwrap_or(0),
        limit: PAGE,
    }
}

async fn list(visit: &Visit<'_>) -> Page {
    let slice = slice(visit);
    let listing = topics::list(&visit.console.kafka, &visit.console.endpoints.names, &slice).await;
    let body = html! {
        form.filters method="get" action="/topics" {
            div.field {
                label for="name" { "Name holds" }
                input #name name="name" value=(slice.name);
            }
            button { "Show" }
        }
        @match &listing {
            Ok(listing) => (listed(visit, &slice, listing)),
            Err(error) => (widgets::failed("The list of topics", error)),
        }
        (widgets::command_line("lockstep topics list"))
    };
    Page::new(Section::Topics, "Topics", body)
}

fn listed(visit: &Visit<'_>, slice: &Slice, listing: &Listing) -> Markup {
    if listing.topics.is_empty() {
        return widgets::empty(
            "There is no such topic. Capture makes a table's topic when it starts.",
        );
    }
    let head = [
        "Topic",
        "Holds",
        "Partitions",
        "Records",
        "Not applied",
        "Last record",
        "Kept for",
        "Size",
    ];
    let rows = html! { @for topic in &listing.topics { (row(topic)) } };
    let link = |from: usize| {
        let query = visit.query.query_with("from", &from.to_string());
        format!("/topics?{query}")
    };
    let end = slice.skip + listing.topics.len();
    let place = format!(
        "{} to {} of {}",
        widgets::count(slice.skip as u64 + 1),
        widgets::count(end as u64),
        widgets::count(listing.total as u64)
    );
    html! {
        (widgets::table("Topics", &head, rows))
        (widgets::pager(
            (slice.skip > 0).then(|| link(slice.skip.saturating_sub(PAGE))),
            (end < listing.total).then(|| link(end)),
            &place,
        ))
        p.faint {
            "Records counts offsets: what was compacted away counts too. Size is unknown because "
            "Kafka's client library cannot ask for it."
        }
    }
}

fn row(topic: &Topic) -> Markup {
    let holds = match &topic.kind {
        Kind::Table(table) => table.to_string(),
        Kind::Commits => "commits records".to_owned(),
        Kind::SchemaChanges => "schema changes".to_owned(),
        Kind::Messages => "messages".to_owned(),
        Kind::Other => "other records".to_owned(),
    };
    let number = |number: Option<u64>| number.map_or(widgets::UNKNOWN.to_owned(), widgets::count);
    html! {
        tr {
            td { a href={ "/topics/" (path_segment(&topic.name)) } { (topic.name) } }
            td { (holds) }
            td.number { (topic.partitions.len()) }
            td.number { (number(topic.offsets.and_then(|it| u64::try_from(it).ok()))) }
            td.number { (number(topic.lag)) }
            td { (last_record(topic)) }
            td {
                (kept(topic.retention_ms))
                @if let Some(policy) = &topic.cleanup_policy { " (" (policy) ")" }
            }
            td { (widgets::UNKNOWN) }
        }
    }
}

fn last_record(topic: &Topic) -> Markup {
    let last = topic.last_record_ms.and_then(|ms| u64::try_from(ms).ok());
    match (last, topic.offsets) {
        (Some(ms), _) => widgets::ago(UNIX_EPOCH + Duration::from_millis(ms)),
        (None, Some(0)) => html! { "no record" },
        (None, _) => html! { (widgets::UNKNOWN) },
    }
}

fn kept(retention_ms: Option<i64>) -> String {
    match retention_ms {
        None => widgets::UNKNOWN.to_owned(),
        Some(ms) => match u64::try_from(ms) {
            Ok(ms) => widgets::duration(Duration::from_millis(ms)),
            Err(_) => "ever".to_owned(),
        },
    }
}

/// Rows are people's data: looking at them takes more than a look at the pipeline. Commits records
/// hold none.
pub(crate) fn may_read(visit: &Visit<'_>, topic: &str) -> bool {
    let topics = Topics::new(&visit.console.endpoints.names.prefix);
    let is_commits = topics.is_ok_and(|topics| topic == topics.commits());
    is_commits || visit.caller.may(Role::Operator)
}

async fn records(visit: &Visit<'_>, topic: &str) -> Page {
    if !may_read(visit, topic) {
        let body = widgets::not_allowed("Looking at rows");
        return Page::new(Section::Topics, topic, body);
    }
    let asked = match question(visit, topic) {
        Ok(question) => read(visit, &question).await,
        Err(error) => Err(error),
    };
    let body = html! {
        (asked::form(visit, topic))
        @match &asked {
            Ok(page) => (shown(visit, topic, page)),
            Err(error) => (widgets::failed("The records", error)),
        }
        (widgets::command_line(&format!("lockstep topics records {topic}")))
    };
    Page::new(Section::Topics, topic, body)
}

/// A page of records, as the page and the API show it.
pub(crate) async fn read(
    visit: &Visit<'_>,
    question: &topics::Question,
) -> anyhow::Result<Records> {
    let names = Topics::new(&visit.console.endpoints.names.prefix)?;
    let plans = visit.console.plans()?;
    topics::read(&visit.console.kafka, &names, plans, question).await
}

fn shown(visit: &Visit<'_>, topic: &str, page: &Records) -> Markup {
    let path = path_segment(topic);
    let link = |place: &topics::Cursor, direction: &str| {
        let kept = visit.query.without(&["from", "value", "at", "direction"]);
        let place = kept.query_with("at", &place.to_string());
        format!("/topics/{path}?{place}&direction={direction}")
    };
    let older = page.older.as_ref().map(|place| link(place, "backwards"));
    let newer = page.newer.as_ref().map(|place| link(place, "forwards"));
    let json = format!(
        "/api/v1/topics/{path}/records?{}",
        visit.query.query_with("download", "yes")
    );
    html! {
        @if page.cut_short {
            div.notice data-state="warn" role="status" {
                p { "Stopped after " (widgets::count(page.scanned as u64)) " records: there are more. "
                    "The links lead on from here." }
            }
        }
        (pager(older.as_deref(), newer.as_deref(), page))
        @if page.records.is_empty() {
            (widgets::empty("There is no record here."))
        } @else {
            @for record in &page.records { (record::article(&path, record)) }
        }
        (pager(older.as_deref(), newer.as_deref(), page))
        (partitions(page))
        p { a href=(json) { "Download these records as JSON" } }
    }
}

fn partitions(page: &Records) -> Markup {
    let rows = html! {
        @for partition in &page.partitions {
            tr {
                td.number { (partition.partition) }
                td.number { (partition.first_offset) }
                td.number { (partition.end_offset) }
            }
        }
    };
    html! {
        details {
            summary { "Partitions (" (page.partitions.len()) ")" }
            (widgets::table("Partitions", &["Partition", "First offset", "End offset"], rows))
        }
    }
}

fn pager(older: Option<&str>, newer: Option<&str>, page: &Records) -> Markup {
    let count = match page.records.len() {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    };
    html! {
        nav.pager aria-label="Pages of records" {
            @match older { Some(older) => { a href=(older) rel="prev" { "← Older" } }, None => { span { "the oldest" } } }
            span { (count) ", scanned " (widgets::count(page.scanned as u64)) }
            @match newer { Some(newer) => { a href=(newer) rel="next" { "Newer →" } }, None => { span { "the newest" } } }
        }
    }
}
