//! Changes that apply has set aside: by their fault, one by one, and one beside its row.

use maud::{Markup, html};
use operate::dead_letters::{self, Group, LETTERS_MAX, Letter, Selection, Side};
use tokio_postgres::Client;

use super::Visit;
use super::tables;
use crate::facts::State;
use crate::frame::{Page, Section, action_form};
use crate::http::path_segment;
use crate::users::Role;
use crate::widgets;

/// Letters on a page.
pub(crate) const PAGE: i64 = 50;

/// The list, or one letter.
pub(super) async fn find(visit: &Visit<'_>, path: &[&str]) -> Option<Page> {
    match path {
        [] => Some(all(visit).await),
        [id] => one(visit, id.parse().ok()?).await,
        _ => None,
    }
}

async fn all(visit: &Visit<'_>) -> Page {
    let pipeline = &visit.console.endpoints.names.pipeline;
    let selection = selection(visit);
    let asked = visit.console.target.ask(async |target: &Client| {
        let groups = dead_letters::groups(target, pipeline).await?;
        Ok((
            groups,
            dead_letters::list(target, pipeline, &selection).await?,
        ))
    });
    let body = match asked.await {
        Err(error) => widgets::failed("Dead letters", &error),
        Ok((groups, letters)) => html! {
            @if groups.is_empty() {
                (widgets::empty("No dead letter is open: the target has taken every change."))
            } @else {
                h2 { "By fault" }
                (group_table(visit, &groups))
            }
            h2 { "One by one" }
            (filters(visit, &selection))
            (letter_table(visit, &letters, selection.limit))
            (widgets::command_line("lockstep dead-letters list"))
        },
    };
    Page::new(Section::DeadLetters, "Dead letters", body)
}

/// What of the list a query wants.
pub(crate) fn selection(visit: &Visit<'_>) -> Selection {
    let table = visit.query.one("table");
    let limit = visit.query.one("limit").and_then(|it| it.parse().ok());
    Selection {
        all: visit.query.one("state") == Some("all"),
        table: table.and_then(|table| table.parse().ok()),
        sqlstate: visit.query.one("sqlstate").map(str::to_owned),
        after: visit.query.one("after").and_then(|id| id.parse().ok()),
        limit: limit.unwrap_or(PAGE).clamp(0, LETTERS_MAX),
    }
}

fn group_table(visit: &Visit<'_>, groups: &[Group]) -> Markup {
    let may = visit.caller.may(Role::Operator);
    let rows = html! {
        @for group in groups {
            tr {
                td { a href=(tables::path(&group.table)) { (group.table) } }
                td { (group.error) }
                td.mono { (group.sqlstate.as_deref().unwrap_or("–")) }
                td.number { (widgets::count(u64::try_from(group.letters).unwrap_or(0))) }
                td { (widgets::age(group.oldest_seconds)) }
                @if may {
                    td {
                        @if let Some(sqlstate) = &group.sqlstate {
                            (action_form(visit.caller, "redrive-group", html! {
                                input type="hidden" name="table" value=(group.table);
                                input type="hidden" name="sqlstate" value=(sqlstate);
                                button { "Retry " (group.letters) @if group.letters == 1 { " letter" } @else { " letters" } }
                            }))
                        }
                    }
                }
            }
        }
    };
    let mut head = vec!["Table", "Error", "SQLSTATE", "Letters", "Oldest"];
    if may {
        head.push("Action");
    }
    widgets::table("Dead letters by fault", &head, rows)
}

fn filters(visit: &Visit<'_>, selection: &Selection) -> Markup {
    html! {
        form.filters method="get" action="/dead-letters" role="search" {
            div.field {
                label for="table" { "Table" }
                input #table name="table" placeholder="schema.table" value=(visit.query.one("table").unwrap_or_default());
            }
            div.field {
                label for="sqlstate" { "SQLSTATE" }
                input #sqlstate name="sqlstate" size="6" value=(selection.sqlstate.as_deref().unwrap_or_default());
            }
            div.field {
                label for="state" { "State" }
                select #state name="state" {
                    option value="open" selected[!selection.all] { "open" }
                    option value="all" selected[selection.all] { "all" }
                }
            }
            button { "Find letters" }
        }
    }
}

fn letter_table(visit: &Visit<'_>, letters: &[Letter], limit: i64) -> Markup {
    if letters.is_empty() {
        return widgets::empty("No letter is like that.");
    }
    let rows = html! {
        @for letter in letters {
            tr {
                td { a href={ "/dead-letters/" (letter.id) } { "№ " (letter.id) } }
                td { (widgets::age(letter.age_seconds)) }
                td { (letter.table) }
                td { (letter.op) }
                td.mono { (letter.commit_lsn) ":" (letter.ordinal) }
                td { (letter.error_class) }
                td.mono { (letter.sqlstate.as_deref().unwrap_or("–")) }
                td.number { (letter.attempts) }
                td { (badge(&letter.state)) }
            }
        }
    };
    let full = i64::try_from(letters.len()).is_ok_and(|count| count == limit);
    let last = letters.last().filter(|_| full);
    let link = |letter: &Letter| {
        let query = visit.query.query_with("after", &letter.id.to_string());
        format!("/dead-letters?{query}")
    };
    let first = visit.query.one("after").is_some();
    let head = [
        "Letter", "Age", "Table", "Change", "LSN", "Class", "SQLSTATE", "Attempts", "State",
    ];
    html! {
        (widgets::table("Dead letters", &head, rows))
        (widgets::pager(first.then(|| "/dead-letters".to_owned()), last.map(link), ""))
    }
}

fn badge(state: &str) -> Markup {
    let how = match state {
        "open" => State::Warn,
        "applied" => State::Good,
        _ => State::Unknown,
    };
    html! { span.badge data-state=(how.name()) { (state) } }
}

async fn one(visit: &Visit<'_>, id: i64) -> Option<Page> {
    let title = format!("Dead letter № {id}");
    let pipeline = &visit.console.endpoints.names.pipeline;
    let ask = async |target: &Client| dead_letters::letter_of(target, pipeline, id).await;
    let letter = match visit.console.target.ask(ask).await {
        Ok(letter) => letter?,
        Err(error) => {
            let body = widgets::failed("The letter", &error);
            return Some(Page::new(Section::DeadLetters, title, body));
        }
    };
    let body = html! {
        (about(&letter))
        h2 { "What the change wants beside what is there" }
        // Rows are people's data: looking at them takes more than a look at the pipeline.
        @if visit.caller.may(Role::Operator) {
            @match dead_letters::sides(&visit.console.endpoints.target, pipeline, id).await {
                Ok(Some(sides)) => (side_table(&sides)),
                Ok(None) => (widgets::empty("The letter is gone.")),
                Err(error) => (widgets::failed("The comparison", &error)),
            }
            @if letter.state == "open" { (actions(visit, id)) }
        } @else {
            (widgets::not_allowed("Looking at rows"))
        }
        p { a href={ "/dead-letters?table=" (path_segment(&letter.table)) } { "Letters of " (letter.table) } }
    };
    Some(Page::new(Section::DeadLetters, title, body))
}

fn about(letter: &Letter) -> Markup {
    html! {
        p { (badge(&letter.state)) " " (letter.error) }
        dl {
            dt { "Table" } dd { a href=(tables::path(&letter.table)) { (letter.table) } }
            dt { "Change" } dd { (letter.op) " at " code { (letter.commit_lsn) ":" (letter.ordinal) } }
            dt { "Class, SQLSTATE" } dd { (letter.error_class) ", " (letter.sqlstate.as_deref().unwrap_or("none")) }
            dt { "Constraint" } dd { (letter.constraint.as_deref().unwrap_or("none")) }
            dt { "Attempts" } dd { (letter.attempts) }
            dt { "Set aside" } dd { (widgets::age(letter.age_seconds)) }
            dt { "Record" }
            dd {
                a href={ "/topics/" (path_segment(&letter.topic)) "?partition=" (letter.partition) "&from=offset&value=" (letter.offset) } {
                    (letter.topic) ", partition " (letter.partition) ", offset " (letter.offset)
                }
            }
            @if let Some(who) = &letter.closed_by {
                dt { "Closed by" } dd { (who) }
                dt { "Why" } dd { (letter.closed_why.as_deref().unwrap_or("–")) }
            }
        }
    }
}

fn side_table(sides: &[Side]) -> Markup {
    let rows = html! {
        @for side in sides {
            @let differs = !side.unchanged && side.wanted != side.present;
            tr {
                th scope="row" { (side.column) @if side.is_key { " (key)" } }
                td.mono.changed[differs] {
                    @if side.unchanged { span.faint { "left as it is" } } @else { (value(side.wanted.as_deref())) }
                }
                td.mono { (value(side.present.as_deref())) }
            }
        }
    };
    widgets::table(
        "Wanted and present row",
        &["Column", "Wanted", "Present"],
        rows,
    )
}

fn value(text: Option<&str>) -> Markup {
    match text {
        Some(text) => html! { (text) },
        None => html! { span.faint { "NULL, or no row" } },
    }
}

fn actions(visit: &Visit<'_>, id: i64) -> Markup {
    html! {
        h2 { "Actions" }
        div.actions {
            (action_form(visit.caller, "redrive", html! {
                input type="hidden" name="id" value=(id);
                button.main { "Retry this letter" }
            }))
        }
        (widgets::command_line(&format!("lockstep dead-letters redrive {id}")))
        @if visit.caller.may(Role::Admin) {
            p { "Discarding it makes source and target differ." }
            (action_form(visit.caller, "discard", html! {
                input type="hidden" name="id" value=(id);
                (widgets::reason_field("discard-why"))
                (widgets::confirm_field("discard-confirm", &id.to_string()))
                button.danger { "Discard this letter" }
            }))
            (widgets::command_line(&format!("lockstep dead-letters discard {id} --reason …")))
        }
    }
}
