//! Who did what, and what runs here.

use maud::{Markup, html};
use operate::audit::{self, Entry};
use tokio_postgres::Client;

use super::Visit;
use crate::frame::{Page, Section};
use crate::widgets;

pub(super) async fn page(visit: &Visit<'_>) -> Page {
    let console = visit.console;
    let body = html! {
        h2 { "Audit log" }
        @match audit(visit).await {
            Ok(entries) => (audit_list(&entries)),
            Err(error) => (widgets::failed("The audit log", &error)),
        }
        h2 { "This console" }
        dl {
            dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
            dt { "Started" } dd { (widgets::moment(console.started)) ", " (widgets::ago(console.started)) }
            dt { "Pipeline" } dd { (console.endpoints.names.pipeline) }
        }
    };
    Page::new(Section::Activity, "Activity", body)
}

const ENTRIES: i64 = 100;

async fn audit(visit: &Visit<'_>) -> anyhow::Result<Vec<Entry>> {
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
            }
        }
    };
    let full = i64::try_from(entries.len()).is_ok_and(|count| count == ENTRIES);
    let older = entries.last().filter(|_| full);
    html! {
        (widgets::table("Audit log", &["When", "Who", "Did", "To", "Why"], rows))
        (widgets::pager(None, older.map(|entry| format!("/activity?before={}", entry.id)), ""))
    }
}
