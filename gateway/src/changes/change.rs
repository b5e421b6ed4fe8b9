//! One change of an article, read from its record in the topic.

use change::{Lsn, Position};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::upstream::{Article, Status};

/// One change of an article.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) operation: Operation,
    pub(crate) id: i64,
    /// As the change left it; none when it is gone.
    pub(crate) article: Option<Article>,
    /// Whether the article's content has to be read: the update did not touch it, and it stands out of
    /// line in the source (TOAST), so that it is not in the record; or it is too long to be kept here.
    pub(crate) content_is_elsewhere: bool,
    /// Of the article before, as far as the record tells.
    pub(crate) previous_status: Option<Status>,
    pub(crate) position: Position,
    pub(crate) committed_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Insert,
    Update,
    Delete,
}

/// What a record is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Change(Box<Change>),
    /// A row of the first snapshot: nothing has changed.
    Snapshot,
    /// All articles are gone, without a word about each.
    Truncation(Position),
}

/// The record is none of an article's changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record has no {0} as articles have it")]
pub(crate) struct NotAChange(&'static str);

/// Longer texts are read when somebody asks for them: what waits for subscribers stays small.
const CONTENT_BYTES: usize = 16 * 1024;

/// Reads an envelope, in the JSON form of its Avro value.
pub(crate) fn tell(envelope: &Value) -> Result<Told, NotAChange> {
    let position = position(&envelope["lockstep"])?;
    let operation = match envelope["op"].as_str() {
        Some("c") => Operation::Insert,
        Some("u") => Operation::Update,
        Some("d") => Operation::Delete,
        Some("r") => return Ok(Told::Snapshot),
        Some("t") => return Ok(Told::Truncation(position)),
        _ => return Err(NotAChange("op")),
    };
    let row = match operation {
        Operation::Delete => &envelope["before"],
        Operation::Insert | Operation::Update => &envelope["after"],
    };
    let unchanged = envelope["lockstep"]["unchanged"].as_array();
    let untouched = unchanged.is_some_and(|names| names.iter().any(|name| name == "content"));
    let mut change = Change {
        operation,
        id: row["id"].as_i64().ok_or(NotAChange("id"))?,
        article: None,
        content_is_elsewhere: untouched,
        previous_status: status(&envelope["before"]["status"]),
        position,
        committed_at: committed_at(envelope).ok_or(NotAChange("source.ts_ms"))?,
    };
    if operation != Operation::Delete {
        let mut article = article(row)?;
        if article.content.len() > CONTENT_BYTES {
            article.content = String::new();
            change.content_is_elsewhere = true;
        }
        change.article = Some(article);
    }
    Ok(Told::Change(Box::new(change)))
}

fn position(lockstep: &Value) -> Result<Position, NotAChange> {
    let number = |name: &'static str| lockstep[name].as_u64().ok_or(NotAChange(name));
    Ok(Position {
        commit_lsn: Lsn::new(number("commit_lsn")?),
        ordinal: number("ordinal")?,
    })
}

fn committed_at(envelope: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(envelope["source"]["ts_ms"].as_i64()?)
}

fn article(row: &Value) -> Result<Article, NotAChange> {
    let text = |name: &'static str| {
        let text = row[name].as_str().map(str::to_owned);
        text.ok_or(NotAChange(name))
    };
    let time = |name: &'static str| row[name].as_i64().and_then(DateTime::from_timestamp_micros);
    let tags = row["tags"].as_array().ok_or(NotAChange("tags"))?;
    let tags = tags.iter().filter_map(Value::as_str).map(str::to_owned);
    Ok(Article {
        id: row["id"].as_i64().ok_or(NotAChange("id"))?,
        title: text("title")?,
        // Null where it is unchanged.
        content: text("content").unwrap_or_default(),
        author: text("author")?,
        category: row["category"].as_str().map(str::to_owned),
        tags: tags.collect(),
        status: status(&row["status"]).ok_or(NotAChange("status"))?,
        views_count: row["views_count"]
            .as_i64()
            .ok_or(NotAChange("views_count"))?,
        created_at: time("created_at").ok_or(NotAChange("created_at"))?,
        updated_at: time("updated_at").ok_or(NotAChange("updated_at"))?,
        published_at: time("published_at"),
        etag: row["version"]
            .as_i64()
            .map(|version| format!("\"v{version}\"")),
    })
}

fn status(value: &Value) -> Option<Status> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(content: &Value) -> Value {
        json!({
            "id": 7, "title": "T", "content": content, "author": "A", "category": null,
            "tags": ["a", "b"], "status": "draft", "views_count": 3,
            "created_at": 1_700_000_000_000_000_i64, "updated_at": 1_700_000_000_000_001_i64,
            "published_at": null, "version": 4
        })
    }

    fn envelope(op: &str, before: &Value, after: &Value, unchanged: &[&str]) -> Value {
        json!({
            "lockstep": {"epoch": 1, "commit_lsn": 99, "ordinal": 2, "unchanged": unchanged},
            "op": op, "before": before, "after": after,
            "source": {"ts_ms": 1_700_000_000_123_i64}
        })
    }

    fn change(envelope: &Value) -> Change {
        match tell(envelope) {
            Ok(Told::Change(change)) => *change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_insert_has_the_article() {
        let change = change(&envelope("c", &Value::Null, &row(&json!("text")), &[]));
        assert_eq!((change.operation, change.id), (Operation::Insert, 7));
        assert_eq!(change.position.ordinal, 2);
        assert_eq!(change.committed_at.timestamp_millis(), 1_700_000_000_123);
        let article = change.article.unwrap();
        assert_eq!((article.content.as_str(), article.tags.len()), ("text", 2));
        assert_eq!(article.etag.as_deref(), Some("\"v4\""));
        assert!(!change.content_is_elsewhere);
    }

    #[test]
    fn a_content_that_is_not_there_is_said_to_be_elsewhere() {
        let untouched = envelope("u", &Value::Null, &row(&Value::Null), &["content"]);
        assert!(change(&untouched).content_is_elsewhere);
        let long = json!("x".repeat(CONTENT_BYTES + 1));
        let long = change(&envelope("u", &Value::Null, &row(&long), &[]));
        assert!(long.content_is_elsewhere && long.article.unwrap().content.is_empty());
    }

    #[test]
    fn a_delete_knows_what_its_record_knows() {
        let gone = change(&envelope(
            "d",
            &json!({"id": 7, "status": null}),
            &Value::Null,
            &[],
        ));
        assert_eq!((gone.operation, gone.article), (Operation::Delete, None));
        assert_eq!(gone.previous_status, None);
        let before = row(&json!("text"));
        let gone = change(&envelope("d", &before, &Value::Null, &[]));
        assert_eq!(gone.previous_status, Some(Status::Draft));
    }

    #[test]
    fn what_is_no_change_is_told_apart() {
        let after = row(&json!("text"));
        let told = |op| tell(&envelope(op, &Value::Null, &after, &[]));
        assert_eq!(told("r"), Ok(Told::Snapshot));
        assert!(matches!(told("t"), Ok(Told::Truncation(_))));
        assert_eq!(told("x"), Err(NotAChange("op")));
        let strange = envelope("c", &Value::Null, &json!({"id": 1}), &[]);
        assert!(tell(&strange).is_err());
    }
}
