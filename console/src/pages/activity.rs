//! Who did what, what was found by comparisons, and what runs here.

use maud::{Markup, html};
use operate::audit::{self, Entry};
use operate::status::Service;
use operate::verify::{self, Verification};
use tokio_postgres::Client;

use super::Visit;
use crate::facts::State;
use crate::frame::{Page, Section};
use crate::widgets;

pub(super) async fn page(visit: &Visit<'_>) -> Page {
    let body = html! {
        h2 { "Audit log" }
        @match audit(visit).await {
            Ok(entries) => (audit_list(&entries)),
            Err(error) => (widgets::failed("The audit log", &error)),
        }
        h2 { "Comparisons of source and target" }
        @match verifications(visit).await {
            Ok(found) => (verification_list(&found)),
            Err(error) => (widgets::failed("The comparisons", &error)),
        }
        (widgets::command_line("lockstep verify"))
        h2 { "Health of what it depends on" }
        (health(visit))
        h2 { "Settings" }
        (settings(visit))
    };
    Page::new(Section::Activity, "Activity", body)
}

/// Entries on a page.
pub(crate) const ENTRIES: i64 = 100;

pub(crate) async fn audit(visit: &Visit<'_>) -> anyhow::Result<Vec<Entry>> {
    let pipeline = &visit.console.endpoints.names.pipeline;
    let before = visit.query.one("before").and_then(|id| id.parse().ok());
    let ask = async |target: &Client| audit::entries(target, pipeline, before, ENTRIES).await;
    visit.console.target.ask(ask).await
}

fn audit_list(entries: &[Entry]) -> Markup {
    if entries.is_empty() {
        return widgets::empty("Nobody has changed anything yet.");
    }
    let rows = html! {
        @for entry in entries {
            tr {
                td { (widgets::moment(widgets::time_of_micros(entry.at))) }
                td { (entry.who) }
                td { (entry.action) }
                td { (entry.object.as_deref().unwrap_or_default()) }
                td { (entry.reason.as_deref().unwrap_or_default()) }
                td { @if let Some(details) = &entry.details { code { (details) } } }
            }
        }
    };
    let full = i64::try_from(entries.len()).is_ok_and(|count| count == ENTRIES);
    let older = entries.last().filter(|_| full);
    html! {
        (widgets::table("Audit log", &["When", "Who", "Did", "To", "Why", "Details"], rows))
        (widgets::pager(None, older.map(|entry| format!("/activity?before={}", entry.id)), ""))
    }
}

/// Comparisons on the page, unless the query says otherwise.
const COMPARISONS: i64 = 20;

pub(crate) async fn verifications(visit: &Visit<'_>) -> anyhow::Result<Vec<Verification>> {
    let pipeline = &visit.console.endpoints.names.pipeline;
    let limit = visit.query.one("limit").and_then(|it| it.parse().ok());
    let limit = limit.unwrap_or(COMPARISONS).clamp(0, verify::KEPT);
    let ask = async |target: &Client| verify::history(target, pipeline, limit).await;
    visit.console.target.ask(ask).await
}

fn verification_list(found: &[Verification]) -> Markup {
    if found.is_empty() {
        return widgets::empty("Source and target were not compared yet.");
    }
    let count = |rows: i64| widgets::count(u64::try_from(rows).unwrap_or(0));
    let rows = html! {
        @for it in found {
            @let (word, state) = match it.equal {
                true => ("equal", State::Good),
                false => ("different", State::Bad),
            };
            tr {
                td { (it.finished_at) }
                td.mono { (it.lsn) }
                td { span.badge data-state=(state.name()) { (word) } }
                td.number { (count(it.rows_compared)) }
                td.number { (count(it.rows_different)) }
                td.number { (count(it.rows_repaired)) }
                td.number { (format!("{:.0} ms", it.held_ms)) }
                td { (it.started_by) }
            }
        }
    };
    let head = [
        "When",
        "At",
        "Result",
        "Rows",
        "Different",
        "Repaired",
        "Apply held",
        "By",
    ];
    widgets::table("Comparisons of source and target", &head, rows)
}

fn health(visit: &Visit<'_>) -> Markup {
    let Some(look) = visit.console.live.latest() else {
        return widgets::empty("The first look has not ended.");
    };
    let report = &look.report;
    let endpoints = &visit.console.endpoints;
    let part = |known: bool| match known {
        true => ("answers", State::Good),
        false => ("does not answer", State::Bad),
    };
    let parts = [
        (
            "Source, DB1",
            endpoints.source.to_string(),
            part(report.source.lsn.is_some()),
        ),
        (
            "Kafka",
            endpoints.kafka.clone(),
            part(report.topics.commit_lsn.is_some()),
        ),
        (
            "Target, DB2",
            endpoints.target.to_string(),
            part(report.operations.is_some()),
        ),
        (
            "Capture",
            endpoints.monitors.capture.url.clone(),
            service(&report.capture),
        ),
        (
            "Apply",
            endpoints.monitors.apply.url.clone(),
            service(&report.apply),
        ),
    ];
    let rows = html! {
        @for (name, place, (word, state)) in parts {
            tr {
                th scope="row" { (name) }
                td.mono { (place) }
                td { span.badge data-state=(state.name()) { (word) } }
            }
        }
    };
    widgets::table(
        "Health of what it depends on",
        &["Part", "Where", "State"],
        rows,
    )
}

fn service(service: &Service) -> (&'static str, State) {
    match service.answers {
        None => ("unknown", State::Unknown),
        Some(false) => ("does not answer", State::Bad),
        Some(true) if service.failing.is_empty() => ("ready", State::Good),
        Some(true) => ("waits for a part", State::Warn),
    }
}

/// A database prints itself without its password.
fn settings(visit: &Visit<'_>) -> Markup {
    let console = visit.console;
    let endpoints = &console.endpoints;
    let names = &endpoints.names;
    let access = match console.sessions.users().as_slice() {
        [] => "whoever is on this machine is admin".to_owned(),
        users => users.join(", "),
    };
    let settings = [
        ("Source", endpoints.source.to_string()),
        ("Target", endpoints.target.to_string()),
        ("Kafka", endpoints.kafka.clone()),
        (
            "Schema registry",
            widgets::without_credentials(&endpoints.registry),
        ),
        ("Topics' prefix", names.prefix.clone()),
        ("Slot", names.slot.clone()),
        ("Publication", names.publication.clone()),
        ("Pipeline", names.pipeline.clone()),
        ("Users and roles", access),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    html! {
        dl {
            @for (name, value) in settings { dt { (name) } dd { (value) } }
            dt { "Started" } dd { (widgets::moment(console.started)) ", " (widgets::ago(console.started)) }
        }
    }
}
