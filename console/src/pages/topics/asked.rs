//! Which records of a topic a query asks for, and the form that makes such a query.

use anyhow::{Context, bail};
use change::topic::Topics;
use chrono::{DateTime, NaiveDateTime, Utc};
use maud::{Markup, html};
use operate::topics::{Direction, Question, RECORDS_MAX, Start, topic_of};

use crate::http::{Pairs, path_segment};
use crate::pages::Visit;

/// Records on a page, unless the query says otherwise.
const LIMIT: usize = 25;
/// Longer values, and raw bytes, are cut; a record alone on its page is shown further.
const BYTES_MAX: usize = 2 * 1024;
const BYTES_MAX_ALONE: usize = 256 * 1024;

/// The values of `from`, with how people call them.
const STARTS: [(&str, &str); 5] = [
    ("latest", "latest records"),
    ("earliest", "first records"),
    ("lsn", "LSN"),
    ("offset", "offset"),
    ("time", "time (UTC)"),
];

/// # Errors
/// When the query is none; the text says what is wrong with it.
pub(crate) fn question(visit: &Visit<'_>, topic: &str) -> anyhow::Result<Question> {
    let query = visit.query;
    let limit: usize = match query.one("limit") {
        Some(limit) => limit.parse().context("limit is no number")?,
        None => LIMIT,
    };
    let partitions = query.all("partition").map(|partition| {
        let number = partition.parse::<i32>();
        number.context("partition is no number")
    });
    let bytes_max = match (query.one("bytes"), limit) {
        (Some(bytes), _) => bytes.parse().context("bytes is no number")?,
        (None, 1) => BYTES_MAX_ALONE,
        (None, _) => BYTES_MAX,
    };
    let bytes_max = bytes_max.min(BYTES_MAX_ALONE);
    let topics = Topics::new(&visit.console.endpoints.names.prefix)?;
    Ok(Question {
        topic: topic_of(topic, &topics)?,
        partitions: partitions.collect::<anyhow::Result<_>>()?,
        start: start(query)?,
        direction: match query.one("direction") {
            Some("backwards") => Direction::Backwards,
            None | Some("forwards") => Direction::Forwards,
            Some(_) => bail!("direction is one of forwards, backwards"),
        },
        limit: limit.clamp(1, RECORDS_MAX),
        key: query.one("key").map(str::to_owned),
        value_bytes_max: bytes_max,
        raw_bytes_max: bytes_max,
    })
}

fn start(query: &Pairs) -> anyhow::Result<Start> {
    if let Some(place) = query.one("at") {
        return Ok(Start::Place(place.parse()?));
    }
    let value = query.one("value").unwrap_or_default();
    Ok(match query.one("from") {
        None | Some("latest") => Start::Latest,
        Some("earliest") => Start::Earliest,
        Some("lsn") => Start::Lsn(value.parse()?),
        Some("offset") => {
            let offset: u32 = value.parse().context("an offset is a whole number")?;
            Start::Offset(offset.into())
        }
        Some("time") => Start::Time(time(value)?.timestamp_millis()),
        Some(_) => bail!("from is one of latest, earliest, lsn, offset, time"),
    })
}

/// As RFC 3339 has it; without a zone it is UTC, and the seconds may be missing.
fn time(text: &str) -> anyhow::Result<DateTime<Utc>> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let formats = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ];
    let mut parsed = formats
        .iter()
        .map(|it| NaiveDateTime::parse_from_str(text, it));
    let time = parsed.find_map(Result::ok);
    Ok(time
        .context("a time looks like 2026-02-28T12:00:00Z")?
        .and_utc())
}

pub(super) fn form(visit: &Visit<'_>, topic: &str) -> Markup {
    let query = visit.query;
    let from = query.one("from").unwrap_or("latest");
    let value = query.one("value").unwrap_or_default();
    let key = query.one("key").unwrap_or_default();
    let partition = query.one("partition").unwrap_or_default();
    html! {
        form.filters method="get" action={ "/topics/" (path_segment(topic)) } {
            div.field {
                label for="from" { "Begin at" }
                select #from name="from" {
                    @for (name, text) in STARTS {
                        option value=(name) selected[name == from] { (text) }
                    }
                }
            }
            div.field {
                label for="value" { "LSN, offset or time" }
                input #value name="value" value=(value) placeholder="0/1A2B3C8" aria-describedby="value-help";
            }
            div.field {
                label for="key" { "Key" }
                input #key name="key" value=(key) placeholder="7 or id=7";
            }
            div.field {
                label for="partition" { "Partition" }
                input #partition name="partition" value=(partition) size="6" inputmode="numeric" placeholder="all";
            }
            div.field {
                label for="direction" { "Read" }
                @let backwards = query.one("direction") == Some("backwards");
                select #direction name="direction" {
                    option value="forwards" selected[!backwards] { "towards newer" }
                    option value="backwards" selected[backwards] { "towards older" }
                }
            }
            button.main { "Show records" }
        }
        p #value-help.faint {
            "An LSN leads to the first record of the transaction that committed there, or of the next one."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: [(&str, &str); 2], expected: Option<&Start>) {
        assert_eq!(
            start(&Pairs::from(pairs)).ok().as_ref(),
            expected,
            "{pairs:?}"
        );
    }

    #[test]
    fn a_query_says_where_to_begin() {
        check(
            [("from", "lsn"), ("value", "0/10")],
            Some(&Start::Lsn(16.into())),
        );
        check(
            [("from", "offset"), ("value", "12")],
            Some(&Start::Offset(12)),
        );
        let time = Some(&Start::Time(1_700_000_000_000));
        check([("from", "time"), ("value", "2023-11-14T22:13:20Z")], time);
        check([("from", "time"), ("value", "2023-11-14 22:13:20")], time);
        check([("from", "latest"), ("value", "")], Some(&Start::Latest));
        let place = Start::Place("0:1,1:2".parse().unwrap());
        check([("from", "lsn"), ("at", "0:1,1:2")], Some(&place));
        for (from, value) in [("lsn", "7"), ("offset", "-1"), ("time", "now"), ("end", "")] {
            check([("from", from), ("value", value)], None);
        }
    }
}
