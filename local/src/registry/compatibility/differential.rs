//! Our answers against those of Python's `avro` package, whose rules are a port of Java's, on
//! random pairs of schemas: unions, enums with and without default, aliases, fixed, promotions,
//! nested and recursive records, logical types, and types of other schemas that are referred to.
//! Python is shown what our canonical texts mean, in one text each, so a canonical text that means
//! something else than its schema is found here too.
//!
//! Where the package differs from Java, each shown by a test of its own below:
//!
//! - It compares an alias of a type as it is written, Java in the type's namespace. So aliases are
//!   shown to it with their namespaces.
//! - What is in [`EXCEPTIONS`]. No pair of texts says the same to both there, so the answers to such
//!   pairs are counted and not compared.
//! - Inside a namespace it cannot refer to a type that has none. The generator makes no such types.
//!
//! `LOCKSTEP_COMPATIBILITY_PAIRS` (5,000) and `LOCKSTEP_COMPATIBILITY_SEED` (1) may be set.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use super::generator::{Random, Sketch};
use super::{Incompatibility, Kind, Schema, incompatibilities};
use crate::registry::canonical::{Properties, canonical_text, resolved_text};
use crate::registry::schema::Name;

struct Pair {
    reader: String,
    writer: String,
    has_references: bool,
    ours: Vec<Incompatibility>,
}

impl Pair {
    fn new(reader: &Sketch, writer: &Sketch, random: &mut Random) -> Self {
        let mut has_references = false;
        let mut side = |sketch: &Sketch| {
            let (referenced, text) = sketch.to_texts(random);
            has_references |= !referenced.is_empty();
            let canonical = canonical_text(&parsed(&text, &referenced), Properties::AsWritten);
            parsed(&canonical, &referenced)
        };
        let (reader, writer) = (side(reader), side(writer));
        Self {
            ours: incompatibilities(&reader, &writer),
            has_references,
            reader: for_python(&reader),
            writer: for_python(&writer),
        }
    }
}

/// A kind of pair that Python's package judges otherwise than Java, for a reason.
struct Exception {
    name: &'static str,
    reason: &'static str,
    /// By our reasons and Python's answer.
    covers: fn(&[Incompatibility], &str) -> bool,
}

const EXCEPTIONS: [Exception; 1] = [Exception {
    name: "ambiguous field",
    reason: "a reader's field matches two of the writer's, by name and by aliases: Python takes \
             the first, Java throws, and Confluent's registry takes that for incompatible",
    covers: |ours, python| {
        let is_ambiguous = |reason: &Incompatibility| reason.kind == Kind::AmbiguousField;
        ours.len() == 1 && ours.iter().all(is_ambiguous) && python == "true"
    },
}];

fn for_python(schema: &Schema) -> String {
    let mut json = serde_json::from_str(&resolved_text(schema)).unwrap();
    qualify_aliases(&mut json, "");
    json.to_string()
}

/// `namespace` is that of the named type around the schema.
fn qualify_aliases(schema: &mut Value, namespace: &str) {
    match schema {
        Value::Array(branches) => {
            branches
                .iter_mut()
                .for_each(|branch| qualify_aliases(branch, namespace));
        }
        Value::Object(object) => {
            let own = object
                .get("namespace")
                .and_then(Value::as_str)
                .map(str::to_owned);
            let namespace = own.as_deref().unwrap_or(namespace);
            for alias in object
                .get_mut("aliases")
                .and_then(Value::as_array_mut)
                .unwrap_or(&mut vec![])
            {
                *alias = json!(Name::new(alias.as_str().unwrap(), Some(namespace)).full());
            }
            for inner in ["items", "values"] {
                if let Some(inner) = object.get_mut(inner) {
                    qualify_aliases(inner, namespace);
                }
            }
            for field in object
                .get_mut("fields")
                .and_then(Value::as_array_mut)
                .unwrap_or(&mut vec![])
            {
                qualify_aliases(&mut field["type"], namespace);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[track_caller]
fn parsed(text: &str, referenced: &[Arc<str>]) -> Schema {
    let schema =
        Schema::parse_with(text, referenced).unwrap_or_else(|error| panic!("{error}: {text}"));
    schema
        .check_defaults()
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    schema
}

#[test]
fn python_avro_agrees_on_random_pairs() {
    let pairs = setting("LOCKSTEP_COMPATIBILITY_PAIRS", 5_000);
    let seed = setting("LOCKSTEP_COMPATIBILITY_SEED", 1);
    println!("{pairs} pairs from seed {seed}");
    let pairs = random_pairs(seed, pairs);
    let answers = ask_python(pairs.iter().map(|pair| (&*pair.reader, &*pair.writer)));

    let mut counts = [0; EXCEPTIONS.len()];
    let mut disagreements = Vec::new();
    for (pair, answer) in pairs.iter().zip(&answers) {
        if *answer == pair.ours.is_empty().to_string() {
            continue;
        }
        let exception = EXCEPTIONS
            .iter()
            .position(|exception| (exception.covers)(&pair.ours, answer));
        if let Some(exception) = exception {
            counts[exception] += 1;
            continue;
        }
        let Pair {
            reader,
            writer,
            ours,
            ..
        } = pair;
        disagreements.push(format!(
            "python {answer}, we {ours:?}\nreader {reader}\nwriter {writer}"
        ));
    }
    let total = pairs.len();
    let count = |is: fn(&Pair) -> bool| pairs.iter().filter(|pair| is(pair)).count();
    let compatible = count(|pair| pair.ours.is_empty());
    let (references, logical) = (
        count(|pair| pair.has_references),
        count(|pair| format!("{}{}", pair.reader, pair.writer).contains("logicalType")),
    );
    println!(
        "{total} pairs: {compatible} compatible, {references} with references, {logical} with logical types"
    );
    for (Exception { name, reason, .. }, count) in EXCEPTIONS.iter().zip(counts) {
        println!("{count} not compared: {name}: {reason}");
    }
    assert_eq!(answers.len(), total, "python answered a part only");
    let share = compatible * 100 / total.max(1);
    assert!(
        (10..90).contains(&share),
        "{share} % compatible tells too little"
    );
    assert!(
        disagreements.is_empty(),
        "{} disagreements, the first:\n{}",
        disagreements.len(),
        disagreements[..disagreements.len().min(5)].join("\n\n")
    );
}

/// Holds the list above to the truth: when the package changes, this fails.
#[test]
fn python_avro_differs_where_we_say_so() {
    let differences = [
        // An alias in the type's own namespace.
        (
            r#"{"type":"fixed","name":"n.A","size":1,"aliases":["B"]}"#,
            r#"{"type":"fixed","name":"n.B","size":1}"#,
            "false",
            true,
        ),
        // A field that matches by name and by alias.
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","aliases":["b"]}]}"#,
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}"#,
            "true",
            false,
        ),
        // A type without namespace, used in one.
        (
            r#"{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"record","name":"S","namespace":"","fields":[{"name":"s","type":["null","S"]}]}}]}"#,
            "\"int\"",
            "error: SchemaParseException",
            false,
        ),
    ];
    let answers = ask_python(
        differences
            .iter()
            .map(|(reader, writer, ..)| (*reader, *writer)),
    );
    for ((reader, writer, theirs, ours), answer) in differences.iter().zip(answers) {
        assert!(
            answer.starts_with(theirs),
            "python says {answer} to {reader} {writer}"
        );
        let reasons = incompatibilities(&parsed(reader, &[]), &parsed(writer, &[]));
        assert_eq!(
            reasons.is_empty(),
            *ours,
            "we say {reasons:?} to {reader} {writer}"
        );
    }
}

fn random_pairs(seed: u64, count: u64) -> Vec<Pair> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| {
            let one = Sketch::random(&mut random);
            let other = if random.one_in(8) {
                Sketch::random(&mut random)
            } else {
                one.changed(&mut random)
            };
            if random.one_in(2) {
                Pair::new(&one, &other, &mut random)
            } else {
                Pair::new(&other, &one, &mut random)
            }
        })
        .collect()
}

/// Readers with their writers; one answer each.
fn ask_python<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Send) -> Vec<String> {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/clients");
    let mut python = Command::new(tools(&clients).join("venv/bin/python"))
        .arg(clients.join("compatibility_oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = python.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut input = BufWriter::new(input);
            for (reader, writer) in pairs {
                writeln!(input, "{}", json!({ "reader": reader, "writer": writer })).unwrap();
            }
            input.flush().unwrap();
        });
        python.wait_with_output().unwrap()
    });
    assert!(
        output.status.success(),
        "python ended with {}",
        output.status
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn tools(clients: &Path) -> PathBuf {
    let output = Command::new(clients.join("setup.sh"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "setup.sh could not install the Python packages"
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number")),
        Err(_) => default,
    }
}
