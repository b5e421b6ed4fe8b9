//! What a client may write: from JSON to fields, or to the list of all that is wrong.

use serde_json::{Map, Value};

use super::model::{Fields, Status};
use crate::http::{FieldError, Kind, Problem, to_json};

const TITLE_CHARACTERS: usize = 200;
const AUTHOR_CHARACTERS: usize = 100;
const CATEGORY_CHARACTERS: usize = 100;
const CONTENT_BYTES: usize = 1024 * 1024;
const TAGS: usize = 20;
const TAG_CHARACTERS: usize = 50;

/// Fields that only the service writes.
const READ_ONLY: [&str; 5] = [
    "id",
    "views_count",
    "created_at",
    "updated_at",
    "published_at",
];

/// POST: status is `draft` when absent. Nothing starts as an archived article.
pub(crate) fn new_article(body: Value) -> Result<Fields, Problem> {
    let fields = replacement(body, Status::Draft)?;
    match fields.status {
        Status::Draft | Status::Published => Ok(fields),
        Status::Archived => {
            let detail = "a new article is draft or published";
            let error = FieldError::at("/status".to_owned(), "not_allowed", detail);
            Err(Problem::invalid(vec![error]))
        }
    }
}

/// PUT: what is absent is reset, but for the status, which is where the article is in its life.
pub(crate) fn replacement(body: Value, status: Status) -> Result<Fields, Problem> {
    let Value::Object(members) = body else {
        return Err(not_an_object());
    };
    let mut input = Input {
        members,
        errors: Vec::new(),
    };
    let title = input.text("title", TITLE_CHARACTERS);
    let content = input.content();
    let author = input.text("author", AUTHOR_CHARACTERS);
    let category = input.category();
    let tags = input.tags();
    let status = input.status(status);
    let errors = input.end();
    match (title, content, author, category, tags, status) {
        (Some(title), Some(content), Some(author), Some(category), Some(tags), Some(status))
            if errors.is_empty() =>
        {
            Ok(Fields {
                title,
                content,
                author,
                category,
                tags,
                status,
            })
        }
        _ => Err(Problem::invalid(errors)),
    }
}

/// PATCH: a merge patch (RFC 7396) on the fields as they are. Null removes: what may be absent is
/// then reset, what may not is an error.
pub(crate) fn patched(current: &Fields, patch: &Value) -> Result<Fields, Problem> {
    let Value::Object(patch) = patch else {
        return Err(not_an_object());
    };
    let Ok(Value::Object(mut members)) = serde_json::from_slice(&to_json(current)) else {
        return Err(Problem::new(Kind::Internal, "an article has no JSON form"));
    };
    for (name, value) in patch {
        match (name.as_str(), value) {
            // Absent would mean "as it is", which is not what was asked for.
            ("status", Value::Null) => _ = members.insert(name.clone(), Value::Null),
            // What an article does not have is not removed but refused, as with any value.
            (_, Value::Null) if members.contains_key(name) => _ = members.remove(name),
            (_, value) => _ = members.insert(name.clone(), value.clone()),
        }
    }
    replacement(Value::Object(members), current.status)
}

fn not_an_object() -> Problem {
    let detail = "the body must be an object";
    Problem::invalid(vec![FieldError::at(String::new(), "type", detail)])
}

/// The members of the body, each taken once, and what was wrong with them.
struct Input {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Input {
    fn text(&mut self, name: &str, limit: usize) -> Option<String> {
        let text = self.required_text(name)?;
        self.sized(name, text, limit)
    }

    fn content(&mut self) -> Option<String> {
        let content = self.required_text("content")?;
        if content.len() > CONTENT_BYTES {
            return self.refuse(
                "/content",
                "too_long",
                format!("at most {CONTENT_BYTES} bytes"),
            );
        }
        self.storable("/content", content)
    }

    fn category(&mut self) -> Option<Option<String>> {
        match self.members.remove("category") {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => {
                self.sized("category", text, CATEGORY_CHARACTERS).map(Some)
            }
            Some(_) => self.refuse("/category", "type", "a string or null"),
        }
    }

    fn tags(&mut self) -> Option<Vec<String>> {
        let values = match self.members.remove("tags") {
            None => return Some(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(_) => return self.refuse("/tags", "type", "an array of strings"),
        };
        if values.len() > TAGS {
            return self.refuse("/tags", "too_many", format!("at most {TAGS} tags"));
        }
        let mut tags: Vec<String> = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let place = format!("tags/{index}");
            let tag = match value {
                Value::String(text) => self.sized(&place, text, TAG_CHARACTERS),
                _ => self.refuse(&format!("/{place}"), "type", "a string"),
            };
            match tag {
                Some(tag) if tags.contains(&tag) => {
                    let _: Option<()> =
                        self.refuse(&format!("/{place}"), "repeated", "a tag stands once");
                }
                Some(tag) => tags.push(tag),
                None => {}
            }
        }
        Some(tags)
    }

    fn status(&mut self, absent: Status) -> Option<Status> {
        let status = match self.members.remove("status") {
            None => Some(absent),
            Some(Value::String(text)) => Status::parse(&text),
            Some(_) => None,
        };
        if status.is_none() {
            return self.refuse("/status", "unknown", "draft, published or archived");
        }
        status
    }

    fn required_text(&mut self, name: &str) -> Option<String> {
        let pointer = format!("/{name}");
        match self.members.remove(name) {
            Some(Value::String(text)) => Some(text),
            None | Some(Value::Null) => self.refuse(&pointer, "required", "it must be there"),
            Some(_) => self.refuse(&pointer, "type", "a string"),
        }
    }

    /// Checks 1 to `limit` characters; `place` is a pointer without its first slash.
    fn sized(&mut self, place: &str, text: String, limit: usize) -> Option<String> {
        let pointer = format!("/{place}");
        if text.is_empty() {
            return self.refuse(&pointer, "too_short", "at least 1 character");
        }
        // Bytes first: counting the characters of a megabyte is not free.
        if text.len() > limit && text.chars().count() > limit {
            return self.refuse(&pointer, "too_long", format!("at most {limit} characters"));
        }
        self.storable(&pointer, text)
    }

    /// Postgres stores any text but the character U+0000.
    fn storable(&mut self, pointer: &str, text: String) -> Option<String> {
        match text.contains('\0') {
            true => self.refuse(pointer, "character", "the character U+0000 is not allowed"),
            false => Some(text),
        }
    }

    fn refuse<T>(
        &mut self,
        pointer: &str,
        code: &'static str,
        rule: impl Into<String>,
    ) -> Option<T> {
        self.errors
            .push(FieldError::at(pointer.to_owned(), code, rule));
        None
    }

    /// What is left over is wrong too.
    fn end(mut self) -> Vec<FieldError> {
        let mut names: Vec<&String> = self.members.keys().collect();
        names.sort_unstable();
        for name in names {
            // `~` and `/` are escaped in a pointer (RFC 6901, section 3).
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let error = match READ_ONLY.contains(&name.as_str()) {
                true => FieldError::at(pointer, "read_only", "only the service writes it"),
                false => FieldError::at(pointer, "unknown", "an article has no such field"),
            };
            self.errors.push(error);
        }
        self.errors
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn current() -> Fields {
        Fields {
            title: "Title".into(),
            content: "Text".into(),
            author: "Ann".into(),
            category: Some("news".into()),
            tags: vec!["a".into()],
            status: Status::Published,
        }
    }

    /// Refuses `body` as a new article, with exactly these pointers and codes.
    #[track_caller]
    fn refuses(body: Value, expected: &[(&str, &str)]) {
        errors(new_article(body), expected);
    }

    #[track_caller]
    fn errors(outcome: Result<Fields, Problem>, expected: &[(&str, &str)]) {
        let reply = outcome.unwrap_err().reply("id", "/");
        assert_eq!(reply.status.as_u16(), 422);
        let document: Value = serde_json::from_slice(&reply.body).unwrap();
        let errors = document["errors"].as_array().unwrap().iter();
        let errors: Vec<_> = errors
            .map(|error| {
                (
                    error["pointer"].as_str().unwrap(),
                    error["code"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(errors, expected);
    }

    #[test]
    fn the_least_article_has_defaults() {
        let body = json!({"title": "t", "content": "", "author": "a"});
        let fields = new_article(body).unwrap();
        assert_eq!(fields.category, None);
        assert_eq!(fields.tags, Vec::<String>::new());
        assert_eq!(fields.status, Status::Draft);
    }

    #[test]
    fn every_wrong_field_is_named() {
        refuses(
            json!({"title": "", "author": 1, "category": [], "tags": [1, "", "x", "x"],
                   "status": "lost", "id": 1, "a/b~c": 1}),
            &[
                ("/title", "too_short"),
                ("/content", "required"),
                ("/author", "type"),
                ("/category", "type"),
                ("/tags/0", "type"),
                ("/tags/1", "too_short"),
                ("/tags/3", "repeated"),
                ("/status", "unknown"),
                ("/a~1b~0c", "unknown"),
                ("/id", "read_only"),
            ],
        );
        refuses(json!([]), &[("", "type")]);
    }

    #[test]
    fn limits_count_characters() {
        let with = |name: &str, value: Value| {
            let mut body = json!({"title": "t", "content": "c", "author": "a"});
            body[name] = value;
            body
        };
        assert!(new_article(with("title", json!("ü".repeat(200)))).is_ok());
        refuses(
            with("title", json!("ü".repeat(201))),
            &[("/title", "too_long")],
        );
        refuses(
            with("author", json!("a".repeat(101))),
            &[("/author", "too_long")],
        );
        refuses(with("category", json!("")), &[("/category", "too_short")]);
        refuses(
            with("tags", json!(["t".repeat(51)])),
            &[("/tags/0", "too_long")],
        );
        let many: Vec<String> = (0..21).map(|number| number.to_string()).collect();
        refuses(with("tags", json!(many)), &[("/tags", "too_many")]);
        assert!(new_article(with("content", json!("c".repeat(1 << 20)))).is_ok());
        refuses(
            with("content", json!("c".repeat((1 << 20) + 1))),
            &[("/content", "too_long")],
        );
        refuses(with("content", json!("a\0b")), &[("/content", "character")]);
        refuses(with("tags", json!(["\0"])), &[("/tags/0", "character")]);
        refuses(
            with("status", json!("archived")),
            &[("/status", "not_allowed")],
        );
    }

    #[test]
    fn the_description_has_these_limits() {
        let document = crate::openapi::document();
        let schemas = &document["components"]["schemas"];
        for (schema, limit, expected) in [
            ("Title", "maxLength", TITLE_CHARACTERS),
            ("Author", "maxLength", AUTHOR_CHARACTERS),
            ("Category", "maxLength", CATEGORY_CHARACTERS),
            ("Content", "maxLength", CONTENT_BYTES),
            ("Tags", "maxItems", TAGS),
        ] {
            assert_eq!(schemas[schema][limit], expected, "{schema}");
        }
        assert_eq!(schemas["Tags"]["items"]["maxLength"], TAG_CHARACTERS);
        let mut names: Vec<&str> = schemas["ArticleReplacement"]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.extend(READ_ONLY);
        names.sort_unstable();
        let article = &schemas["Article"]["properties"];
        let mut all: Vec<&String> = article.as_object().unwrap().keys().collect();
        all.sort_unstable();
        assert_eq!(all, names);
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        let same = patched(&current(), &json!({})).unwrap();
        assert_eq!(same, current());
        let cleared = patched(&current(), &json!({"category": null, "tags": null})).unwrap();
        assert_eq!((cleared.category, cleared.tags), (None, Vec::new()));
        assert_eq!(cleared.status, Status::Published);
        errors(
            patched(&current(), &json!({"title": null})),
            &[("/title", "required")],
        );
        errors(
            patched(&current(), &json!({"status": null})),
            &[("/status", "unknown")],
        );
        errors(
            patched(&current(), &json!({"views_count": 1})),
            &[("/views_count", "read_only")],
        );
        errors(
            patched(&current(), &json!({"": null, "id": null})),
            &[("/", "unknown"), ("/id", "read_only")],
        );
        errors(patched(&current(), &json!("x")), &[("", "type")]);
    }

    #[test]
    fn a_replacement_resets_what_is_absent_but_the_status() {
        let body = json!({"title": "t", "content": "c", "author": "a"});
        let fields = replacement(body, Status::Published).unwrap();
        assert_eq!(fields.category, None);
        assert_eq!(fields.tags, Vec::<String>::new());
        assert_eq!(fields.status, Status::Published);
    }
}
