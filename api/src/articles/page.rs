//! Lists: which page of which articles, and the way to the others.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::filter::Filter;
use super::model::Article;
use super::search::Hit;
use crate::http::{ETag, Problem, Query};

const PER_PAGE: i64 = 10;
const PER_PAGE_MAX: i64 = 100;

/// Beyond it an offset could not be told from an overflow.
const PAGE_MAX: i64 = 1_000_000;

/// The page that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageRequest {
    pub(crate) page: i64,
    pub(crate) per_page: i64,
    pub(crate) filter: Filter,
    /// What other pages' URLs begin with.
    base: String,
}

/// The page that it gets.
#[derive(Debug, Serialize)]
pub(crate) struct Page<Item> {
    items: Vec<Item>,
    page: i64,
    per_page: i64,
    total_items: i64,
    total_pages: i64,
}

impl PageRequest {
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        let mut query = Query::parse(query);
        let filter = Filter::take_with_ids(&mut query);
        let request = Self::take(&mut query, "/api/v1/articles?".to_owned(), filter);
        query.end()?;
        Ok(request)
    }

    pub(super) fn take(query: &mut Query, base: String, filter: Filter) -> Self {
        let page = query.take("page", |text| number(text, PAGE_MAX));
        let per_page = query.take("per_page", |text| number(text, PER_PAGE_MAX));
        Self {
            page: page.unwrap_or(1),
            per_page: per_page.unwrap_or(PER_PAGE),
            filter,
            base,
        }
    }

    pub(crate) fn offset(&self) -> i64 {
        (self.page - 1) * self.per_page
    }

    pub(crate) fn page_of<Item>(&self, items: Vec<Item>, total: i64) -> Page<Item> {
        Page {
            items,
            page: self.page,
            per_page: self.per_page,
            total_items: total,
            total_pages: self.pages(total),
        }
    }

    /// RFC 8288, relative to this server. The filters stand in every link.
    pub(crate) fn links(&self, total: i64) -> String {
        let last = self.pages(total).max(1);
        let mut links = vec![self.link("first", 1)];
        if self.page > 1 {
            // From beyond the end back to the end.
            links.push(self.link("prev", (self.page - 1).min(last)));
        }
        if self.page < last {
            links.push(self.link("next", self.page + 1));
        }
        links.push(self.link("last", last));
        links.join(", ")
    }

    fn link(&self, relation: &str, page: i64) -> String {
        let Self { base, per_page, .. } = self;
        let filter = self.filter.parameters();
        format!("<{base}page={page}&per_page={per_page}{filter}>; rel=\"{relation}\"")
    }

    fn pages(&self, total: i64) -> i64 {
        (total + self.per_page - 1) / self.per_page
    }
}

impl Page<Article> {
    pub(crate) fn etag(&self) -> ETag {
        self.etag_of(self.items.iter())
    }
}

impl Page<Hit> {
    pub(crate) fn etag(&self) -> ETag {
        self.etag_of(self.items.iter().map(|hit| &hit.article))
    }
}

impl<Item> Page<Item> {
    /// Weak: the counts of views in it may be older. A hit's rank and snippet follow from the
    /// version of its article.
    fn etag_of<'a>(&self, articles: impl Iterator<Item = &'a Article>) -> ETag {
        let mut hasher = DefaultHasher::new();
        (self.page, self.per_page, self.total_items).hash(&mut hasher);
        for article in articles {
            (article.id, article.version).hash(&mut hasher);
        }
        ETag::weak(format!("p{:016x}", hasher.finish()))
    }
}

fn number(text: &str, max: i64) -> Result<i64, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (1..=max).contains(&number) => Ok(number),
        _ => Err(format!("a number from 1 to {max}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> PageRequest {
        PageRequest::parse(query).unwrap()
    }

    #[test]
    fn defaults_and_limits() {
        let request = parsed("");
        assert_eq!((request.page, request.per_page), (1, 10));
        let request = parsed("page=1000000&per_page=100");
        assert_eq!(request.offset(), 99_999_900);
        for query in [
            "page=0",
            "page=-1",
            "page=+1",
            "page=1000001",
            "page=471920456595579994112",
            "page=",
            "per_page=0",
            "per_page=101",
            "status=lost",
            "category=",
            "author=%00",
            "x=1",
        ] {
            assert!(PageRequest::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn the_description_has_these_limits() {
        let document = crate::openapi::document();
        let parameters = &document["components"]["parameters"];
        for (name, default, max) in [("Page", 1, PAGE_MAX), ("PerPage", PER_PAGE, PER_PAGE_MAX)] {
            let schema = &parameters[name]["schema"];
            assert_eq!(schema["default"], default);
            assert_eq!(schema["minimum"], 1);
            assert_eq!(schema["maximum"], max);
            let member = match name {
                "Page" => "page",
                _ => "per_page",
            };
            for list in ["ArticlePage", "HitPage"] {
                let schema = &document["components"]["schemas"][list]["properties"];
                assert_eq!(schema[member]["maximum"], max, "{list}");
                assert_eq!(schema["items"]["maxItems"], PER_PAGE_MAX, "{list}");
            }
        }
    }

    #[track_caller]
    fn links(query: &str, total: i64, expected: &str) {
        let links = parsed(query).links(total);
        let relations: Vec<String> = links
            .split(", ")
            .map(|link| {
                let (url, relation) = link.split_once(">; rel=").unwrap();
                let page = url.split(['=', '&']).nth(1).unwrap();
                format!("{}:{page}", relation.trim_matches('"'))
            })
            .collect();
        assert_eq!(relations.join(" "), expected);
    }

    #[test]
    fn links_lead_to_the_neighbours() {
        links("", 0, "first:1 last:1");
        links("", 10, "first:1 last:1");
        links("", 11, "first:1 next:2 last:2");
        links("page=2", 25, "first:1 prev:1 next:3 last:3");
        links("page=3", 25, "first:1 prev:2 last:3");
        links("page=9", 25, "first:1 prev:3 last:3");
    }

    #[test]
    fn filters_stand_in_every_link() {
        let request = parsed("status=draft&category=a%26b&author=%C3%9Cwe+M");
        let expected = "</api/v1/articles?page=1&per_page=10&status=draft&category=a%26b\
                        &author=%C3%9Cwe%20M>; rel=\"first\"";
        assert!(
            request.links(0).starts_with(expected),
            "{}",
            request.links(0)
        );
    }
}
