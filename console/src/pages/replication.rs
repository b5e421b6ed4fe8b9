//! Where the stages stand, how the slot is, and what each table is doing.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use maud::{Markup, html};
use operate::catalog::{self, Identity, Published, Slice};
use operate::status::StageName;
use tokio_postgres::Client;

use super::Visit;
use super::tables::{self, Standing};
use crate::facts::{Facts, stage_name};
use crate::frame::{Page, Section, action_form};
use crate::http::path_segment;
use crate::live::Look;
use crate::users::Role;
use crate::widgets;

/// Tables on a page.
const PAGE: i64 = 50;

/// The list, or one table.
pub(super) async fn find(visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(all(visit).await),
        [table] => one(visit, table).await,
        _ => None,
    }
}

async fn all(visit: &Visit<'_>) -> Page {
    let look = visit.console.live.latest();
    let look = look.as_deref();
    let facts = Facts::of(look);
    let body = html! {
        h2 { "Stages" }
        (ruler(look))
        (stage_table(&facts))
        (widgets::command_line("lockstep status --watch"))
        div.grid {
            (slot_card(&facts))
            section.card {
                h2 { "Transactions in progress" }
                dl {
                    dt { "Open" } dd { (facts.show("buffer.open")) }
                    dt { "In memory" } dd { (facts.show("buffer.memory")) }
                    dt { "Spooled to disk" } dd { (facts.show("buffer.disk")) }
                }
            }
        }
        h2 { "Tables" }
        @match published(visit, &slice(visit)).await {
            Ok(published) => (table_list(visit, look, &published).await),
            Err(error) => (widgets::failed("The list of tables", &error)),
        }
    };
    Page::new(Section::Replication, "Replication", body)
}

/// Which tables the query asks for.
fn slice<'v>(visit: &'v Visit<'_>) -> Slice<'v> {
    let from = visit.query.one("from").and_then(|from| from.parse().ok());
    Slice {
        name: visit.query.one("name").unwrap_or_default(),
        skip: from.unwrap_or(0).max(0),
        limit: PAGE,
    }
}

async fn published(visit: &Visit<'_>, slice: &Slice<'_>) -> anyhow::Result<Published> {
    let publication = &visit.console.endpoints.names.publication;
    let ask = async |source: &Client| catalog::published_slice(source, publication, slice).await;
    visit.console.source.ask(ask).await
}

const STAGES: [(StageName, &str); 6] = [
    (StageName::Written, "written to the source's log"),
    (StageName::Decoded, "decoded and sent by the slot"),
    (StageName::Acknowledged, "acknowledged by Kafka"),
    (StageName::Confirmed, "confirmed to the slot"),
    (StageName::Applied, "applied to the target"),
    (StageName::Visible, "visible in every table"),
];

fn stage_table(facts: &Facts) -> Markup {
    let rows = html! {
        @for (stage, title) in STAGES {
            @let key = |what: &str| format!("stage.{}.{what}", stage_name(stage));
            tr {
                th scope="row" { (title) }
                td.mono { (facts.show(&key("lsn"))) }
                td.number { (facts.show(&key("bytes"))) }
                td.number { (facts.show(&key("seconds"))) }
                td { (facts.show(&key("trend"))) }
            }
        }
    };
    let head = [
        "Stage",
        "Up to",
        "Bytes behind the log",
        "Time behind",
        "Trend",
    ];
    widgets::table("Stages", &head, rows)
}

/// The stages on a line, by their distance from the log's end; the table below says the same.
fn ruler(look: Option<&Look>) -> Markup {
    let behind = |name| {
        let stage = look?.stage(name)?;
        stage.value.behind.bytes
    };
    let marks: Vec<(&str, u64)> = [
        (StageName::Confirmed, "confirmed"),
        (StageName::Acknowledged, "produced"),
        (StageName::Applied, "applied"),
    ]
    .into_iter()
    .filter_map(|(stage, label)| Some((label, behind(stage)?)))
    .collect();
    let furthest = marks
        .iter()
        .map(|(_, bytes)| *bytes)
        .max()
        .unwrap_or(0)
        .max(1);
    html! {
        svg.ruler viewBox="0 0 1000 105" role="img" aria-label="Distances from the end of the log; the table that follows gives the numbers" {
            line x1="40" y1="45" x2="960" y2="45" {}
            circle cx="960" cy="45" r="7" {}
            text x="960" y="25" text-anchor="end" { "current" }
            @for (at, (label, bytes)) in marks.iter().enumerate() {
                @let x = 960 - bytes.saturating_mul(920) / furthest;
                @let y = 65 + at * 12;
                circle cx=(x) cy="45" r="6" {}
                text x=(x) y=(y) text-anchor=(if x > 500 { "end" } else { "start" }) { (label) }
            }
        }
    }
}

fn slot_card(facts: &Facts) -> Markup {
    let rows = [
        ("Name", "slot.name"),
        ("Read by", "slot.reader"),
        ("WAL status", "slot.wal_status"),
        ("Restart", "slot.restart"),
        ("Confirmed", "slot.confirmed"),
        ("Current", "stage.written.lsn"),
        ("Keeps WAL", "slot.retained"),
        ("Safe for", "slot.safe"),
        ("Lost in", "slot.lost_in"),
        ("Failover", "slot.failover"),
        ("Synced", "slot.synced"),
        ("Without reader since", "slot.inactive_since"),
        ("Invalidated", "slot.invalidation"),
    ];
    html! {
        section.card {
            h2 { "Replication slot" }
            dl {
                dt { "Plugin" } dd { "pgoutput" }
                @for (title, key) in rows { dt { (title) } dd { (facts.show(key)) } }
            }
        }
    }
}

async fn table_list(visit: &Visit<'_>, look: Option<&Look>, published: &Published) -> Markup {
    let asked = slice(visit);
    if published.tables.is_empty() && asked.name.is_empty() && asked.skip == 0 {
        return widgets::empty(
            "The publication has no table. Add one on the source: alter publication … add table …",
        );
    }
    let shown = &published.tables;
    let names: Vec<String> = shown.iter().map(|table| table.name.to_string()).collect();
    let counts = counts(visit, &names).await;
    let known = standings(look);
    let rows = html! {
        @for (table, name) in shown.iter().zip(&names) {
            @let standing = known.as_ref().map(|known| known.get(name).cloned().unwrap_or_default());
            tr {
                td { a href=(tables::path(name)) { (name) } }
                td { (identity(&table.identity)) }
                td.number { (table.columns.len()) }
                @let count = counts.as_ref().ok().and_then(|counts| counts.get(name));
                @for at in 0..3 {
                    td.number { (count.map_or_else(|| widgets::UNKNOWN.to_owned(), |count| widgets::count(count[at]))) }
                }
                td {
                    @match &standing {
                        Some(standing) => (standing.badge()),
                        None => (widgets::unknown()),
                    }
                }
                td.number { (standing.map_or_else(|| widgets::UNKNOWN.to_owned(), |standing| standing.letters.to_string())) }
            }
        }
    };
    let link = |from: i64| {
        let query = visit.query.query_with("from", &from.to_string());
        format!("/replication?{query}")
    };
    let (first, total) = (asked.skip, published.total);
    let end = first + i64::try_from(shown.len()).unwrap_or(0);
    let place = match shown.is_empty() {
        true => "no table".to_owned(),
        false => format!("{} to {end} of {total} tables", first + 1),
    };
    let head = [
        "Table",
        "Replica identity",
        "Columns",
        "Inserts",
        "Updates",
        "Deletes",
        "State",
        "Dead letters",
    ];
    html! {
        form.filters method="get" action="/replication" role="search" {
            div.field { label for="name" { "Name contains" } input #name name="name" value=(asked.name); }
            button { "Find tables" }
        }
        (widgets::table("Tables", &head, rows))
        p.faint { "Inserts, updates and deletes are what the target's statistics have counted." }
        (widgets::pager(
            (first > 0).then(|| link((first - PAGE).max(0))),
            (end < total).then(|| link(end)),
            &place,
        ))
    }
}

fn standings(look: Option<&Look>) -> Option<BTreeMap<String, Standing>> {
    let operations = look?.operations.as_ref()?;
    Some(tables::standings(&operations.value))
}

/// Inserts, updates and deletes on the target, by name: nobody else writes there.
async fn counts(visit: &Visit<'_>, names: &[String]) -> anyhow::Result<HashMap<String, [u64; 3]>> {
    let sql = "select schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del \
                 from pg_stat_user_tables where schemaname || '.' || relname = any ($1)";
    let rows = visit.console.target.ask(async |target: &Client| {
        let rows = target.query(sql, &[&names]).await;
        rows.context("read the statistics of tables")
    });
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let row = |row: &tokio_postgres::Row| {
        let counts = [1, 2, 3].map(|at| number(row.get(at)));
        (row.get(0), counts)
    };
    Ok(rows.await?.iter().map(row).collect())
}

fn identity(identity: &Identity) -> String {
    match identity {
        Identity::Key(columns) => columns.join(", "),
        Identity::Full => "full row".to_owned(),
        Identity::None => "none: updates and deletes are not published".to_owned(),
    }
}

/// One table: how it is, its columns, and what can be done about it.
async fn one(visit: &Visit<'_>, name: &str) -> Option<Page> {
    let alike = Slice {
        name,
        skip: 0,
        limit: i64::MAX,
    };
    let tables = match published(visit, &alike).await {
        Ok(published) => published.tables,
        Err(error) => {
            let body = widgets::failed("The table", &error);
            return Some(Page::new(Section::Replication, name, body));
        }
    };
    let table = tables.iter().find(|table| table.name.to_string() == name)?;
    let look = visit.console.live.latest();
    let standing =
        standings(look.as_deref()).map(|known| known.get(name).cloned().unwrap_or_default());
    let topic = format!("{}.{name}", visit.console.endpoints.names.prefix);
    let rows = html! {
        @for column in &table.columns {
            tr { td.mono { (column.name) } td.mono { (column.type_name) } }
        }
    };
    let body = html! {
        @match &standing {
            Some(standing) => (state_of(standing, name)),
            None => p { (widgets::unknown()) " – the target has not answered yet." },
        }
        dl {
            dt { "Replica identity" } dd { (identity(&table.identity)) }
            dt { "Topic" } dd { a href={ "/topics/" (path_segment(&topic)) } { (topic) } }
        }
        h2 { "Columns" }
        (widgets::table("Columns", &["Column", "Type"], rows))
        @if visit.caller.may(Role::Operator) {
            h2 { "Actions" }
            (actions(visit, name, standing.as_ref()))
        }
    };
    Some(Page::new(Section::Replication, name, body))
}

fn state_of(standing: &Standing, name: &str) -> Markup {
    html! {
        p { (standing.badge()) }
        @if let Some(reason) = &standing.reason {
            dl {
                dt { "Why" } dd { (reason) }
                dt { "Complete up to" } dd.mono { (standing.commit_lsn.as_deref().unwrap_or(widgets::UNKNOWN)) }
            }
        }
        @if standing.letters > 0 {
            p { a href={ "/dead-letters?table=" (path_segment(name)) } { (standing.letters) " dead letters" } }
        }
    }
}

fn actions(visit: &Visit<'_>, name: &str, standing: Option<&Standing>) -> Markup {
    let held = standing.is_some_and(|standing| standing.cause.is_some());
    html! {
        @if held {
            (action_form(visit.caller, "resume-table", html! {
                input type="hidden" name="table" value=(name);
                (widgets::reason_field("resume-why"))
                button.main { "Resume this table" }
            }))
            (widgets::command_line(&format!("lockstep resume --table {name}")))
        } @else {
            (action_form(visit.caller, "pause-table", html! {
                input type="hidden" name="table" value=(name);
                (widgets::reason_field("pause-why"))
                (widgets::confirm_field("pause-confirm", name))
                button.danger { "Pause this table" }
            }))
            (widgets::command_line(&format!("lockstep pause --table {name}")))
        }
        (action_form(visit.caller, "snapshot-table", html! {
            input type="hidden" name="table" value=(name);
            (widgets::reason_field("snapshot-why"))
            button { "Read this table again" }
        }))
        (widgets::command_line(&format!("lockstep snapshot --table {name}")))
        (widgets::command_line(&format!("lockstep verify --table {name}")))
    }
}
