//! Search: what is looked for, and the hits.

use serde::Serialize;

use super::filter::Filter;
use super::model::Article;
use super::page::PageRequest;
use crate::http::{Problem, Query, encoded};

/// How many characters a search can have.
const TEXT_CHARACTERS: usize = 200;

/// A page of the articles that a text is found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchRequest {
    /// As people write searches: words, "phrases", or, -not.
    pub(crate) text: String,
    pub(crate) page: PageRequest,
}

/// An article that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Hit {
    #[serde(flatten)]
    pub(crate) article: Article,
    /// 0 to 1; the better, the greater.
    pub(crate) rank: f32,
    /// HTML in which nothing but the marks is markup.
    pub(crate) snippet: String,
}

impl SearchRequest {
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        let mut query = Query::parse(query);
        let filter = Filter::take(&mut query);
        let mut given = false;
        let text = query.take("q", |value| {
            given = true;
            text(value)
        });
        if !given {
            query.refuse("q", "required", "it says what to look for");
        }
        let shown = encoded(text.as_deref().unwrap_or_default());
        let base = format!("/api/v1/articles/search?q={shown}&");
        let page = PageRequest::take(&mut query, base, filter);
        query.end()?;
        let text = text.expect("without it the query is refused");
        Ok(Self { text, page })
    }
}

fn text(text: &str) -> Result<String, String> {
    let blank = |character: char| character.is_whitespace() || character.is_control();
    let short = (1..=TEXT_CHARACTERS).contains(&text.chars().count());
    match short && !text.contains('\0') && !text.chars().all(blank) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "1 to {TEXT_CHARACTERS} characters, none of them U+0000 and one of them visible"
        )),
    }
}

/// What Postgres puts around a hit: characters of no meaning that an excerpt does not have, since
/// they are taken out of the text first. Marks cannot be told from an article's own words later.
pub(super) const HIT_BEGINS: char = '\u{2}';
pub(super) const HIT_ENDS: char = '\u{3}';

/// How many characters of an excerpt are kept: a "word" can be as long as a whole text.
pub(super) const EXCERPT_CHARACTERS: i32 = 600;

/// The excerpt as HTML. Its end may be cut off, perhaps inside of a hit.
pub(super) fn snippet(excerpt: &str) -> String {
    let mut html = String::with_capacity(excerpt.len() + 32);
    let mut inside = false;
    for character in excerpt.chars() {
        match character {
            HIT_BEGINS if !inside => {
                inside = true;
                html.push_str("<mark>");
            }
            HIT_ENDS if inside => {
                inside = false;
                html.push_str("</mark>");
            }
            HIT_BEGINS | HIT_ENDS => {}
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    if inside {
        html.push_str("</mark>");
    }
    html
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn a_search_needs_a_text() {
        let longest = format!("q={}", "%C3%BC".repeat(TEXT_CHARACTERS));
        for right in ["q=a", "q=%22a+b%22+-c", "q=%F0%9F%A6%80", longest.as_str()] {
            assert!(SearchRequest::parse(right).is_ok(), "{right}");
        }
        let too_long = format!("q={}", "a".repeat(TEXT_CHARACTERS + 1));
        for wrong in [
            "",
            "page=1",
            "q=",
            "q=+",
            "q=%E3%80%80%0A%01",
            "q=a%00",
            "q=a&q=b",
            "q=a&ids=1",
            "q=a&page=0",
            too_long.as_str(),
        ] {
            assert!(SearchRequest::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_description_has_this_limit() {
        let document = crate::openapi::document();
        let schema = &document["components"]["parameters"]["Text"]["schema"];
        assert_eq!(schema["maxLength"], TEXT_CHARACTERS);
    }

    #[test]
    fn the_search_stands_in_every_link() {
        let request = SearchRequest::parse("per_page=5&q=a%26b+%22c%22&author=Ann").unwrap();
        let expected = "</api/v1/articles/search?q=a%26b%20%22c%22&page=1&per_page=5&author=Ann>; \
                        rel=\"first\"";
        let links = request.page.links(0);
        assert!(links.starts_with(expected), "{links}");
    }

    #[test]
    fn marks_are_the_only_markup() {
        let check = |excerpt: &str, expected: &str| assert_eq!(snippet(excerpt), expected);
        check("a \u{2}b\u{3} c", "a <mark>b</mark> c");
        check(
            "<b>\u{2}&\u{3}\"'",
            "&lt;b&gt;<mark>&amp;</mark>&quot;&#39;",
        );
        check("cut \u{2}off", "cut <mark>off</mark>");
        check("\u{3}odd\u{2}\u{2}", "odd<mark></mark>");
        check("</mark>", "&lt;/mark&gt;");
    }

    proptest! {
        #[test]
        fn marks_are_balanced_in_any_text(excerpt in any::<String>()) {
            let html = snippet(&excerpt);
            let bare = html.replace("<mark>", "").replace("</mark>", "");
            assert!(!bare.contains(['<', '>', '"', '\'']));
            assert_eq!(html.matches("<mark>").count(), html.matches("</mark>").count());
        }
    }
}
