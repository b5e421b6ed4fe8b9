//! Who did what, and what runs here.

use std::time::SystemTime;

use anyhow::Context;
use maud::{Markup, html};

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

struct Entry {
    at: SystemTime,
    who: String,
    action: String,
    object: Option<String>,
    reason: Option<String>,
}

const ENTRIES: i64 = 100;

async fn audit(visit: &Visit<'_>) -> anyhow::Result<Vec<Entry>> {
    let pipeline = &visit.console.endpoints.names.pipeline;
    let sql = "select at, who, action, object, reason from lockstep.audit \
                where pipeline = $1 order by id desc limit $2";
    let rows = visit.console.target.ask(async |target| {
        let rows = target.query(sql, &[pipeline, &ENTRIES]).await;
        rows.context("read the audit log")
    });
    let entry = |row: &tokio_postgres::Row| Entry {
        at: row.get(0),
        who: row.get(1),
        action: row.get(2),
        object: row.get(3),
        reason: row.get(4),
    };
    Ok(rows.await?.iter().map(entry).collect())
}

fn audit_list(entries: &[Entry]) -> Markup {
    if entries.is_empty() {
        return widgets::empty("Nobody has changed anything yet.");
    }
    let rows = html! {
        @for entry in entries {
            tr {
                td { (widgets::moment(entry.at)) }
                td { (entry.who) }
                td { (entry.action) }
                td { (entry.object.as_deref().unwrap_or_default()) }
                td { (entry.reason.as_deref().unwrap_or_default()) }
            }
        }
    };
    widgets::table("Audit log", &["When", "Who", "Did", "To", "Why"], rows)
}
