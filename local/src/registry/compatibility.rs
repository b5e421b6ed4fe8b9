//! Whether data written with one schema can be read with another: the rules of Java's
//! `SchemaCompatibility.checkReaderWriterCompatibility`, which Confluent's registry applies.
//!
//! Logical types play no part. Named types match by simple name, so a namespace may change, or by
//! an alias of the reader. A pair met again while it is being decided counts as compatible, which
//! ends recursion; what is decided about it on the way stays decided, as in Java.

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
    };
    let found = checker.pair(reader.root(), writer.root());
    Rc::unwrap_or_clone(found)
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
    /// One line, with what happened, where and why.
    pub(crate) fn describe(&self) -> String {
        let Self { kind, path, detail } = self;
        let description = match kind {
            Kind::NameMismatch => format!("The name at path '{path}' has changed"),
            Kind::FixedSizeMismatch => {
                format!("The size at path '{path}' is not the same in both schemas")
            }
            Kind::MissingEnumSymbols => {
                format!("The enum at path '{path}' lacks symbols {detail} that may be written")
            }
            Kind::ReaderFieldMissingDefaultValue => format!(
                "The field '{detail}' at path '{path}' has no default value and may not be written"
            ),
            Kind::TypeMismatch => format!(
                "The type (path '{path}') of a field in the new schema does not match with the old schema"
            ),
            Kind::MissingUnionBranch => {
                format!("The union at path '{path}' lacks a type that may be written")
            }
            Kind::AmbiguousField => {
                format!("The field '{detail}' at path '{path}' matches two fields by its aliases")
            }
            Kind::NestedTooDeep => format!("The types at path '{path}' nest too deep to compare"),
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
    /// Named types lead deeper than [`MAX_DEPTH`]; Java's stack overflows at some such depth.
    NestedTooDeep,
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
            Self::NestedTooDeep => "NESTED_TOO_DEEP",
        })
    }
}

/// Text cannot nest deeper than 128, but references between named types can. 400 levels of this
/// module's frames fit a 2 MiB thread stack several times over, in debug builds too.
const MAX_DEPTH: usize = 400;

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
}

impl Checker<'_> {
    fn pair(&mut self, reader: NodeId, writer: NodeId) -> Reasons {
        match self.decided.get(&(reader, writer)) {
            Some(Some(reasons)) => return Rc::clone(reasons),
            Some(None) => return Reasons::default(),
            None => {}
        }
        if self.depth == MAX_DEPTH {
            let detail = format!("named types lead more than {MAX_DEPTH} levels deep");
            return Rc::new(vec![self.reason(Kind::NestedTooDeep, detail)]);
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
            (Shape::Record(read), Shape::Record(written)) => self.records(read, written),
            (Shape::Enum(read), Shape::Enum(written)) => self.enums(read, written),
            (Shape::Fixed(read), Shape::Fixed(written)) => self.fixed(read, written),
            (Shape::Primitive(to), Shape::Primitive(from)) if promotes(*from, *to) => Vec::new(),
            _ => self.mismatch(read, written),
        }
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
            if self.pair(reader, *branch).is_empty() {
                continue;
            }
            let missing = self.writer.node(*branch).shape.type_name();
            reasons.push(self.at(&position.to_string(), |checker| checker.no_branch(missing)));
        }
        reasons
    }

    fn written_union(&mut self, reader: NodeId, branches: &[NodeId]) -> Vec<Incompatibility> {
        let mut reasons = Vec::new();
        for branch in branches {
            reasons.extend_from_slice(&self.pair(reader, *branch));
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
            if self.pair(*branch, writer).is_empty() {
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

    fn records(&mut self, read: &Record, written: &Record) -> Vec<Incompatibility> {
        let mut reasons = self.names(&read.named, &written.named);
        let written: HashMap<&str, &Field> = written
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field))
            .collect();
        for (position, field) in read.fields.iter().enumerate() {
            let found = self.at("fields", |checker| {
                checker.at(&position.to_string(), |checker| {
                    checker.field(field, &written)
                })
            });
            reasons.extend(found);
        }
        reasons
    }

    fn field(&mut self, field: &Field, written: &HashMap<&str, &Field>) -> Vec<Incompatibility> {
        let aliased = field
            .aliases
            .iter()
            .filter_map(|alias| written.get(alias.as_str()));
        let mut candidates = written.get(field.name.as_str()).into_iter().chain(aliased);
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => self.step("type", field.schema, only.schema),
            (Some(_), Some(_)) => {
                vec![self.reason(Kind::AmbiguousField, field.name.clone())]
            }
            (None, _) if field.default.is_some() => Vec::new(),
            (None, _) => {
                vec![self.reason(Kind::ReaderFieldMissingDefaultValue, field.name.clone())]
            }
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
