//! One record.

use maud::{Markup, html};
use operate::topics::{Cell, Commit, Record, Shown, Standing};

use crate::http::path_segment;
use crate::widgets;

pub(super) fn article(path: &str, record: &Record) -> Markup {
    let place = format!("{}:{}", record.partition, record.offset);
    let what = record.operation.as_deref().unwrap_or(match &record.commit {
        Some(commit) => &commit.kind,
        None => "record",
    });
    html! {
        article.card.record aria-label={ "Record " (place) } {
            h3 {
                a href={ "/topics/" (path) "?partition=" (record.partition) "&from=offset&value=" (record.offset) "&limit=1" } { (place) }
                " " (what)
                @if let Some(key) = &record.key { " " code { (key) } }
                " " (standing(record))
            }
            (facts(record))
            @if let Some(error) = &record.error {
                div.notice data-state="bad" { p { "Cannot be read: " (error) } }
            }
            @if record.before.is_some() || record.after.is_some() { (cells(record)) }
            @if let Some(commit) = &record.commit { (committed(commit)) }
            (raw(record))
        }
    }
}

fn standing(record: &Record) -> Markup {
    let (state, word, why) = match &record.standing {
        None => return html! {},
        Some(Standing::Counts { .. }) => ("good", "counts", None),
        Some(Standing::Orphan { why }) => ("bad", "does not count", Some(why.as_ref())),
        Some(Standing::Pending) => (
            "warn",
            "does not count yet",
            Some("its commits record is still to come"),
        ),
        Some(Standing::Unknown { why }) => {
            ("unknown", "unknown whether it counts", Some(why.as_ref()))
        }
    };
    html! {
        span.badge data-state=(state) { (word) }
        @if let Some(why) = why { " " small { (why) } }
    }
}

fn facts(record: &Record) -> Markup {
    let lsn = record
        .commit_lsn
        .as_deref()
        .map(|lsn| match record.ordinal {
            Some(ordinal) => format!("{lsn}, change {ordinal}"),
            None => lsn.to_owned(),
        });
    let number = |number: Option<i64>| number.map(|it| it.to_string());
    let facts = [
        ("Committed", record.time.clone()),
        ("LSN", lsn),
        ("Transaction", number(record.xid)),
        ("Epoch", number(record.epoch)),
        ("Schema", record.schema_id.map(|id| format!("id {id}"))),
    ];
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value { dt { (name) } dd { (value) } }
            }
            @for (name, value) in &record.headers {
                dt { "Header " (name) } dd { (value.as_str().unwrap_or_default()) }
            }
        }
    }
}

fn cells(record: &Record) -> Markup {
    let rows = html! { @for cell in &record.cells { (row(cell)) } };
    html! {
        @if record.operation.as_deref() == Some("update") && record.changed.is_none() {
            p.faint {
                "What changed is not told: the source sends what was before under REPLICA IDENTITY FULL only."
            }
        }
        (widgets::table("Columns", &["Column", "Type", "Before", "After"], rows))
    }
}

fn row(cell: &Cell) -> Markup {
    html! {
        tr {
            th scope="row" {
                span.changed[cell.changed] { (cell.column) }
                @if cell.in_key { " " small { "key" } }
                @if cell.changed { " " small { "changed" } }
            }
            td { (cell.type_name) }
            td { @if cell.changed { del { (value(&cell.before)) } } @else { (value(&cell.before)) } }
            td { @if cell.changed { ins { (value(&cell.after)) } } @else { (value(&cell.after)) } }
        }
    }
}

fn value(shown: &Shown) -> Markup {
    match shown {
        Shown::Absent => html! { span.faint { "not sent" } },
        Shown::Null => html! { span.faint { "null" } },
        Shown::Unchanged => html! { span.faint { "unchanged, not sent" } },
        Shown::Text {
            text,
            is_image,
            exact,
            cut,
        } => html! {
            code { (text) @if cut.is_some() { "…" } }
            @if *is_image { " " small { "binary image" } }
            @if *exact { " " small { "sent as its image" } }
            @if let Some(length) = cut { " " small { (widgets::count(*length as u64)) " bytes" } }
        },
    }
}

fn committed(commit: &Commit) -> Markup {
    let rows = html! {
        @for range in &commit.ranges {
            tr {
                td { a href={ "/topics/" (path_segment(&range.topic)) "?partition=" (range.partition) "&from=offset&value=" (range.first_offset) } { (range.topic) } }
                td.number { (range.partition) }
                td.number { (range.first_offset) }
                td.number { (range.end_offset) }
                td.number { (range.records) }
            }
        }
    };
    html! {
        dl {
            dt { "After" } dd { (commit.previous_commit_lsn) }
            dt { "Up to" } dd { (commit.commit_lsn) }
            dt { "Transactions" } dd { (widgets::count(commit.transactions as u64)) }
            dt { "Records" } dd { (widgets::count(commit.records)) }
            dt { "Epoch, slot, timeline" } dd { (commit.epoch) ", " (commit.slot) ", " (commit.timeline) }
        }
        @if !commit.ranges.is_empty() {
            (widgets::table("Covered offsets", &["Topic", "Partition", "From", "Until", "Records"], rows))
        }
    }
}

fn raw(record: &Record) -> Markup {
    html! {
        details {
            summary { "Raw bytes (" (widgets::count(record.value_bytes as u64)) ")" }
            @if let Some(key) = &record.key_hex { h4 { "Key" } pre tabindex="0" { (lines(key)) } }
            @match &record.value_hex {
                Some(value) => { h4 { "Value" } pre tabindex="0" { (lines(value)) } }
                None => { p { "No value: a tombstone." } }
            }
        }
    }
}

/// Sixteen bytes on a line, in pairs of digits.
fn lines(hex: &str) -> String {
    let mut text = String::with_capacity(hex.len() * 2);
    for (at, digit) in hex.chars().enumerate() {
        match at {
            0 => {}
            at if at % 32 == 0 => text.push('\n'),
            at if at % 2 == 0 => text.push(' '),
            _ => {}
        }
        text.push(digit);
    }
    text
}
