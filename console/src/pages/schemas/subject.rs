//! A subject: its versions, what each changed, and two of them side by side.

use change::topic::Topics;
use maud::{Markup, html};
use operate::registry::Level;
use operate::schemas::{self, Comparison, Line, SubjectDetail, VersionDetail};

use crate::frame::{Page, Section, action_form};
use crate::http::path_segment;
use crate::pages::Visit;
use crate::users::Role;
use crate::widgets;

pub(super) async fn page(visit: &Visit<'_>, subject: &str) -> Page {
    let body = html! {
        @match detail(visit, subject).await {
            Ok(detail) => (shown(visit, &detail).await),
            Err(error) => (widgets::failed("The subject", &error)),
        }
        (widgets::command_line(&format!("lockstep schemas show {subject}")))
    };
    Page::new(Section::Schemas, subject, body)
}

pub(crate) async fn detail(visit: &Visit<'_>, subject: &str) -> anyhow::Result<SubjectDetail> {
    let names = Topics::new(&visit.console.endpoints.names.prefix)?;
    let registry = visit.console.registry()?;
    Ok(schemas::detail(registry, &names, subject).await?)
}

/// The two versions that a query names, compared.
pub(crate) async fn comparison(
    visit: &Visit<'_>,
    subject: &str,
    from: i32,
    to: i32,
) -> anyhow::Result<Comparison> {
    let registry = visit.console.registry()?;
    Ok(schemas::compare(registry, subject, from, to).await?)
}

async fn shown(visit: &Visit<'_>, detail: &SubjectDetail) -> Markup {
    let name = &detail.subject.name;
    let number = |name| visit.query.one(name).and_then(|it| it.parse::<i32>().ok());
    let versions: Vec<i32> = detail.history.iter().map(|it| it.version).collect();
    // The newest beside the one before it, unless the query says otherwise.
    let to = number("to").or(versions.first().copied());
    let from = number("with").or(versions.get(1).copied());
    html! {
        (facts(detail))
        h2 { "Versions" }
        (widgets::table(
            "Versions",
            &["Version", "Schema id", "What changed"],
            html! { @for version in &detail.history { (row(version)) } },
        ))
        @if let (Some(from), Some(to)) = (from, to) {
            h2 #diff { "Side by side" }
            (choice(name, &versions, from, to))
            @match comparison(visit, name, from, to).await {
                Ok(compared) => (side_by_side(&compared)),
                Err(error) => (widgets::failed("The comparison", &error)),
            }
        }
        h2 { "Would it be taken?" }
        (test_form(visit, name))
        @if visit.caller.may(Role::Admin) { (changes_form(visit, detail)) }
        @if let Some(latest) = detail.history.first() {
            h2 { "Text of version " (latest.version) }
            pre tabindex="0" { (schemas::pretty(&latest.schema)) }
        }
    }
}

fn facts(detail: &SubjectDetail) -> Markup {
    let subject = &detail.subject;
    html! {
        @if subject.deleted {
            div.notice data-state="warn" { p { "This subject is deleted, but not for ever: readers still find its schemas by their ids." } }
        }
        dl {
            dt { "Used by" } dd {
                @match &subject.topic {
                    Some(topic) => {
                        "the " @match subject.part { Some(part) => (part.name()), None => "records" } "s of topic "
                        a href={ "/topics/" (path_segment(topic)) } { (topic) }
                        @if let Some(table) = &subject.table { ", table " (table) }
                    },
                    None => { "no topic of this pipeline" },
                }
            }
            dt { "Level" } dd {
                @match &subject.level {
                    Some(level) => (level),
                    None => { (detail.global_level) ", the global level" },
                }
            }
        }
    }
}

fn row(version: &VersionDetail) -> Markup {
    html! {
        tr {
            td.number { (version.version) @if version.deleted { " " span.badge data-state="warn" { "deleted" } } }
            td.number { (version.id) }
            td { (changes(version.changes.as_deref())) }
        }
    }
}

fn changes(changes: Option<&[String]>) -> Markup {
    match changes {
        None => html! { span.faint { "the first that is shown" } },
        Some([]) => html! { "no column" },
        Some(changes) => html! { ul { @for change in changes { li { (change) } } } },
    }
}

fn choice(name: &str, versions: &[i32], from: i32, to: i32) -> Markup {
    let select = |id: &str, label: &str, chosen: i32| {
        html! {
            div.field {
                label for=(id) { (label) }
                select id=(id) name=(id) {
                    @for version in versions {
                        option value=(version) selected[*version == chosen] { (version) }
                    }
                }
            }
        }
    };
    html! {
        form.filters method="get" action={ "/schemas/" (path_segment(name)) "#diff" } {
            (select("with", "Version", from))
            (select("to", "beside version", to))
            button { "Compare" }
        }
    }
}

fn side_by_side(compared: &Comparison) -> Markup {
    html! {
        (changes(Some(&compared.changes)))
        div.scroll role="region" aria-label="Both versions side by side" tabindex="0" {
            table.diff {
                caption.hidden { "Version " (compared.from) " beside version " (compared.to) }
                thead { tr {
                    th scope="col" { span.hidden { "Line" } } th scope="col" { "Version " (compared.from) }
                    th scope="col" { span.hidden { "Line" } } th scope="col" { "Version " (compared.to) }
                } }
                tbody {
                    @for pair in &compared.lines {
                        tr { (side(pair.left.as_ref(), pair.same, "removed", "− ")) (side(pair.right.as_ref(), pair.same, "added", "+ ")) }
                    }
                }
            }
        }
    }
}

/// What differs has a sign before it: colour only repeats it.
fn side(line: Option<&Line>, same: bool, class: &str, sign: &str) -> Markup {
    match line {
        None => html! { td.line {} td {} },
        Some(line) if same => html! { td.line { (line.number) } td { "  " (line.text) } },
        Some(line) => html! { td.line { (line.number) } td class=(class) { (sign) (line.text) } },
    }
}

fn test_form(visit: &Visit<'_>, name: &str) -> Markup {
    let content = html! {
        input type="hidden" name="subject" value=(name);
        div.field.wide {
            label for="schema" { "Schema, as JSON" }
            textarea #schema name="schema" required spellcheck="false" {}
        }
        button { "Test compatibility" }
    };
    html! {
        p { "The registry says whether this schema could be the next version, and if not, why. Nothing is registered." }
        (action_form(visit.caller, "test-schema", content))
    }
}

/// Each needs the subject's name, typed; deleting for ever is a step of its own, behind the first.
fn changes_form(visit: &Visit<'_>, detail: &SubjectDetail) -> Markup {
    let name = &detail.subject.name;
    let own = detail.subject.level.as_deref();
    let level = html! {
        div.field {
            label for="level" { "Level" }
            select #level name="level" {
                option value="global" selected[own.is_none()] { "the global level, " (detail.global_level) }
                @for level in Level::ALL {
                    option value=(level.name()) selected[own == Some(level.name())] { (level.name()) }
                }
            }
        }
        (confirmation(name, "level"))
        button { "Set level" }
    };
    let live: Vec<i32> = versions(detail, false);
    let gone: Vec<i32> = versions(detail, true);
    html! {
        h2 { "Change" }
        fieldset { legend { "Level" } (action_form(visit.caller, "set-level", level)) }
        @if !live.is_empty() {
            fieldset {
                legend { "Delete" }
                p { "Readers still find deleted schemas by their ids." }
                (action_form(visit.caller, "delete-schema", deletion(name, "delete", &live, "Delete")))
            }
        }
        @if !gone.is_empty() {
            fieldset {
                legend { "Delete for ever" }
                p { "Records in the topics that name such a schema cannot be read any more, by anybody." }
                (action_form(visit.caller, "delete-schema-for-ever", deletion(name, "forever", &gone, "Delete for ever")))
            }
        }
    }
}

fn versions(detail: &SubjectDetail, is_deleted: bool) -> Vec<i32> {
    let versions = detail.history.iter().filter(|it| it.deleted == is_deleted);
    versions.map(|it| it.version).collect()
}

fn deletion(name: &str, id: &str, versions: &[i32], verb: &str) -> Markup {
    let select = format!("{id}-version");
    html! {
        div.field {
            label for=(select) { "Version" }
            select id=(select) name="version" {
                @for version in versions { option value=(version) { (version) } }
                option value="all" { "all: the subject" }
            }
        }
        (confirmation(name, id))
        button.danger { (verb) }
    }
}

fn confirmation(name: &str, id: &str) -> Markup {
    let (confirm, reason) = (format!("{id}-confirm"), format!("{id}-reason"));
    html! {
        input type="hidden" name="subject" value=(name);
        div.field {
            label for=(confirm) { "Type the subject's name" }
            input id=(confirm) name="confirm" required autocomplete="off" placeholder=(name);
        }
        div.field {
            label for=(reason) { "Reason" }
            input id=(reason) name="reason" autocomplete="off";
        }
    }
}
