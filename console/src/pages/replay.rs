//! Replays: those there were, and the way to a new one, by a dry run.

use maud::{Markup, html};
use operate::replay::{self, Course, Destination, Entry, Numbers, Report, Request, RowDifference};
use serde_json::Value;

use super::Visit;
use crate::facts::State;
use crate::frame::{Page, Section, action_form};
use crate::replays::{Plan, Work};
use crate::users::Role;
use crate::widgets;

/// The history and the wizard, or one plan.
pub(super) async fn find(visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(all(visit).await),
        ["plans", id] => plan(visit, id.parse().ok()?),
        _ => None,
    }
}

async fn all(visit: &Visit<'_>) -> Page {
    let entries = replay::list(&visit.console.endpoints).await;
    let running = entries
        .iter()
        .flatten()
        .any(|entry| entry.state == "running");
    let body = html! {
        @if visit.caller.may(Role::Operator) {
            h2 { "Plan a replay" }
            @if running {
                (widgets::empty("A replay runs: another can be planned when it has ended."))
            } @else {
                (wizard(visit))
            }
            (plan_list(&visit.console.replays.all()))
        }
        h2 { "History" }
        @match &entries {
            Ok(entries) => (history(visit, entries)),
            Err(error) => (widgets::failed("The history", error)),
        }
        (widgets::command_line("lockstep replay --list"))
    };
    Page::new(Section::Replay, "Replay", body)
}

/// Where from, what, and how; the dry run and the confirmation follow on the plan's own page.
fn wizard(visit: &Visit<'_>) -> Markup {
    action_form(
        visit.caller,
        "replay-plan",
        html! {
            div.wizard {
                fieldset {
                    legend { "1. Where from" }
                    div.field {
                        label for="begin" { "Begin with" }
                        select #begin name="begin" {
                            option value="earliest" { "the earliest change that is still there" }
                            option value="lsn" { "an LSN" }
                            option value="time" { "a time" }
                            option value="offset" { "an offset of the commits topic" }
                        }
                    }
                    div.field {
                        label for="at" { "LSN, time or offset" }
                        input #at name="at" placeholder="0/16B3748" autocomplete="off";
                        small { "Times as 2026-01-31T12:00:00Z. What is earlier than the topics reach back is refused, with the earliest position." }
                    }
                    div.field {
                        label for="to" { "Up to this LSN (none: where the target is)" }
                        input #to name="to" autocomplete="off";
                    }
                }
                fieldset {
                    legend { "2. What" }
                    div.field {
                        label for="tables" { "Tables, as schema.table (none: all)" }
                        input #tables name="tables" autocomplete="off";
                    }
                }
                fieldset {
                    legend { "3. How" }
                    div.field {
                        label for="into" { "Copy into this schema (none: into the live tables)" }
                        input #into name="into" autocomplete="off";
                        small { "Live tables end in their present state, and no row goes back meanwhile. A copy has the tables as they stood at the LSN above." }
                    }
                }
                fieldset {
                    legend { "4. Dry run" }
                    p { "It reads and compares, and changes nothing. The replay itself is started from its result." }
                    button.main { "Do the dry run" }
                }
            }
        },
    )
}

fn plan_list(plans: &[(u64, Plan)]) -> Markup {
    if plans.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for (id, plan) in plans {
            tr {
                td { a href={ "/replay/plans/" (id) } { "Plan " (id) } }
                td.mono { (plan.work.command()) }
                td { (badge(&plan.course)) }
            }
        }
    };
    widgets::table("Plans", &["Plan", "What", "State"], rows)
}

fn badge(course: &Course) -> Markup {
    let (word, state) = match course {
        Course::Trying { .. } => ("dry run", State::Unknown),
        Course::Planned { .. } => ("planned", State::Warn),
        Course::Running { .. } => ("running", State::Warn),
        Course::Done { .. } => ("done", State::Good),
        Course::Failed { .. } => ("failed", State::Bad),
    };
    html! { span.badge data-state=(state.name()) { (word) } }
}

fn plan(visit: &Visit<'_>, id: u64) -> Option<Page> {
    let plan = visit.console.replays.find(id)?;
    let body = html! {
        p { (badge(&plan.course)) }
        @match &plan.course {
            Course::Trying { far } | Course::Running { far } => {
                p data-reload="2" role="status" { (far) }
                p { a href={ "/replay/plans/" (id) } { "Look again" } }
            }
            Course::Planned { report } => {
                (numbers(visit, report))
                @if let Work::New(request) = &plan.work && visit.caller.may(Role::Operator) {
                    (confirm(visit, id, request))
                }
            }
            Course::Done { report } => (numbers(visit, report)),
            Course::Failed { error } => div.notice data-state="bad" role="alert" { p { (error) } },
        }
        (widgets::command_line(&plan.work.command()))
        p { a href="/replay" { "All replays" } }
    };
    Some(Page::new(Section::Replay, format!("Plan {id}"), body))
}

/// As the dry run of the command line prints them.
fn numbers(visit: &Visit<'_>, report: &Report) -> Markup {
    let cells = |numbers: &Numbers| {
        let numbers = [
            numbers.read,
            numbers.inserted,
            numbers.updated,
            numbers.deleted,
            numbers.unchanged,
            numbers.going_backwards,
        ];
        html! { @for number in numbers { td.number { (number) } } }
    };
    let rows = html! {
        @for it in &report.tables {
            tr { td { (it.schema) "." (it.table) } (cells(&it.numbers)) }
        }
        tr { th scope="row" { "All" } (cells(&report.total)) }
    };
    let head = [
        "Table",
        "Changes read",
        "Inserted",
        "Updated",
        "Deleted",
        "Unchanged",
        "Going backwards",
    ];
    html! {
        dl {
            dt { "From" } dd.mono { (report.from_lsn) }
            dt { "To" } dd.mono { (report.to_lsn) }
            dt { "Rows as they stood at" } dd.mono { (report.at_lsn) }
            dt { "Earliest that is there" } dd.mono { (report.earliest.lsn) }
            dt { "Seconds" } dd { (format!("{:.1}", report.seconds)) }
        }
        h2 { "Rows" }
        (widgets::table("Rows", &head, rows))
        h2 { "Some that differ" }
        @if !visit.caller.may(Role::Operator) {
            (widgets::not_allowed("Looking at rows"))
        } @else if report.differences.is_empty() {
            (widgets::empty("No row differs."))
        } @else {
            (differences(&report.differences))
        }
    }
}

fn differences(differences: &[RowDifference]) -> Markup {
    let side = |row: &Option<Value>| match row {
        Some(row) => row.to_string(),
        None => "–".to_owned(),
    };
    let rows = html! {
        @for row in differences {
            tr {
                td { (row.schema) "." (row.table) }
                td.mono { (row.key) }
                td.mono { (side(&row.before)) }
                td.mono { (side(&row.after)) }
            }
        }
    };
    widgets::table(
        "Rows that differ",
        &["Table", "Key", "Before", "After"],
        rows,
    )
}

fn confirm(visit: &Visit<'_>, id: u64, request: &Request) -> Markup {
    let pipeline = &visit.console.endpoints.names.pipeline;
    let verb = match &request.into {
        Destination::Live => "Replay into the live tables".to_owned(),
        Destination::Schema(schema) => format!("Copy into {schema}"),
    };
    html! {
        h2 { "5. Confirm" }
        (action_form(visit.caller, "replay-run", html! {
            input type="hidden" name="plan" value=(id);
            (widgets::reason_field("run-why"))
            (widgets::confirm_field("run-confirm", pipeline))
            button.main { (verb) }
        }))
    }
}

fn history(visit: &Visit<'_>, entries: &[Entry]) -> Markup {
    if entries.is_empty() {
        return widgets::empty("Nothing was replayed yet.");
    }
    let may = visit.caller.may(Role::Operator);
    let rows = html! {
        @for entry in entries {
            tr {
                td { "№ " (entry.id) }
                td { (widgets::moment(entry.started_at)) }
                td { (entry.started_by) }
                td.mono { (entry.from) " – " (entry.to) }
                td { (into(&entry.into)) }
                td { (tables(entry)) }
                td.number { (widgets::count(entry.rows_read)) }
                td { (state(&entry.state)) @if let Some(error) = &entry.error { " " (error) } }
                td { (took(entry)) }
                td { (entry.reason) }
                @if may { td { (entry_action(visit, entry)) } }
            }
        }
    };
    let mut head = vec![
        "Replay",
        "Begun",
        "By",
        "LSNs",
        "Into",
        "Tables",
        "Changes read",
        "State",
        "Took",
        "Why",
    ];
    if may {
        head.push("Action");
    }
    widgets::table("History of replays", &head, rows)
}

fn into(into: &Destination) -> String {
    match into {
        Destination::Live => "live tables".to_owned(),
        Destination::Schema(schema) => format!("schema {schema}"),
    }
}

fn tables(entry: &Entry) -> String {
    match entry.tables.as_slice() {
        [] => "all".to_owned(),
        some => some
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn state(state: &str) -> Markup {
    let how = match state {
        "done" => State::Good,
        "failed" => State::Bad,
        "running" => State::Warn,
        _ => State::Unknown,
    };
    html! { span.badge data-state=(how.name()) { (state) } }
}

fn took(entry: &Entry) -> String {
    let until = entry.finished_at.unwrap_or(entry.touched_at);
    widgets::duration(until.duration_since(entry.started_at).unwrap_or_default())
}

fn entry_action(visit: &Visit<'_>, entry: &Entry) -> Markup {
    let id = html! { input type="hidden" name="id" value=(entry.id); };
    match entry.state.as_str() {
        "running" => action_form(
            visit.caller,
            "replay-cancel",
            html! {
                (id) button { "Cancel replay " (entry.id) }
            },
        ),
        "cancelled" | "failed" => action_form(
            visit.caller,
            "replay-resume",
            html! {
                (id) button { "Resume replay " (entry.id) }
            },
        ),
        _ => html! {},
    }
}
