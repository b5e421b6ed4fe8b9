//! Schema text to [`Schema`]: what Java's `Schema.Parser` accepts, and nothing else.
//!
//! Depth needs no limit of its own: `serde_json` refuses text nested deeper than 128.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::{
    Enum, Field, Fixed, Name, Named, Node, NodeId, Order, Primitive, Record, RecordKind, Schema,
    Shape,
};

/// The types of the `referenced` texts, each of which may use those before it, are known by name.
pub(super) fn parse(text: &str, referenced: &[Arc<str>]) -> Result<Schema, ParseError> {
    let mut parser = Parser {
        nodes: Vec::new(),
        names: HashMap::new(),
        namespace: None,
    };
    for text in referenced {
        parser.schema(&json(text)?)?;
    }
    let referenced = parser.nodes.len();
    let root = parser.schema(&json(text)?)?;
    Ok(Schema {
        nodes: parser.nodes,
        referenced,
        root,
    })
}

fn json(text: &str) -> Result<Value, ParseError> {
    serde_json::from_str(text).map_err(ParseError::Json)
}

/// Why a text is no Avro schema.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("the schema is not JSON: {0}")]
    Json(serde_json::Error),
    #[error("a schema is a name, an object or an array, not {0}")]
    NotASchema(&'static str),
    #[error("'{0}' is neither a type nor a name defined before its use")]
    UnknownName(String),
    #[error("{whose} has no {attribute}")]
    Missing {
        whose: String,
        attribute: &'static str,
    },
    #[error("{attribute} of {whose} is not {expected}")]
    Malformed {
        whose: String,
        attribute: &'static str,
        expected: &'static str,
    },
    #[error("'{0}' is not a name: letters, digits and '_', and no digit first")]
    IllegalName(String),
    #[error("'{0}' is defined twice")]
    Redefined(String),
    #[error("'{0}' is the name of a primitive type")]
    NamedAfterPrimitive(String),
    #[error("record {record} has two fields '{field}'")]
    DuplicateField { record: String, field: String },
    #[error("enum {name} has the symbol '{symbol}' twice")]
    DuplicateSymbol { name: String, symbol: String },
    #[error("the default '{default}' of enum {name} is not among its symbols")]
    UnknownEnumDefault { name: String, default: String },
    #[error("a union has the branch '{0}' twice")]
    DuplicateBranch(String),
    #[error("a union stands directly inside a union")]
    NestedUnion,
}

/// Attributes of a type that Avro gives a meaning; all others are properties.
const TYPE_ATTRIBUTES: [&str; 10] = [
    "doc",
    "fields",
    "items",
    "name",
    "namespace",
    "size",
    "symbols",
    "values",
    "type",
    "aliases",
];
const FIELD_ATTRIBUTES: [&str; 6] = ["default", "doc", "name", "order", "type", "aliases"];

struct Parser {
    nodes: Vec<Node>,
    names: HashMap<Name, NodeId>,
    /// The namespace of the named type around the place being parsed.
    namespace: Option<String>,
}

impl Parser {
    fn schema(&mut self, json: &Value) -> Result<NodeId, ParseError> {
        match json {
            Value::String(name) => self.reference(name),
            Value::Object(object) => self.object(object),
            Value::Array(branches) => self.union(branches),
            Value::Null => Err(ParseError::NotASchema("null")),
            Value::Bool(_) => Err(ParseError::NotASchema("a boolean")),
            Value::Number(_) => Err(ParseError::NotASchema("a number")),
        }
    }

    fn add(&mut self, shape: Shape, properties: Map<String, Value>) -> NodeId {
        self.nodes.push(Node { shape, properties });
        NodeId(self.nodes.len() - 1)
    }

    /// A name that the surrounding namespace does not have is looked for without namespace.
    fn reference(&mut self, text: &str) -> Result<NodeId, ParseError> {
        if let Some(primitive) = Primitive::named(text) {
            return Ok(self.add(Shape::Primitive(primitive), Map::new()));
        }
        let name = Name::new(text, self.namespace.as_deref());
        let bare = Name {
            simple: name.simple.clone(),
            namespace: None,
        };
        self.names
            .get(&name)
            .or_else(|| self.names.get(&bare))
            .copied()
            .ok_or_else(|| ParseError::UnknownName(text.to_owned()))
    }

    fn object(&mut self, object: &Map<String, Value>) -> Result<NodeId, ParseError> {
        let kind = required_text(object, "a schema", "type")?;
        if let Some(primitive) = Primitive::named(kind) {
            return Ok(self.add(Shape::Primitive(primitive), type_properties(object)));
        }
        match kind {
            "record" => self.record(object, RecordKind::Record),
            "error" => self.record(object, RecordKind::Error),
            "enum" => self.enumeration(object),
            "fixed" => self.fixed(object),
            "array" => {
                let items = self.schema(required(object, "an array", "items")?)?;
                Ok(self.add(Shape::Array(items), type_properties(object)))
            }
            "map" => {
                let values = self.schema(required(object, "a map", "values")?)?;
                Ok(self.add(Shape::Map(values), type_properties(object)))
            }
            // `{"type": "com.example.Known"}`: the named type itself, with nothing added.
            name => self
                .names
                .get(&Name::new(name, self.namespace.as_deref()))
                .copied()
                .ok_or_else(|| ParseError::UnknownName(name.to_owned())),
        }
    }

    fn union(&mut self, branches: &[Value]) -> Result<NodeId, ParseError> {
        let mut ids = Vec::with_capacity(branches.len());
        let mut seen = Vec::with_capacity(branches.len());
        for branch in branches {
            let id = self.schema(branch)?;
            let name = match &self.nodes[id.0].shape {
                Shape::Union(_) => return Err(ParseError::NestedUnion),
                Shape::Primitive(primitive) => primitive.name().to_owned(),
                Shape::Array(_) => "array".to_owned(),
                Shape::Map(_) => "map".to_owned(),
                Shape::Record(record) => record.named.name.full(),
                Shape::Enum(enumeration) => enumeration.named.name.full(),
                Shape::Fixed(fixed) => fixed.named.name.full(),
            };
            if seen.contains(&name) {
                return Err(ParseError::DuplicateBranch(name));
            }
            seen.push(name);
            ids.push(id);
        }
        Ok(self.add(Shape::Union(ids), Map::new()))
    }

    fn record(
        &mut self,
        object: &Map<String, Value>,
        kind: RecordKind,
    ) -> Result<NodeId, ParseError> {
        let named = self.named(object)?;
        let full = named.name.full();
        let fields = required(object, &full, "fields")?
            .as_array()
            .ok_or_else(|| malformed(&full, "fields", "an array"))?;

        // The name must be known before the fields are read: they may refer to the record.
        let inner = named.name.namespace.clone();
        let record = Record {
            named,
            kind,
            fields: Vec::new(),
        };
        let id = self.define(Shape::Record(record), type_properties(object))?;
        let outer = std::mem::replace(&mut self.namespace, inner);
        let fields = self.fields(&full, fields)?;
        self.namespace = outer;
        if let Shape::Record(record) = &mut self.nodes[id.0].shape {
            record.fields = fields;
        }
        Ok(id)
    }

    fn fields(&mut self, record: &str, fields: &[Value]) -> Result<Vec<Field>, ParseError> {
        let mut parsed: Vec<Field> = Vec::with_capacity(fields.len());
        let mut positions = HashMap::with_capacity(fields.len());
        for (position, field) in fields.iter().enumerate() {
            let field = self.field(record, field)?;
            if positions.insert(field.name.clone(), position).is_some() {
                let record = record.to_owned();
                return Err(ParseError::DuplicateField {
                    record,
                    field: field.name,
                });
            }
            parsed.push(field);
        }
        Ok(parsed)
    }

    fn field(&mut self, record: &str, field: &Value) -> Result<Field, ParseError> {
        let object = field
            .as_object()
            .ok_or_else(|| malformed(record, "a field", "an object"))?;
        let name = required_text(object, &format!("a field of {record}"), "name")?;
        check_name(name)?;
        let whose = format!("{record}.{name}");
        let schema = self.schema(required(object, &whose, "type")?)?;
        Ok(Field {
            name: name.to_owned(),
            schema,
            doc: optional_text(object, "doc"),
            default: self.default(object, schema),
            order: order(object, &whose)?,
            aliases: aliases(object, &whose)?,
            properties: properties(object, &FIELD_ATTRIBUTES),
        })
    }

    /// For a floating-point number Java takes text too, and keeps the number that it names.
    fn default(&self, field: &Map<String, Value>, schema: NodeId) -> Option<Value> {
        let default = field.get("default")?;
        let shape = &self.nodes[schema.0].shape;
        if let Value::String(text) = default
            && matches!(
                shape,
                Shape::Primitive(Primitive::Float | Primitive::Double)
            )
            && let Some(number) = text.trim().parse().ok().and_then(Number::from_f64)
        {
            return Some(Value::Number(number));
        }
        Some(default.clone())
    }

    fn enumeration(&mut self, object: &Map<String, Value>) -> Result<NodeId, ParseError> {
        let named = self.named(object)?;
        let full = named.name.full();
        let symbols = required(object, &full, "symbols")?
            .as_array()
            .ok_or_else(|| malformed(&full, "symbols", "an array"))?;
        let symbols = symbols_of(&full, symbols)?;
        let default = optional_text(object, "default");
        if let Some(default) = default
            .as_ref()
            .filter(|default| !symbols.contains(default))
        {
            let default = default.clone();
            return Err(ParseError::UnknownEnumDefault {
                name: full,
                default,
            });
        }
        let mut properties = type_properties(object);
        properties.shift_remove("default");
        self.define(
            Shape::Enum(Enum {
                named,
                symbols,
                default,
            }),
            properties,
        )
    }

    fn fixed(&mut self, object: &Map<String, Value>) -> Result<NodeId, ParseError> {
        let named = self.named(object)?;
        let full = named.name.full();
        let size = required(object, &full, "size")?
            .as_u64()
            .filter(|size| i32::try_from(*size).is_ok())
            .and_then(|size| u32::try_from(size).ok())
            .ok_or_else(|| malformed(&full, "size", "a whole number from 0 to 2147483647"))?;
        self.define(Shape::Fixed(Fixed { named, size }), type_properties(object))
    }

    /// Name, aliases and doc of a named type. Aliases without a dot share its namespace.
    fn named(&self, object: &Map<String, Value>) -> Result<Named, ParseError> {
        let text = required_text(object, "a named type", "name")?;
        let namespace = match object.get("namespace").and_then(Value::as_str) {
            Some(namespace) => Some(namespace),
            None => self.namespace.as_deref(),
        };
        let name = Name::new(text, namespace);
        check_name(&name.simple)?;
        if name.namespace.is_none() && Primitive::named(&name.simple).is_some() {
            return Err(ParseError::NamedAfterPrimitive(name.simple));
        }
        let mut seen: Vec<Name> = Vec::new();
        for alias in aliases(object, &name.full())? {
            let alias = Name::new(&alias, name.namespace.as_deref());
            check_name(&alias.simple)?;
            if !seen.contains(&alias) {
                seen.push(alias);
            }
        }
        Ok(Named {
            name,
            aliases: seen,
            doc: optional_text(object, "doc"),
        })
    }

    fn define(
        &mut self,
        shape: Shape,
        properties: Map<String, Value>,
    ) -> Result<NodeId, ParseError> {
        let name = match &shape {
            Shape::Record(record) => &record.named.name,
            Shape::Enum(enumeration) => &enumeration.named.name,
            Shape::Fixed(fixed) => &fixed.named.name,
            Shape::Primitive(_) | Shape::Array(_) | Shape::Map(_) | Shape::Union(_) => {
                return Ok(self.add(shape, properties));
            }
        };
        if self.names.contains_key(name) {
            return Err(ParseError::Redefined(name.full()));
        }
        let name = name.clone();
        let id = self.add(shape, properties);
        self.names.insert(name, id);
        Ok(id)
    }
}

fn symbols_of(name: &str, symbols: &[Value]) -> Result<Vec<String>, ParseError> {
    let mut seen = std::collections::HashSet::with_capacity(symbols.len());
    let mut parsed = Vec::with_capacity(symbols.len());
    for symbol in symbols {
        let symbol = symbol
            .as_str()
            .ok_or_else(|| malformed(name, "a symbol", "a string"))?;
        check_name(symbol)?;
        if !seen.insert(symbol) {
            let symbol = symbol.to_owned();
            return Err(ParseError::DuplicateSymbol {
                name: name.to_owned(),
                symbol,
            });
        }
        parsed.push(symbol.to_owned());
    }
    Ok(parsed)
}

fn order(object: &Map<String, Value>, whose: &str) -> Result<Order, ParseError> {
    let Some(order) = object.get("order") else {
        return Ok(Order::Ascending);
    };
    match order.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("ascending") => Ok(Order::Ascending),
        Some("descending") => Ok(Order::Descending),
        Some("ignore") => Ok(Order::Ignore),
        _ => Err(malformed(whose, "order", "ascending, descending or ignore")),
    }
}

/// Duplicates are dropped, the first place wins: Java keeps aliases in a `LinkedHashSet`.
fn aliases(object: &Map<String, Value>, whose: &str) -> Result<Vec<String>, ParseError> {
    let Some(aliases) = object.get("aliases") else {
        return Ok(Vec::new());
    };
    let aliases = aliases
        .as_array()
        .ok_or_else(|| malformed(whose, "aliases", "an array"))?;
    let mut parsed: Vec<String> = Vec::with_capacity(aliases.len());
    for alias in aliases {
        let alias = alias
            .as_str()
            .ok_or_else(|| malformed(whose, "an alias", "a string"))?;
        if !parsed.iter().any(|known| known == alias) {
            parsed.push(alias.to_owned());
        }
    }
    Ok(parsed)
}

/// Java asks `Character.isLetter`, so letters of any script are names to it.
fn check_name(name: &str) -> Result<(), ParseError> {
    let mut letters = name.chars();
    let starts = letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_');
    if starts && letters.all(|letter| letter.is_alphanumeric() || letter == '_') {
        Ok(())
    } else {
        Err(ParseError::IllegalName(name.to_owned()))
    }
}

fn type_properties(object: &Map<String, Value>) -> Map<String, Value> {
    properties(object, &TYPE_ATTRIBUTES)
}

fn properties(object: &Map<String, Value>, attributes: &[&str]) -> Map<String, Value> {
    object
        .iter()
        .filter(|(key, _)| !attributes.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn required<'a>(
    object: &'a Map<String, Value>,
    whose: &str,
    attribute: &'static str,
) -> Result<&'a Value, ParseError> {
    object.get(attribute).ok_or_else(|| ParseError::Missing {
        whose: whose.to_owned(),
        attribute,
    })
}

fn required_text<'a>(
    object: &'a Map<String, Value>,
    whose: &str,
    attribute: &'static str,
) -> Result<&'a str, ParseError> {
    required(object, whose, attribute)?
        .as_str()
        .ok_or_else(|| malformed(whose, attribute, "a string"))
}

/// An attribute that is there but not text is dropped without a word, as Java does.
fn optional_text(object: &Map<String, Value>, attribute: &str) -> Option<String> {
    object
        .get(attribute)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

fn malformed(whose: &str, attribute: &'static str, expected: &'static str) -> ParseError {
    ParseError::Malformed {
        whose: whose.to_owned(),
        attribute,
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::{ParseError, Schema};

    #[track_caller]
    fn refused(text: &str, message: &str) {
        let error = Schema::parse(text).expect_err("must be refused");
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn a_schema_may_be_a_name_an_object_or_a_union() {
        for text in [
            r#""string""#,
            r#"{"type":"string"}"#,
            r#"["null","int"]"#,
            r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#,
            r#"{"type":"record","name":"a.R","fields":[{"name":"f","type":{"type":"R"}}]}"#,
        ] {
            Schema::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn a_name_outside_the_namespace_is_looked_for_without_one() {
        Schema::parse(
            r#"["null",{"type":"fixed","name":"F","size":2},
               {"type":"record","name":"a.R","fields":[{"name":"f","type":"F"}]}]"#,
        )
        .unwrap();
    }

    #[test]
    fn what_java_refuses_is_refused() {
        refused(
            "7",
            "a schema is a name, an object or an array, not a number",
        );
        refused(
            r#""R""#,
            "'R' is neither a type nor a name defined before its use",
        );
        refused(
            r#"{"type":{"type":"string"}}"#,
            "type of a schema is not a string",
        );
        refused(r#"{"type":"array"}"#, "an array has no items");
        refused(r#"{"type":"record","name":"R"}"#, "R has no fields");
        refused(
            r#"{"type":"record","name":"1R","fields":[]}"#,
            "'1R' is not a name: letters, digits and '_', and no digit first",
        );
        refused(
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            "record R has two fields 'a'",
        );
        refused(r#"["int","int"]"#, "a union has the branch 'int' twice");
        refused(
            r#"["int",["string"]]"#,
            "a union stands directly inside a union",
        );
        refused(
            r#"{"type":"enum","name":"E","symbols":["A","A"]}"#,
            "enum E has the symbol 'A' twice",
        );
        refused(
            r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#,
            "the default 'B' of enum E is not among its symbols",
        );
        refused(
            r#"{"type":"fixed","name":"F","size":-1}"#,
            "size of F is not a whole number from 0 to 2147483647",
        );
        refused(
            r#"{"type":"fixed","name":"string","size":1}"#,
            "'string' is the name of a primitive type",
        );
        refused(
            r#"[{"type":"fixed","name":"F","size":1},{"type":"enum","name":"F","symbols":[]}]"#,
            "'F' is defined twice",
        );
    }

    #[test]
    fn text_nested_too_deep_is_refused_rather_than_overflowing_the_stack() {
        let text = format!("{}\"int\"{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(Schema::parse(&text), Err(ParseError::Json(_))));
    }
}
