//! How it is: one line that says whether all is well, where the changes are, and what happened.

use std::time::SystemTime;

use maud::{Markup, html};
use operate::audit::{self, Entry};
use operate::capture;
use operate::control::Apply;
use tokio_postgres::Client;

use super::Visit;
use super::tables::{self, Standing};
use crate::facts::{Facts, State};
use crate::frame::{Page, Section, action_form};
use crate::live::{Look, Range, Series};
use crate::users::Role;
use crate::widgets;

pub(super) async fn page(visit: &Visit<'_>) -> Page {
    let look = visit.console.live.latest();
    let facts = Facts::of(look.as_deref());
    let range = visit
        .query
        .one("range")
        .and_then(Range::of)
        .unwrap_or_default();
    let body = html! {
        p.verdict { (facts.show("verdict")) " " (facts.show("phase")) }
        dl {
            dt { "Why" } dd { (facts.show("verdict.reason")) }
            dt { "What to do" } dd { (facts.show("verdict.mend")) }
        }
        h2 { "Where the changes are" }
        (stages(&facts))
        @if visit.caller.may(Role::Operator) { (pause_or_resume(visit, look.as_deref()).await) }
        (ranges(range))
        (charts(visit, range))
        h2 { "Tables that need attention" }
        (worst_tables(look.as_deref()))
        h2 { "Last events" }
        (events(visit).await)
    };
    Page::new(Section::Overview, "Overview", body).with_charts()
}

/// Databases and topics, and between them what moves the changes on, with rate and lag.
fn stages(facts: &Facts) -> Markup {
    html! {
        ol.stages {
            li { strong { "DB1" } "written to " (facts.show("stage.written.lsn")) }
            li.arrow { "capture" br; (facts.show("rate.written")) br; (facts.show("lag.capture")) " behind" }
            li { strong { "Kafka" } "acknowledged to " (facts.show("stage.acknowledged.lsn")) }
            li.arrow { "apply, " (facts.show("apply.state")) br; (facts.show("rate.applied")) br; (facts.show("lag.apply")) " behind" }
            li { strong { "DB2" } "visible to " (facts.show("stage.visible.lsn")) }
        }
        dl {
            dt { "Published" } dd { (facts.show("rate.published")) }
            dt { "Behind the log, end to end" }
            dd { (facts.show("stage.visible.bytes")) ", " (facts.show("stage.visible.seconds")) ", " (facts.show("stage.visible.trend")) }
            dt { "Commit to visible, p50 / p95 / p99" } dd { (facts.show("commit_to_visible")) }
            dt { "Held tables" } dd { (facts.show("tables.held")) }
            dt { "Open dead letters" } dd { a href="/dead-letters" { (facts.show("dead_letters.open")) } }
        }
    }
}

async fn pause_or_resume(visit: &Visit<'_>, look: Option<&Look>) -> Markup {
    let operations = look.and_then(|look| look.operations.as_ref());
    let apply = operations.map(|it| match it.value.apply_paused {
        true => Apply::Paused,
        false => Apply::Running,
    });
    let slot = &visit.console.endpoints.names.slot;
    let ask = async |source: &Client| capture::last_order(source, slot).await;
    let order = visit.console.source.ask(ask).await;
    let caller = visit.caller;
    html! {
        div.actions {
            @match order {
                Ok(Some(order)) if order.paused => (action_form(caller, "resume-capture", html! {
                    (widgets::reason_field("resume-capture-why")) button.main { "Resume capture" }
                })),
                Ok(_) => (action_form(caller, "pause-capture", html! {
                    (widgets::reason_field("pause-capture-why")) button { "Pause capture" }
                })),
                Err(_) => p.faint { "Capture can be paused once the source answers." },
            }
            @match apply {
                Some(Apply::Running) => (action_form(caller, "pause-apply", html! {
                    (widgets::reason_field("pause-why")) button { "Pause apply" }
                })),
                Some(Apply::Paused) => (action_form(caller, "resume-apply", html! {
                    (widgets::reason_field("resume-why")) button.main { "Resume apply" }
                })),
                None => p.faint { "Apply can be paused once the target answers." },
            }
        }
        (widgets::command_line("lockstep pause, lockstep resume"))
    }
}

fn ranges(current: Range) -> Markup {
    html! {
        nav.ranges aria-label="How far back the charts go" {
            @for range in Range::ALL {
                @let here = (range == current).then_some("true");
                a href={ "/?range=" (range.name()) } aria-current=[here] { (range.title()) }
            }
        }
    }
}

fn charts(visit: &Visit<'_>, range: Range) -> Markup {
    let lag = [
        ("end to end", Series::VisibleLagSeconds),
        ("capture", Series::CaptureLagSeconds),
        ("apply", Series::ApplyLagSeconds),
    ];
    let flow = [
        ("published", Series::PublishedPerSecond),
        ("applied", Series::AppliedPerSecond),
    ];
    let slot = [
        ("retained", Series::RetainedBytes),
        ("still safe", Series::SafeWalBytes),
    ];
    html! {
        div.grid {
            (chart(visit, range, "Lag", "s", &lag))
            (chart(visit, range, "Changes", "/s", &flow))
            (chart(visit, range, "WAL that the slot keeps", "B", &slot))
        }
    }
}

/// Drawn by `charts.js` from the console's memory; in words for who sees no chart.
fn chart(
    visit: &Visit<'_>,
    range: Range,
    title: &str,
    unit: &str,
    series: &[(&str, Series)],
) -> Markup {
    let names: Vec<&str> = series.iter().map(|(_, series)| series.name()).collect();
    let labels: Vec<&str> = series.iter().map(|(label, _)| *label).collect();
    let highest = |series: Series| {
        let known = visit.console.live.history().highest(range, series);
        known.map_or_else(
            || widgets::UNKNOWN.to_owned(),
            |value| match unit {
                "B" => widgets::bytes_of(value),
                unit => format!("{value:.0} {unit}"),
            },
        )
    };
    html! {
        figure.chart data-series=(names.join(" ")) data-labels=(labels.join("|")) data-unit=(unit) {
            figcaption { (title) ", last " (range.title()) }
            div.plot aria-hidden="true" {}
            dl {
                @for (label, series) in series {
                    dt { "Highest, " (label) } dd { (highest(*series)) }
                }
            }
        }
    }
}

/// Tables on the overview.
const WORST: usize = 5;

fn worst_tables(look: Option<&Look>) -> Markup {
    let Some(operations) = look.and_then(|look| look.operations.as_ref()) else {
        return widgets::empty(
            "Nothing is known of the tables before the target has answered once.",
        );
    };
    let standings = tables::standings(&operations.value);
    let mut worst: Vec<(&String, &Standing)> = standings.iter().collect();
    worst.sort_by_key(|(_, standing)| std::cmp::Reverse(standing.weight()));
    if worst.is_empty() {
        return widgets::empty("No table is held, and none has dead letters.");
    }
    let rows = html! {
        @for (table, standing) in worst.into_iter().take(WORST) {
            tr {
                td { a href=(tables::path(table)) { (table) } }
                td { (standing.badge()) }
                td.number { (standing.letters) }
                td { (standing.reason.as_deref().unwrap_or_default()) }
            }
        }
    };
    widgets::table(
        "Tables that need attention",
        &["Table", "State", "Dead letters", "Why"],
        rows,
    )
}

/// Events on the overview.
const EVENTS: usize = 10;

/// What the console has seen, and what people did.
async fn events(visit: &Visit<'_>) -> Markup {
    let seen = visit.console.live.happenings().last(EVENTS);
    let mut events: Vec<(SystemTime, String, State)> = seen
        .into_iter()
        .map(|happening| (happening.at, happening.text, happening.state))
        .collect();
    let pipeline = &visit.console.endpoints.names.pipeline;
    let ask = async |target: &Client| audit::entries(target, pipeline, None, 10).await;
    // Without the target the console's own memory still tells something.
    let entries = visit.console.target.ask(ask).await.unwrap_or_default();
    events.extend(entries.into_iter().map(|entry| {
        let at = widgets::time_of_micros(entry.at);
        (at, sentence(&entry), State::Plain)
    }));
    events.sort_by_key(|(at, _, _)| std::cmp::Reverse(*at));
    if events.is_empty() {
        return widgets::empty("Nothing has happened yet.");
    }
    let rows = html! {
        @for (at, text, state) in events.into_iter().take(EVENTS) {
            tr {
                td { (widgets::ago(at)) }
                td { (widgets::signed(state)) (text) }
            }
        }
    };
    widgets::table("Last events", &["When", "What"], rows)
}

fn sentence(entry: &Entry) -> String {
    let object = entry.object.as_deref().unwrap_or_default();
    let sentence = format!("{}: {} {object}", entry.who, entry.action);
    sentence.trim_end().to_owned()
}
