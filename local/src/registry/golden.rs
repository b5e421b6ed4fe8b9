//! What Java's avro 1.12.0, the one in Confluent's registry, makes of schemas and pairs of schemas.
//! The answers are in files; `Oracle.java` beside them tells how they came about.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::canonical::{Properties, canonical_text};
use super::compatibility::{Incompatibility, Kind, incompatibilities};
use super::schema::Schema;

#[derive(Deserialize)]
struct Text {
    schema: String,
    /// `None` when Java refuses the schema.
    canonical: Option<String>,
}

#[derive(Deserialize)]
struct Pair {
    reader: String,
    writer: String,
    reasons: Vec<String>,
}

#[test]
fn canonical_texts_are_those_of_java() {
    let mut shown = Vec::new();
    for Text { schema, canonical } in answers::<Text>("schemas.jsonl") {
        let ours = ours(&schema);
        if ours == canonical {
            continue;
        }
        let known = WE_DIFFER.iter().find(|(part, _)| schema.contains(part));
        let (part, _) = known.unwrap_or_else(|| panic!("{ours:?}, java {canonical:?}: {schema}"));
        shown.push(*part);
    }
    for (part, reason) in WE_DIFFER {
        assert!(
            shown.contains(&part),
            "no difference any more because of {reason}"
        );
    }
}

#[test]
fn reasons_and_paths_are_those_of_java() {
    for Pair {
        reader,
        writer,
        reasons,
    } in answers::<Pair>("pairs.jsonl")
    {
        let found = incompatibilities(&parsed(&reader), &parsed(&writer));
        let found: Vec<String> = found.iter().map(as_java_tells).collect();
        assert_eq!(found, reasons, "\nreader {reader}\nwriter {writer}");
    }
}

/// Schemas with this in them differ, for this reason.
const WE_DIFFER: [(&str, &str); 8] = [
    (
        ":123456789012345678901234567890",
        "numbers are 64 bits wide here",
    ),
    (
        "4.9e-324",
        "the shortest text for it is 5.0E-324; Java shows two digits at least",
    ),
    (
        "1e400",
        "past the largest number: not JSON here, infinity to Java",
    ),
    (
        "\"namespace\": \"1.2\"",
        "older releases do not look at namespaces, and old schemas exist",
    ),
    ("\"namespace\": \"a..b\"", "likewise"),
    (
        "2147483647",
        "Java cannot hold so large a fixed value; nobody here has to",
    ),
    ("// c", "comments are not JSON"),
    (
        "[\"null\", \"S\"]",
        "a name before its definition: new in 1.12, unknown to other languages",
    ),
];

fn ours(text: &str) -> Option<String> {
    let schema = Schema::parse(text).ok()?;
    schema.check_defaults().ok()?;
    Some(canonical_text(&schema, Properties::AsWritten))
}

fn as_java_tells(reason: &Incompatibility) -> String {
    match reason.kind {
        Kind::AmbiguousField => "AMBIGUOUS_FIELD".to_owned(),
        kind => format!("{kind} {} {}", reason.path, reason.detail),
    }
}

#[track_caller]
fn parsed(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn answers<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/registry/golden")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let answers: Vec<T> = text
        .split_terminator('\n')
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(answers.len() >= 100, "{file} has {} lines", answers.len());
    answers
}
