//! An Avro schema as the registry sees it: parsed by Java's rules, because what the registry
//! stores and compares must be what Confluent's registry would store and compare.
//!
//! The model keeps everything the text said (doc, aliases, custom properties in their order), so
//! that the canonical text can be printed from it. Nodes live in one arena; a reference to a named
//! type is the id of the node that defined it, which makes recursive schemas plain data.

mod defaults;
mod parser;

use std::sync::Arc;

use serde_json::{Map, Value};

pub(crate) use defaults::InvalidDefault;
pub(crate) use parser::ParseError;

/// A parsed schema: the arena of its nodes, and which of them is the outermost. The first
/// `referenced` nodes are those of the schemas that it refers to.
#[derive(Debug)]
pub(crate) struct Schema {
    nodes: Vec<Node>,
    referenced: usize,
    root: NodeId,
}

impl Schema {
    /// A schema that refers to no other.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        parser::parse(text, &[])
    }

    /// Parses schema text as Java's `Schema.Parser` does; defaults are not looked at, see
    /// [`Schema::check_defaults`]. The types of other schemas are known by name: `referenced`
    /// holds their texts, each after those that it uses.
    pub(crate) fn parse_with(text: &str, referenced: &[Arc<str>]) -> Result<Self, ParseError> {
        parser::parse(text, referenced)
    }

    /// Checks that every default value fits its field, as Java does for schemas that are new.
    pub(crate) fn check_defaults(&self) -> Result<(), InvalidDefault> {
        defaults::check(self)
    }

    pub(crate) fn root(&self) -> NodeId {
        self.root
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The nodes of the schemas that this one refers to.
    pub(crate) fn referenced(&self) -> impl Iterator<Item = NodeId> {
        (0..self.referenced).map(NodeId)
    }

    fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

/// Where a node stands in its schema's arena. Meaningless in another schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(usize);

/// One type of the schema, with the properties that Avro itself gives no meaning
/// (`logicalType` and its like among them).
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) shape: Shape,
    pub(crate) properties: Map<String, Value>,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Primitive(Primitive),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Record),
    Enum(Enum),
    Fixed(Fixed),
}

impl Shape {
    /// The type's name in Java's messages, `Schema.Type`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Primitive(primitive) => primitive.type_name(),
            Self::Array(_) => "ARRAY",
            Self::Map(_) => "MAP",
            Self::Union(_) => "UNION",
            Self::Record(_) => "RECORD",
            Self::Enum(_) => "ENUM",
            Self::Fixed(_) => "FIXED",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Primitive {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

impl Primitive {
    pub(crate) const ALL: [Self; 8] = [
        Self::Null,
        Self::Boolean,
        Self::Int,
        Self::Long,
        Self::Float,
        Self::Double,
        Self::Bytes,
        Self::String,
    ];

    /// The name in schema text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|primitive| primitive.name() == name)
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean => "BOOLEAN",
            Self::Int => "INT",
            Self::Long => "LONG",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::Bytes => "BYTES",
            Self::String => "STRING",
        }
    }
}

/// What record, enum and fixed have in common.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Name,
    pub(crate) aliases: Vec<Name>,
    pub(crate) doc: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) named: Named,
    pub(crate) kind: RecordKind,
    pub(crate) fields: Vec<Field>,
}

/// Protocol errors are records of another name; only the printed text differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Record,
    Error,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) schema: NodeId,
    pub(crate) doc: Option<String>,
    /// `Some(Value::Null)` is the default `null`; `None` is no default.
    pub(crate) default: Option<Value>,
    pub(crate) order: Order,
    pub(crate) aliases: Vec<String>,
    pub(crate) properties: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
    Ignore,
}

#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) named: Named,
    pub(crate) symbols: Vec<String>,
    pub(crate) default: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) named: Named,
    pub(crate) size: u32,
}

/// The name of a record, enum or fixed: a simple name, perhaps in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) simple: String,
    pub(crate) namespace: Option<String>,
}

impl Name {
    /// Splits a dotted name; one without a dot belongs to `default_namespace`.
    pub(crate) fn new(text: &str, default_namespace: Option<&str>) -> Self {
        let (namespace, simple) = match text.rsplit_once('.') {
            Some((namespace, simple)) => (Some(namespace), simple),
            None => (default_namespace, text),
        };
        Self {
            simple: simple.to_owned(),
            namespace: namespace
                .filter(|space| !space.is_empty())
                .map(str::to_owned),
        }
    }

    pub(crate) fn full(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}.{}", self.simple),
            None => self.simple.clone(),
        }
    }
}
