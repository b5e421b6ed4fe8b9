//! Filters: which articles of all a list or a search is about.

use std::collections::HashSet;

use super::model::{ArticleId, Status};
use crate::http::{Query, encoded};

/// How many articles can be asked for by their ids at once.
const IDS_MAX: usize = 100;

/// How many characters a category or an author can have.
const NAME_CHARACTERS: usize = 100;

/// What articles must have in common; nothing that is absent here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) status: Option<Status>,
    pub(crate) category: Option<String>,
    pub(crate) author: Option<String>,
    pub(crate) ids: Option<Vec<ArticleId>>,
}

impl Filter {
    /// Takes what lists and searches have in common.
    pub(crate) fn take(query: &mut Query) -> Self {
        Self {
            status: query.take("status", |text| {
                Status::parse(text).ok_or("draft, published or archived".to_owned())
            }),
            category: query.take("category", name),
            author: query.take("author", name),
            ids: None,
        }
    }

    pub(crate) fn take_with_ids(query: &mut Query) -> Self {
        Self {
            ids: query.take("ids", ids),
            ..Self::take(query)
        }
    }

    /// The part of a query string that says the same.
    pub(crate) fn parameters(&self) -> String {
        let ids = self.ids.as_ref().map(|ids| {
            let ids: Vec<String> = ids.iter().map(ArticleId::to_string).collect();
            ids.join(",")
        });
        let mut parameters = String::new();
        for (name, value) in [
            (
                "status",
                self.status.map(|status| status.as_str().to_owned()),
            ),
            ("category", self.category.as_deref().map(encoded)),
            ("author", self.author.as_deref().map(encoded)),
            ("ids", ids),
        ] {
            if let Some(value) = value {
                parameters.push_str(&format!("&{name}={value}"));
            }
        }
        parameters
    }
}

/// A value that a category or an author can have.
fn name(text: &str) -> Result<String, String> {
    match (1..=NAME_CHARACTERS).contains(&text.chars().count()) && !text.contains('\0') {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "1 to {NAME_CHARACTERS} characters, none of them U+0000"
        )),
    }
}

/// A list as `3,1,2`.
fn ids(text: &str) -> Result<Vec<ArticleId>, String> {
    let rule = || format!("1 to {IDS_MAX} different ids, with commas between them");
    let ids: Result<Vec<ArticleId>, _> = text.split(',').map(str::parse).collect();
    let ids = ids.map_err(|_| rule())?;
    let different: HashSet<ArticleId> = ids.iter().copied().collect();
    match ids.len() <= IDS_MAX && different.len() == ids.len() {
        true => Ok(ids),
        false => Err(rule()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Filter> {
        let mut query = Query::parse(text);
        let filter = Filter::take_with_ids(&mut query);
        query.end().ok().map(|()| filter)
    }

    #[test]
    fn ids_are_few_and_different() {
        let many = |count: usize| {
            let ids: Vec<String> = (1..=count).map(|id| id.to_string()).collect();
            format!("ids={}", ids.join(","))
        };
        let ids = parsed("ids=3,1,2").unwrap().ids.unwrap();
        let numbers: Vec<i64> = ids.into_iter().map(ArticleId::number).collect();
        assert_eq!(numbers, [3, 1, 2]);
        assert!(parsed("ids=3%2C1").is_some());
        assert!(parsed(&many(IDS_MAX)).is_some());
        for wrong in [
            many(IDS_MAX + 1).as_str(),
            "ids=",
            "ids=1,",
            "ids=1,1",
            "ids=0",
            "ids=1,-2",
            "ids=1, 2",
            "ids=9223372036854775808",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_description_has_these_limits() {
        let document = crate::openapi::document();
        let parameters = &document["components"]["parameters"];
        assert_eq!(parameters["Ids"]["schema"]["maxItems"], IDS_MAX);
        for name in ["Category", "Author"] {
            let schema = &parameters[name]["schema"];
            assert_eq!(schema["maxLength"], NAME_CHARACTERS, "{name}");
        }
        let statuses = &document["components"]["schemas"]["Status"]["enum"];
        let expected = Status::ALL.map(Status::as_str);
        assert_eq!(statuses, &serde_json::json!(expected));
    }

    #[test]
    fn parameters_say_the_same() {
        for text in [
            "",
            "&status=draft&category=a%26b&author=%C3%9Cwe%20M",
            "&author=%27%2C&ids=3,1,2",
        ] {
            assert_eq!(parsed(text).unwrap().parameters(), text);
        }
    }
}
