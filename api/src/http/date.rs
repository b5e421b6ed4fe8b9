//! Dates as HTTP writes them (RFC 9110, section 5.6.7).

use chrono::{DateTime, NaiveDateTime, Utc};

const FIXED: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// What must be read besides, and is never sent: RFC 850's form, and C's asctime().
const OBSOLETE: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

pub(crate) fn http_date(time: DateTime<Utc>) -> String {
    time.format(FIXED).to_string()
}

pub(super) fn parse_http_date(text: &str) -> Option<DateTime<Utc>> {
    let mut forms = [FIXED].into_iter().chain(OBSOLETE);
    forms.find_map(|form| Some(NaiveDateTime::parse_from_str(text, form).ok()?.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read_and_one_is_written() {
        let time: DateTime<Utc> = "1994-11-06T08:49:37Z".parse().unwrap();
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http_date(text), Some(time), "{text}");
        }
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn everything_else_is_no_date() {
        for text in [
            "",
            "yesterday",
            "1994-11-06T08:49:37Z",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, x",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
