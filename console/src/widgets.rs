//! What pages are made of.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use operate::units;

use crate::facts::State;

/// What is not known; never zero.
pub(crate) const UNKNOWN: &str = "unknown";

/// Instead of content that there is none of, with what would bring some.
pub(crate) fn empty(text: &str) -> Markup {
    html! { p.empty { (text) } }
}

/// Instead of content that could not be had. The text says why and names no value.
pub(crate) fn failed(what: &str, error: &anyhow::Error) -> Markup {
    html! {
        div.notice data-state="bad" role="status" {
            p { strong { (what) " cannot be shown" } }
            p { (format!("{error:#}")) }
            p { "This page shows it again as soon as it can: reload it in a moment." }
        }
    }
}

/// Instead of content that the caller's role does not allow.
pub(crate) fn not_allowed(what: &str) -> Markup {
    html! { p.empty { (what) " needs the role operator or admin." } }
}

pub(crate) fn unknown() -> Markup {
    html! { span.badge data-state=(State::Unknown.name()) { (UNKNOWN) } }
}

/// The word of a state, where the text beside it does not say how good that is.
pub(crate) fn signed(state: State) -> Markup {
    let word = match state {
        State::Plain => return html! {},
        State::Good => "good",
        State::Warn => "warning",
        State::Bad => "trouble",
        State::Unknown => UNKNOWN,
    };
    html! { span.badge data-state=(state.name()) { (word) } " " }
}

/// Why something is done, for the audit log.
pub(crate) fn reason_field(id: &str) -> Markup {
    html! {
        div.field { label for=(id) { "Why" } input id=(id) name="reason" autocomplete="off"; }
    }
}

/// Where the name of what is changed is typed, so that it is not done by a slip.
pub(crate) fn confirm_field(id: &str, name: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { "Type " strong { (name) } " to confirm" }
            input id=(id) name="confirm" autocomplete="off" required;
        }
    }
}

/// A URL without the user and password that may stand in it.
pub(crate) fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

/// How long ago, as the database counts it.
pub(crate) fn age(seconds: i64) -> String {
    let age = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    format!("{} ago", duration(age))
}

/// Bytes of a chart, whose numbers are floating-point.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and what is not a number becomes zero"
)]
pub(crate) fn bytes_of(value: f64) -> String {
    units::bytes(value as u64)
}

/// A moment for people and programs; pages show it in local time as well.
pub(crate) fn moment(at: SystemTime) -> Markup {
    let at = DateTime::<Utc>::from(at);
    let exact = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    html! { time datetime=(exact) { (at.format("%Y-%m-%d %H:%M:%S UTC")) } }
}

/// Microseconds since 1970.
pub(crate) fn time_of_micros(micros: i64) -> SystemTime {
    let since = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    SystemTime::UNIX_EPOCH + since
}

/// `3 s ago`, with the moment behind it.
pub(crate) fn ago(at: SystemTime) -> Markup {
    let exact = DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true);
    let age = SystemTime::now().duration_since(at).unwrap_or_default();
    html! { time.ago datetime=(exact) title=(exact) { (duration(age)) " ago" } }
}

/// The largest unit that is at least one, with one more below: `3 h 5 min`.
pub(crate) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Numbers with their thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// How the same is done by the command line.
pub(crate) fn command_line(command: &str) -> Markup {
    html! { p.cli { "On the command line: " code { (command) } } }
}

/// A table that scrolls in itself where the window is narrow, and that the keyboard can scroll.
pub(crate) fn table(label: &str, head: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                caption.hidden { (label) }
                thead { tr { @for title in head { th scope="col" { (title) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// Links to the pages before and after this one.
pub(crate) fn pager(previous: Option<String>, next: Option<String>, place: &str) -> Markup {
    html! {
        nav.pager aria-label="Pages" {
            @if let Some(previous) = previous { a href=(previous) rel="prev" { "← Previous" } }
            span { (place) }
            @if let Some(next) = next { a href=(next) rel="next" { "Next →" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (61, "1 min 1 s"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
