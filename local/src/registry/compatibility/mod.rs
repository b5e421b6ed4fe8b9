//! Whether data written with one schema can be read with another: the rules of Java's
//! `SchemaCompatibility.checkReaderWriterCompatibility`, which Confluent's registry applies.
//!
//! Logical types play no part. Named types match by simple name, so a namespace may change, or by
//! an alias of the reader. A pair met again while it is being decided counts as compatible, which
//! ends recursion; what is decided about it on the way stays decided, as in Java. The order in
//! which pairs are met is therefore part of the rules.

#[cfg(test)]
mod differential;
#[cfg(test)]
mod generator;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use super::schema::{Enum, Field, Fixed, Name, Named, NodeId, Primitive, Record, Schema, Shape};

/// Everything that keeps `reader` from reading what `writer` writes; empty when nothing does.
pub(crate) fn incompatibilities(reader: &Schema, writer: &Schema) -> Vec<Incompatibility> {
    let mut checker = Checker {
        reader,
        writer,
        decided: HashMap::new(),
        path: Vec::new(),
        depth: 0,
        abandoned: None,
    };
    let found = checker.pair(reader.root(), writer.root());
    match checker.abandoned {
        Some(reason) => vec![reason],
        None => Rc::unwrap_or_clone(found),
    }
}

/// One reason, and where in the reader's text it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incompatibility {
    pub(crate) kind: Kind,
    /// A JSON pointer, `/fields/0/type`.
    pub(crate) path: String,
    /// What exactly: the missing field, the symbols, the two types.
    pub(crate) detail: String,
}

impl Incompatibility {
    /// One line in the words of Confluent's registry: `reader` and `writer` are what the two
    /// schemas are called there, "new" and "old".
    pub(crate) fn describe(&self, reader: &str, writer: &str) -> String {
        let Self { kind, path, detail } = self;
        let description = match kind {
            Kind::NameMismatch => format!("The name of the schema has changed (path '{path}')"),
            Kind::FixedSizeMismatch => format!(
                "The size of FIXED type field at path '{path}' in the {reader} schema does not match with the {writer} schema"
            ),
            Kind::MissingEnumSymbols => format!(
                "The {reader} schema is missing enum symbols '{detail}' at path '{path}' in the {writer} schema"
            ),
            Kind::ReaderFieldMissingDefaultValue => format!(
                "The field '{detail}' at path '{path}' in the {reader} schema has no default value and is missing in the {writer} schema"
            ),
            Kind::TypeMismatch => format!(
                "The type (path '{path}') of a field in the {reader} schema does not match with the {writer} schema"
            ),
            Kind::MissingUnionBranch => format!(
                "The {reader} schema is missing a type inside a union field at path '{path}' in the {writer} schema"
            ),
            Kind::AmbiguousField => format!(
                "The field '{detail}' at path '{path}' in the {reader} schema matches two fields in the {writer} schema by its aliases"
            ),
            Kind::TooComplex => format!("The types at path '{path}' are too complex to compare"),
        };
        format!("{{errorType:'{kind}', description:'{description}', additionalInfo:'{detail}'}}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NameMismatch,
    FixedSizeMismatch,
    MissingEnumSymbols,
    ReaderFieldMissingDefaultValue,
    TypeMismatch,
    MissingUnionBranch,
    /// A reader field meets two writer fields, by its name and by an alias; Java throws here.
    AmbiguousField,
    /// Past [`MAX_DEPTH`] or [`MAX_PAIRS`]; Java runs out of stack or memory at some such size.
    TooComplex,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameMismatch => "NAME_MISMATCH",
            Self::FixedSizeMismatch => "FIXED_SIZE_MISMATCH",
            Self::MissingEnumSymbols => "MISSING_ENUM_SYMBOLS",
            Self::ReaderFieldMissingDefaultValue => "READER_FIELD_MISSING_DEFAULT_VALUE",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::MissingUnionBranch => "MISSING_UNION_BRANCH",
            Self::AmbiguousField => "AMBIGUOUS_FIELD",
            Self::TooComplex => "TOO_COMPLEX",
        })
    }
}

/// Text cannot nest deeper than 128, but references between named types can. 400 levels of this
/// module's frames fit a 2 MiB thread stack several times over, in debug builds too.
const MAX_DEPTH: usize = 400;

/// Unions of named types are compared each with each, so the pairs grow with the square of the
/// text. Two tables of 1,600 columns make some 10,000.
const MAX_PAIRS: usize = 250_000;

/// A few reasons tell as much as a thousand. Without a limit, types that use each other twice
/// would double the list at each level.
const MAX_REASONS: usize = 100;

type Reasons = Rc<Vec<Incompatibility>>;

struct Checker<'a> {
    reader: &'a Schema,
    writer: &'a Schema,
    /// `None` while a pair is being decided.
    decided: HashMap<(NodeId, NodeId), Option<Reasons>>,
    path: Vec<String>,
    depth: usize,
    /// Set where Java throws. That ends the whole comparison, however many branches of however
    /// many unions are left to be tried.
    abandoned: Option<Incompatibility>,
}

impl Checker<'_> {
    fn pair(&mut self, reader: NodeId, writer: NodeId) -> Reasons {
        match self.decided.get(&(reader, writer)) {
            Some(Some(reasons)) => return Rc::clone(reasons),
            Some(None) => return Reasons::default(),
            None => {}
        }
        if self.depth == MAX_DEPTH || self.decided.len() == MAX_PAIRS {
            let detail =
                format!("more than {MAX_DEPTH} levels or {MAX_PAIRS} pairs of types to compare");
            return Rc::new(vec![self.abandon(Kind::TooComplex, detail)]);
        }
        self.decided.insert((reader, writer), None);
        self.depth += 1;
        let mut reasons = self.decide(reader, writer);
        self.depth -= 1;
        reasons.truncate(MAX_REASONS);
        let reasons = Rc::new(reasons);
        self.decided
            .insert((reader, writer), Some(Rc::clone(&reasons)));
        reasons
    }

    fn decide(&mut self, reader: NodeId, writer: NodeId) -> Vec<Incompatibility> {
        let (reader_schema, writer_schema) = (self.reader, self.writer);
        let (read, written) = (
            &reader_schema.node(reader).shape,
            &writer_schema.node(writer).shape,
        );
        match (read, written) {
            (Shape::Union(_), Shape::Union(branches)) => self.unions(reader, branches),
            (_, Shape::Union(branches)) => self.written_union(reader, branches),
            (Shape::Union(branches), _) => self.read_union(branches, writer, written),
            (Shape::Array(read), Shape::Array(written)) => self.step("items", *read, *written),
            (Shape::Map(read), Shape::Map(written)) => self.step("values", *read, *written),
            (Shape::Record(read), Shape::Record(written)) => self.records(read, writer, written),
            (Shape::Enum(read), Shape::Enum(written)) => self.enums(read, written),
            (Shape::Fixed(read), Shape::Fixed(written)) => self.fixed(read, written),
            (Shape::Primitive(to), Shape::Primitive(from)) if promotes(*from, *to) => Vec::new(),
            _ => self.mismatch(read, written),
        }
    }

    /// Whether a pair is compatible, for one branch among others. The path starts anew, as in Java:
    /// it shows when the same pair is met again outside of a union.
    fn reads(&mut self, reader: NodeId, writer: NodeId) -> bool {
        let path = std::mem::take(&mut self.path);
        let reads = self.pair(reader, writer).is_empty();
        self.path = path;
        reads
    }

    /// Goes one step down; the step is part of the path of whatever is found below.
    fn step(&mut self, step: &str, reader: NodeId, writer: NodeId) -> Vec<Incompatibility> {
        self.at(step, |checker| checker.pair(reader, writer).to_vec())
    }

    fn at<T>(&mut self, step: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.to_owned());
        let outcome = inside(self);
        self.path.pop();
        outcome
    }

    /// Every branch that may be written must be readable.
    fn unions(&mut self, reader: NodeId, written: &[NodeId]) -> Vec<Incompatibility> {
        let mut reasons = Vec::new();
        for (position, branch) in written.iter().enumerate() {
            if self.reads(reader, *branch) {
                continue;
            }
            let missing = self.writer.node(*branch).shape.type_name();
            reasons.push(self.at(&position.to_string(), |checker| checker.no_branch(missing)));
        }
        reasons
    }

    fn written_union(&mut self, reader: NodeId, branches: &[NodeId]) -> Vec<Incompatibility> {
        let mut reasons = Vec::new();
        for (position, branch) in branches.iter().enumerate() {
            reasons.extend(self.step(&position.to_string(), reader, *branch));
        }
        reasons
    }

    /// One readable branch is enough, and why the others are not is of no interest.
    fn read_union(
        &mut self,
        branches: &[NodeId],
        writer: NodeId,
        written: &Shape,
    ) -> Vec<Incompatibility> {
        for branch in branches {
            if self.reads(*branch, writer) {
                return Vec::new();
            }
        }
        vec![self.no_branch(written.type_name())]
    }

    fn no_branch(&self, written: &str) -> Incompatibility {
        self.reason(
            Kind::MissingUnionBranch,
            format!("reader union lacking writer type: {written}"),
        )
    }

    fn records(&mut self, read: &Record, writer: NodeId, written: &Record) -> Vec<Incompatibility> {
        let mut reasons = self.names(&read.named, &written.named);
        let written: HashMap<&str, &Field> = written
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field))
            .collect();
        for (position, field) in read.fields.iter().enumerate() {
            let found = self.at("fields", |checker| {
                checker.at(&position.to_string(), |checker| {
                    checker.field(field, writer, &written)
                })
            });
            reasons.extend(found);
        }
        reasons
    }

    fn field(
        &mut self,
        field: &Field,
        writer: NodeId,
        written: &HashMap<&str, &Field>,
    ) -> Vec<Incompatibility> {
        let aliased = field
            .aliases
            .iter()
            .filter_map(|alias| written.get(alias.as_str()));
        let mut candidates = written.get(field.name.as_str()).into_iter().chain(aliased);
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => self.step("type", field.schema, only.schema),
            (Some(_), Some(_)) => {
                vec![self.abandon(Kind::AmbiguousField, field.name.clone())]
            }
            (None, _) if field.default.is_some() => Vec::new(),
            // Java compares such a field with the whole record, so that the reason it gives is a
            // mismatch of types.
            (None, _) if self.is_enum_with_default(field.schema) => {
                self.step("type", field.schema, writer)
            }
            (None, _) => {
                vec![self.reason(Kind::ReaderFieldMissingDefaultValue, field.name.clone())]
            }
        }
    }

    fn is_enum_with_default(&self, reader: NodeId) -> bool {
        match &self.reader.node(reader).shape {
            Shape::Enum(read) => read.default.is_some(),
            Shape::Primitive(_)
            | Shape::Array(_)
            | Shape::Map(_)
            | Shape::Union(_)
            | Shape::Record(_)
            | Shape::Fixed(_) => false,
        }
    }

    fn enums(&mut self, read: &Enum, written: &Enum) -> Vec<Incompatibility> {
        let mut reasons = self.names(&read.named, &written.named);
        let known: HashSet<&String> = read.symbols.iter().collect();
        let mut missing: Vec<&str> = written
            .symbols
            .iter()
            .filter(|symbol| !known.contains(symbol))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() && read.default.is_none() {
            missing.sort_unstable();
            let detail = format!("[{}]", missing.join(", "));
            reasons.push(self.at("symbols", |checker| {
                checker.reason(Kind::MissingEnumSymbols, detail)
            }));
        }
        reasons
    }

    fn fixed(&mut self, read: &Fixed, written: &Fixed) -> Vec<Incompatibility> {
        let mut reasons = self.names(&read.named, &written.named);
        if read.size != written.size {
            let detail = format!("expected: {}, found: {}", written.size, read.size);
            reasons.push(self.at("size", |checker| {
                checker.reason(Kind::FixedSizeMismatch, detail)
            }));
        }
        reasons
    }

    fn names(&mut self, read: &Named, written: &Named) -> Vec<Incompatibility> {
        if names_match(read, &written.name) {
            return Vec::new();
        }
        let detail = format!("expected: {}", written.name.full());
        vec![self.at("name", |checker| checker.reason(Kind::NameMismatch, detail))]
    }

    fn mismatch(&self, read: &Shape, written: &Shape) -> Vec<Incompatibility> {
        let detail = format!(
            "reader type: {} not compatible with writer type: {}",
            read.type_name(),
            written.type_name()
        );
        vec![self.reason(Kind::TypeMismatch, detail)]
    }

    fn abandon(&mut self, kind: Kind, detail: String) -> Incompatibility {
        let reason = self.reason(kind, detail);
        self.abandoned.get_or_insert_with(|| reason.clone());
        reason
    }

    fn reason(&self, kind: Kind, detail: String) -> Incompatibility {
        Incompatibility {
            kind,
            path: format!("/{}", self.path.join("/")),
            detail,
        }
    }
}

fn names_match(read: &Named, written: &Name) -> bool {
    read.name.simple == written.simple || read.aliases.contains(written)
}

/// What a reader of type `to` may read without loss of range ("Schema Resolution" in the Avro
/// specification).
fn promotes(from: Primitive, to: Primitive) -> bool {
    use Primitive::{Bytes, Double, Float, Int, Long, String};
    from == to
        || matches!(
            (from, to),
            (Int, Long | Float | Double)
                | (Long, Float | Double)
                | (Float, Double)
                | (String, Bytes)
                | (Bytes, String)
        )
}

#[cfg(test)]
mod tests {
    use super::{Schema, incompatibilities};

    fn reasons(reader: &str, writer: &str) -> Vec<String> {
        let (reader, writer) = (
            Schema::parse(reader).unwrap(),
            Schema::parse(writer).unwrap(),
        );
        incompatibilities(&reader, &writer)
            .into_iter()
            .map(|reason| format!("{} {} {}", reason.kind, reason.path, reason.detail))
            .collect()
    }

    #[track_caller]
    fn check(reader: &str, writer: &str, expected: &[&str]) {
        assert_eq!(
            reasons(reader, writer),
            expected,
            "\nreader {reader}\nwriter {writer}"
        );
    }

    fn record(name: &str, rest: &str, fields: &[&str]) -> String {
        let fields = fields.join(",");
        format!(r#"{{"type":"record","name":"{name}"{rest},"fields":[{fields}]}}"#)
    }

    #[test]
    fn numbers_promote_upwards_and_text_both_ways() {
        const ORDER: [&str; 4] = ["\"int\"", "\"long\"", "\"float\"", "\"double\""];
        for (low, writer) in ORDER.iter().enumerate() {
            for (high, reader) in ORDER.iter().enumerate() {
                assert_eq!(
                    reasons(reader, writer).is_empty(),
                    low <= high,
                    "{reader} {writer}"
                );
            }
        }
        check("\"bytes\"", "\"string\"", &[]);
        check("\"string\"", "\"bytes\"", &[]);
        check(
            "\"string\"",
            "\"int\"",
            &["TYPE_MISMATCH / reader type: STRING not compatible with writer type: INT"],
        );
    }

    #[test]
    fn logical_types_play_no_part() {
        check(
            r#"{"type":"long","logicalType":"timestamp-micros"}"#,
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            &[],
        );
        check(
            r#"{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}"#,
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            &[],
        );
    }

    #[test]
    fn a_field_only_the_reader_has_needs_a_default() {
        let writer = record("R", "", &[r#"{"name":"a","type":"int"}"#]);
        let reader = |field: &str| record("R", "", &[r#"{"name":"a","type":"int"}"#, field]);
        check(
            &reader(r#"{"name":"b","type":["null","int"],"default":null}"#),
            &writer,
            &[],
        );
        check(
            &reader(r#"{"name":"b","type":["null","int"]}"#),
            &writer,
            &["READER_FIELD_MISSING_DEFAULT_VALUE /fields/1 b"],
        );
        check(&writer, &reader(r#"{"name":"b","type":"int"}"#), &[]);
    }

    #[test]
    fn field_aliases_of_the_reader_count_and_may_match_once() {
        let writer = record(
            "R",
            "",
            &[
                r#"{"name":"a","type":"int"}"#,
                r#"{"name":"b","type":"string"}"#,
            ],
        );
        let reader = |field: &str| record("R", "", &[field]);
        check(
            &reader(r#"{"name":"x","type":"long","aliases":["none","a"]}"#),
            &writer,
            &[],
        );
        check(
            &reader(r#"{"name":"x","type":"long","aliases":["b"]}"#),
            &writer,
            &[
                "TYPE_MISMATCH /fields/0/type reader type: LONG not compatible with writer type: STRING",
            ],
        );
        check(
            &reader(r#"{"name":"a","type":"int","aliases":["b"]}"#),
            &writer,
            &["AMBIGUOUS_FIELD /fields/0 a"],
        );
        // Java throws, so the other branch is not tried.
        check(
            &format!(
                "[{},\"null\"]",
                reader(r#"{"name":"a","type":"int","aliases":["b"]}"#)
            ),
            &writer,
            &["AMBIGUOUS_FIELD /fields/0 a"],
        );
    }

    #[test]
    fn named_types_match_by_simple_name_or_by_an_alias_of_the_reader() {
        let named = |name: &str, rest: &str| record(name, rest, &[]);
        check(&named("R", ""), &named("com.example.R", ""), &[]);
        check(
            &named("S", ""),
            &named("R", ""),
            &["NAME_MISMATCH /name expected: R"],
        );
        check(&named("S", r#","aliases":["R"]"#), &named("R", ""), &[]);
        check(
            &named("S", ""),
            &named("R", r#","aliases":["S"]"#),
            &["NAME_MISMATCH /name expected: R"],
        );
        check(&named("a.S", r#","aliases":["R"]"#), &named("a.R", ""), &[]);
        check(
            &named("a.S", r#","aliases":["R"]"#),
            &named("R", ""),
            &["NAME_MISMATCH /name expected: R"],
        );
    }

    #[test]
    fn enum_symbols_must_be_known_or_have_a_default_to_become() {
        let symbols = |symbols: &str, rest: &str| {
            format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]{rest}}}"#)
        };
        let writer = symbols(r#""C","A","B""#, "");
        check(&symbols(r#""A","B","C","D""#, ""), &writer, &[]);
        check(
            &symbols(r#""A""#, ""),
            &writer,
            &["MISSING_ENUM_SYMBOLS /symbols [B, C]"],
        );
        check(&symbols(r#""A""#, r#","default":"A""#), &writer, &[]);
    }

    #[test]
    fn fixed_must_have_the_same_size() {
        check(
            r#"{"type":"fixed","name":"F","size":4}"#,
            r#"{"type":"fixed","name":"F","size":8}"#,
            &["FIXED_SIZE_MISMATCH /size expected: 8, found: 4"],
        );
    }

    #[test]
    fn every_written_branch_needs_a_reading_one() {
        check(r#"["null","string"]"#, "\"string\"", &[]);
        check(
            "\"string\"",
            r#"["null","string"]"#,
            &["TYPE_MISMATCH /0 reader type: STRING not compatible with writer type: NULL"],
        );
        check("\"long\"", r#"["int","long"]"#, &[]);
        check(
            r#"["null","string"]"#,
            r#"["null","string","int"]"#,
            &["MISSING_UNION_BRANCH /2 reader union lacking writer type: INT"],
        );
        check(
            r#"["null","string"]"#,
            "\"int\"",
            &["MISSING_UNION_BRANCH / reader union lacking writer type: INT"],
        );
        check(r#"["null","double"]"#, r#"["int","null"]"#, &[]);
    }

    #[test]
    fn containers_are_compared_by_their_contents() {
        let path =
            "TYPE_MISMATCH /items/values reader type: INT not compatible with writer type: LONG";
        check(
            r#"{"type":"array","items":{"type":"map","values":"int"}}"#,
            r#"{"type":"array","items":{"type":"map","values":"long"}}"#,
            &[path],
        );
    }

    /// A change envelope: the row type is defined under `before` and referred to under `after`.
    #[test]
    fn a_change_behind_a_reference_is_seen() {
        let envelope = |fields: &[&str]| {
            let before = format!(
                r#"{{"name":"before","type":["null",{}]}}"#,
                record("V", "", fields)
            );
            record(
                "Envelope",
                "",
                &[&before, r#"{"name":"after","type":["null","V"]}"#],
            )
        };
        let a = r#"{"name":"a","type":"int"}"#;
        check(
            &envelope(&[a, r#"{"name":"b","type":"int"}"#]),
            &envelope(&[a]),
            &[
                "MISSING_UNION_BRANCH /fields/0/type/1 reader union lacking writer type: RECORD",
                "MISSING_UNION_BRANCH /fields/1/type/1 reader union lacking writer type: RECORD",
            ],
        );
        check(
            &envelope(&[a, r#"{"name":"b","type":"int","default":0}"#]),
            &envelope(&[a]),
            &[],
        );
    }

    #[test]
    fn recursive_types_come_to_an_end() {
        let list = |value: &str| {
            let value = format!(r#"{{"name":"value","type":"{value}"}}"#);
            record("L", "", &[&value, r#"{"name":"next","type":["null","L"]}"#])
        };
        check(&list("long"), &list("int"), &[]);
        check(
            &list("int"),
            &list("long"),
            &[
                "TYPE_MISMATCH /fields/0/type reader type: INT not compatible with writer type: LONG",
            ],
        );
    }

    #[test]
    fn a_chain_of_types_longer_than_the_stack_is_refused() {
        let mut types = vec!["\"null\"".to_owned(), record("T0", "", &[])];
        for n in 1..5000 {
            let field = format!(r#"{{"name":"f","type":"T{}"}}"#, n - 1);
            types.push(record(&format!("T{n}"), "", &[&field]));
        }
        // The definitions stand in a field that the writer has under another name, so the chain is
        // entered at its far end.
        let root = |definitions: &str| {
            let types = types.join(",");
            let definitions =
                format!(r#"{{"name":"{definitions}","type":[{types}],"default":null}}"#);
            record(
                "Root",
                "",
                &[&definitions, r#"{"name":"end","type":"T4999"}"#],
            )
        };
        let found = reasons(&root("reader"), &root("writer"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("TOO_COMPLEX"), "{found:?}");
    }

    #[test]
    fn comparing_everything_with_everything_has_an_end() {
        let types: Vec<String> = (0..2000)
            .map(|n| record(&format!("T{n}"), "", &[]))
            .collect();
        let reader = format!("[{}]", types.join(","));
        let writer = reader.replace("\"T", "\"U");
        let found = reasons(&reader, &writer);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("TOO_COMPLEX"), "{found:?}");
    }

    #[test]
    fn types_that_use_each_other_twice_do_not_double_the_reasons() {
        let chain = |leaf: &str| {
            let mut types = vec![format!(
                "{{\"type\":\"fixed\",\"name\":\"T0\",\"size\":{leaf}}}"
            )];
            for n in 1..60 {
                let field = |name: &str| format!(r#"{{"name":"{name}","type":"T{}"}}"#, n - 1);
                types.push(record(&format!("T{n}"), "", &[&field("a"), &field("b")]));
            }
            let fields: Vec<String> = types
                .iter()
                .enumerate()
                .map(|(n, schema)| format!(r#"{{"name":"f{n}","type":{schema}}}"#))
                .collect();
            record(
                "Root",
                "",
                &fields.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        };
        assert_eq!(reasons(&chain("1"), &chain("2")).len(), super::MAX_REASONS);
    }
}
