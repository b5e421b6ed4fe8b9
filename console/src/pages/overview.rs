//! How it is: one line that says whether all is well, and where the changes are.

use maud::{Markup, html};

use super::Visit;
use crate::facts::Facts;
use crate::frame::{Page, Section, action_form};
use crate::live::{Range, Series};
use crate::users::Role;

pub(super) fn page(visit: &Visit<'_>) -> Page {
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
            dt { "Source" } dd { (facts.show("source.lsn")) }
            dt { "Topics" } dd { (facts.show("topics.lsn")) }
            dt { "Target" } dd { (facts.show("target.lsn")) }
        }
        @if visit.caller.may(Role::Operator) {
            div.actions {
                (action_form(visit.caller, "pause-apply", html! { button { "Pause apply" } }))
                (action_form(visit.caller, "resume-apply", html! { button { "Resume apply" } }))
            }
        }
        (ranges(range))
        div.grid {
            (chart("Lag", "s", &[("capture", Series::CaptureLagSeconds), ("apply", Series::ApplyLagSeconds)]))
            (chart("Retained WAL", "B", &[("retained", Series::RetainedBytes), ("still safe", Series::SafeWalBytes)]))
        }
    };
    Page::new(Section::Overview, "Overview", body).with_charts()
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

/// Drawn by `charts.js` from the console's memory.
fn chart(title: &str, unit: &str, series: &[(&str, Series)]) -> Markup {
    let names: Vec<&str> = series.iter().map(|(_, series)| series.name()).collect();
    let labels: Vec<&str> = series.iter().map(|(label, _)| *label).collect();
    html! {
        figure.chart data-series=(names.join(" ")) data-labels=(labels.join("|")) data-unit=(unit) {
            figcaption { (title) }
            div.plot { noscript { "Charts need JavaScript." } }
        }
    }
}
