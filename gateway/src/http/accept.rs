//! Which of its two media types a client wants an answer in.

use super::{HeaderMap, header};

/// The media type of an answer. They differ in what the status code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// `application/graphql-response+json`: 4xx for a request that was not executed.
    GraphqlResponse,
    /// `application/json`: 200 for whatever could be read.
    Json,
}

impl Accepted {
    /// What the client likes best; none when it takes neither. Without `Accept`, JSON.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::ACCEPT) {
            return Some(Self::Json);
        }
        let response = weight(headers, "application/graphql-response+json");
        let json = weight(headers, "application/json");
        match (response, json) {
            (None, None) => None,
            // Only who names it knows what its status codes mean.
            (Some(response), json) if names(headers) && Some(response) >= json => {
                Some(Self::GraphqlResponse)
            }
            (_, Some(_)) => Some(Self::Json),
            (Some(_), None) => Some(Self::GraphqlResponse),
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// Whether the client is a browser that wants a page.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    ranges(headers).any(|(range, _)| range.eq_ignore_ascii_case("text/html"))
}

fn names(headers: &HeaderMap) -> bool {
    ranges(headers)
        .any(|(range, _)| range.eq_ignore_ascii_case("application/graphql-response+json"))
}

/// The weight, in thousandths, of the most specific range that fits; none where it is 0.
fn weight(headers: &HeaderMap, offered: &str) -> Option<u16> {
    let rank = |range: &str| match range {
        "*/*" => Some(0),
        "application/*" => Some(1),
        range if range.eq_ignore_ascii_case(offered) => Some(2),
        _ => None,
    };
    let fitting = ranges(headers).filter_map(|(range, weight)| Some((rank(&range)?, weight)));
    let (_, weight) = fitting.max_by_key(|(rank, _)| *rank)?;
    (weight > 0).then_some(weight)
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (String, u16)> {
    let values = headers.get_all(header::ACCEPT).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        let thousandths = (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1000"
        )]
        let thousandths = thousandths as u16;
        (name, thousandths)
    })
}

#[cfg(test)]
mod tests {
    use super::super::HeaderValue;
    use super::*;

    #[track_caller]
    fn accepted(accept: &'static str, expected: Option<Accepted>) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(Accepted::of(&headers), expected, "{accept}");
    }

    #[test]
    fn the_new_type_is_for_who_names_it() {
        let (new, json) = (Some(Accepted::GraphqlResponse), Some(Accepted::Json));
        accepted("application/graphql-response+json", new);
        accepted(
            "application/graphql-response+json, application/json;q=0.9",
            new,
        );
        accepted(
            "application/json, application/graphql-response+json;q=0.5",
            json,
        );
        accepted("application/json", json);
        accepted("*/*", json);
        accepted("application/*", json);
        accepted("text/html, */*;q=0.1", json);
        accepted("text/html", None);
        accepted("application/json;q=0", None);
        assert_eq!(Accepted::of(&HeaderMap::new()), json);
    }
}
