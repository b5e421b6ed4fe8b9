//! The canonical text of a schema: compact, with the attributes in the order in which Java's
//! `Schema.toString` writes them. Two texts are the same schema to the registry when their
//! canonical texts are equal, so doc and defaults count and the order of attributes does not.
//!
//! It is not Avro's "parsing canonical form", which drops doc, defaults and properties.

use std::collections::HashSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::schema::{
    Enum, Field, Fixed, Name, Named, NodeId, Order, Primitive, Record, RecordKind, Schema, Shape,
};

/// What to do with the properties that Avro gives no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Properties {
    AsWritten,
    /// Sorted by name: Confluent's `normalize=true`.
    Sorted,
}

/// Types of other schemas, which this one refers to, are names in it.
pub(crate) fn canonical_text(schema: &Schema, properties: Properties) -> String {
    print(schema, properties, schema.referenced().collect())
}

/// The canonical text with the types of other schemas defined in it: Confluent's
/// `format=resolved`.
pub(crate) fn resolved_text(schema: &Schema) -> String {
    print(schema, Properties::AsWritten, HashSet::new())
}

fn print(schema: &Schema, properties: Properties, printed: HashSet<NodeId>) -> String {
    let mut printer = Printer {
        schema,
        properties,
        text: String::new(),
        printed,
        namespace: None,
    };
    printer.schema(schema.root());
    printer.text
}

struct Printer<'a> {
    schema: &'a Schema,
    properties: Properties,
    text: String,
    /// Named types that stand in the text already: from now on only their names.
    printed: HashSet<NodeId>,
    /// The namespace of the named type around the place being printed.
    namespace: Option<&'a str>,
}

impl<'a> Printer<'a> {
    fn schema(&mut self, id: NodeId) {
        let node = self.schema.node(id);
        match &node.shape {
            Shape::Primitive(primitive) => self.primitive(*primitive, &node.properties),
            Shape::Array(items) => self.container("array", "items", *items, &node.properties),
            Shape::Map(values) => self.container("map", "values", *values, &node.properties),
            Shape::Union(branches) => self.union(branches),
            Shape::Record(record) => self.named(id, &record.named, |printer| {
                printer.record(record, &node.properties);
            }),
            Shape::Enum(enumeration) => self.named(id, &enumeration.named, |printer| {
                printer.enumeration(enumeration, &node.properties);
            }),
            Shape::Fixed(fixed) => self.named(id, &fixed.named, |printer| {
                printer.fixed(fixed, &node.properties);
            }),
        }
    }

    fn primitive(&mut self, primitive: Primitive, properties: &Map<String, Value>) {
        if properties.is_empty() {
            self.string(primitive.name());
            return;
        }
        self.text.push_str("{\"type\":");
        self.string(primitive.name());
        self.properties(properties);
        self.text.push('}');
    }

    fn container(
        &mut self,
        kind: &str,
        attribute: &str,
        inner: NodeId,
        properties: &Map<String, Value>,
    ) {
        self.text.push_str("{\"type\":");
        self.string(kind);
        self.key(attribute);
        self.schema(inner);
        self.properties(properties);
        self.text.push('}');
    }

    fn union(&mut self, branches: &[NodeId]) {
        self.list(branches, |printer, branch| printer.schema(*branch));
    }

    /// The whole definition the first time, the name from then on.
    fn named(&mut self, id: NodeId, named: &Named, define: impl FnOnce(&mut Self)) {
        if self.printed.insert(id) {
            self.text.push('{');
            define(self);
            self.text.push('}');
        } else {
            let reference = self.reference(&named.name);
            self.string(&reference);
        }
    }

    /// A name as it must be written to be found again from inside the current namespace.
    fn reference(&self, name: &Name) -> String {
        let local = name.namespace.as_deref() == self.namespace;
        if local && !is_type_name(&name.simple) {
            name.simple.clone()
        } else {
            name.full()
        }
    }

    fn record(&mut self, record: &'a Record, properties: &Map<String, Value>) {
        self.text.push_str(match record.kind {
            RecordKind::Record => "\"type\":\"record\"",
            RecordKind::Error => "\"type\":\"error\"",
        });
        self.name(&record.named.name);
        let outer = std::mem::replace(&mut self.namespace, record.named.name.namespace.as_deref());
        self.doc(record.named.doc.as_deref());
        self.key("fields");
        self.list(&record.fields, Self::field);
        self.namespace = outer;
        self.properties(properties);
        self.type_aliases(&record.named);
    }

    fn field(&mut self, field: &Field) {
        self.text.push_str("{\"name\":");
        self.string(&field.name);
        self.key("type");
        self.schema(field.schema);
        self.doc(field.doc.as_deref());
        if let Some(default) = &field.default {
            self.key("default");
            self.value(default);
        }
        match field.order {
            Order::Ascending => {}
            Order::Descending => self.text.push_str(",\"order\":\"descending\""),
            Order::Ignore => self.text.push_str(",\"order\":\"ignore\""),
        }
        if !field.aliases.is_empty() {
            self.key("aliases");
            self.list(&field.aliases, |printer, alias| printer.string(alias));
        }
        self.properties(&field.properties);
        self.text.push('}');
    }

    fn enumeration(&mut self, enumeration: &Enum, properties: &Map<String, Value>) {
        self.text.push_str("\"type\":\"enum\"");
        self.name(&enumeration.named.name);
        self.doc(enumeration.named.doc.as_deref());
        self.key("symbols");
        self.list(&enumeration.symbols, |printer, symbol| {
            printer.string(symbol);
        });
        if let Some(default) = &enumeration.default {
            self.key("default");
            self.string(default);
        }
        self.properties(properties);
        self.type_aliases(&enumeration.named);
    }

    fn fixed(&mut self, fixed: &Fixed, properties: &Map<String, Value>) {
        self.text.push_str("\"type\":\"fixed\"");
        self.name(&fixed.named.name);
        self.doc(fixed.named.doc.as_deref());
        self.key("size");
        write!(self.text, "{}", fixed.size).expect("writing to a String cannot fail");
        self.properties(properties);
        self.type_aliases(&fixed.named);
    }

    fn name(&mut self, name: &Name) {
        self.key("name");
        self.string(&name.simple);
        if name.namespace.as_deref() != self.namespace {
            self.key("namespace");
            // An empty namespace says "none" inside a type that has one.
            self.string(name.namespace.as_deref().unwrap_or(""));
        }
    }

    fn doc(&mut self, doc: Option<&str>) {
        if let Some(doc) = doc {
            self.key("doc");
            self.string(doc);
        }
    }

    fn type_aliases(&mut self, named: &Named) {
        if named.aliases.is_empty() {
            return;
        }
        self.key("aliases");
        self.list(&named.aliases, |printer, alias| {
            if alias.namespace == named.name.namespace {
                printer.string(&alias.simple);
            } else {
                printer.string(&alias.full());
            }
        });
    }

    fn properties(&mut self, properties: &Map<String, Value>) {
        let mut entries: Vec<_> = properties.iter().collect();
        if self.properties == Properties::Sorted {
            entries.sort_by_key(|(key, _)| *key);
        }
        for (key, value) in entries {
            self.key(key);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(truth) => self.text.push_str(if *truth { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.text.push_str(&java_double(float)),
                None => {
                    write!(self.text, "{number}").expect("writing to a String cannot fail");
                }
            },
            Value::String(text) => self.string(text),
            Value::Array(values) => self.list(values, Self::value),
            Value::Object(object) => {
                self.text.push('{');
                for (position, (key, value)) in object.iter().enumerate() {
                    if position > 0 {
                        self.text.push(',');
                    }
                    self.string(key);
                    self.text.push(':');
                    self.value(value);
                }
                self.text.push('}');
            }
        }
    }

    fn list<T>(&mut self, items: &[T], mut print: impl FnMut(&mut Self, &T)) {
        self.text.push('[');
        for (position, item) in items.iter().enumerate() {
            if position > 0 {
                self.text.push(',');
            }
            print(self, item);
        }
        self.text.push(']');
    }

    fn key(&mut self, key: &str) {
        self.text.push(',');
        self.string(key);
        self.text.push(':');
    }

    /// As Jackson writes it: short escapes where JSON has them, capital digits where it has not.
    fn string(&mut self, text: &str) {
        self.text.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\u{8}' => self.text.push_str("\\b"),
                '\t' => self.text.push_str("\\t"),
                '\n' => self.text.push_str("\\n"),
                '\u{c}' => self.text.push_str("\\f"),
                '\r' => self.text.push_str("\\r"),
                '\0'..='\u{1f}' => write!(self.text, "\\u{:04X}", u32::from(letter))
                    .expect("writing to a String cannot fail"),
                _ => self.text.push(letter),
            }
        }
        self.text.push('"');
    }
}

/// Names that a reader of the text would take for a type, so that they need their namespace.
fn is_type_name(name: &str) -> bool {
    const COMPLEX: [&str; 6] = ["record", "enum", "array", "map", "union", "fixed"];
    Primitive::named(name).is_some() || COMPLEX.contains(&name)
}

/// Java's `Double.toString`: plain from 0.001 up to 10,000,000, else one digit, a fraction and
/// `E` with the exponent.
fn java_double(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("LowerExp of a finite number has an exponent");
    let exponent: i32 = exponent
        .parse()
        .expect("LowerExp writes the exponent as an integer");
    if (-3..7).contains(&exponent) || value == 0.0 {
        let plain = value.to_string();
        return if plain.contains('.') {
            plain
        } else {
            format!("{plain}.0")
        };
    }
    let fraction = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{fraction}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::{Properties, Schema, canonical_text, resolved_text};

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let canonical = canonical_text(&Schema::parse(text).unwrap(), Properties::AsWritten);
        assert_eq!(canonical, expected);
        let again = canonical_text(&Schema::parse(&canonical).unwrap(), Properties::AsWritten);
        assert_eq!(again, expected, "printing the canonical text changed it");
    }

    #[test]
    fn a_primitive_without_properties_is_its_name() {
        check(r#"{ "type" : "string" }"#, r#""string""#);
        check(r#"{"type":"string","doc":"dropped"}"#, r#""string""#);
        check(
            r#"{"logicalType":"date","type":"int"}"#,
            r#"{"type":"int","logicalType":"date"}"#,
        );
    }

    #[test]
    fn attributes_come_in_java_order() {
        check(
            r#"{"aliases":["Old","other.Old"],"x":1,"fields":[
                 {"aliases":["b"],"order":"descending","default":null,"z":[1.5,true],"doc":"d","type":["null","long"],"name":"a"}],
                "doc":"D","namespace":"com.example","name":"R","type":"record"}"#,
            r#"{"type":"record","name":"R","namespace":"com.example","doc":"D","fields":[{"name":"a","type":["null","long"],"doc":"d","default":null,"order":"descending","aliases":["b"],"z":[1.5,true]}],"x":1,"aliases":["Old","other.Old"]}"#,
        );
        check(
            r#"{"default":"A","symbols":["A","B"],"name":"E","type":"enum","p":null}"#,
            r#"{"type":"enum","name":"E","symbols":["A","B"],"default":"A","p":null}"#,
        );
        check(
            r#"{"size":16,"logicalType":"decimal","name":"a.F","type":"fixed"}"#,
            r#"{"type":"fixed","name":"F","namespace":"a","size":16,"logicalType":"decimal"}"#,
        );
    }

    #[test]
    fn a_named_type_is_defined_once_and_then_referred_to() {
        check(
            r#"{"type":"record","name":"a.R","fields":[
                {"name":"one","type":{"type":"fixed","name":"F","size":1}},
                {"name":"two","type":"a.F"},
                {"name":"three","type":{"type":"record","name":"b.S","fields":[{"name":"f","type":"a.F"}]}},
                {"name":"next","type":["null","R"]}]}"#,
            r#"{"type":"record","name":"R","namespace":"a","fields":[{"name":"one","type":{"type":"fixed","name":"F","size":1}},{"name":"two","type":"F"},{"name":"three","type":{"type":"record","name":"S","namespace":"b","fields":[{"name":"f","type":"a.F"}]}},{"name":"next","type":["null","R"]}]}"#,
        );
    }

    #[test]
    fn a_type_without_namespace_inside_one_with_says_so() {
        check(
            r#"{"type":"record","name":"a.R","fields":[{"name":"f","type":{"type":"fixed","name":"F","namespace":"","size":1}}]}"#,
            r#"{"type":"record","name":"R","namespace":"a","fields":[{"name":"f","type":{"type":"fixed","name":"F","namespace":"","size":1}}]}"#,
        );
    }

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        for (number, expected) in [
            ("1", "1"),
            ("1.0", "1.0"),
            ("1e3", "1000.0"),
            ("1e7", "1.0E7"),
            ("1.25e-7", "1.25E-7"),
            ("0.001", "0.001"),
            ("-0.0", "-0.0"),
            ("9999999.5", "9999999.5"),
        ] {
            check(
                &format!(r#"{{"type":"int","p":{number}}}"#),
                &format!(r#"{{"type":"int","p":{expected}}}"#),
            );
        }
    }

    #[test]
    fn types_of_other_schemas_are_names_unless_they_are_resolved() {
        let other = r#"{"type":"enum","name":"com.x.E","symbols":["A"]}"#;
        let text = r#"{"type":"record","name":"R","namespace":"com.x","fields":[{"name":"a","type":"E"},{"name":"b","type":"com.x.E"}]}"#;
        let schema = Schema::parse_with(text, &[other.into()]).unwrap();
        assert_eq!(
            canonical_text(&schema, Properties::AsWritten),
            r#"{"type":"record","name":"R","namespace":"com.x","fields":[{"name":"a","type":"E"},{"name":"b","type":"E"}]}"#
        );
        assert_eq!(
            resolved_text(&schema),
            r#"{"type":"record","name":"R","namespace":"com.x","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"]}},{"name":"b","type":"E"}]}"#
        );
        let twice = Schema::parse_with(other, &[other.into()]).unwrap_err();
        assert_eq!(twice.to_string(), "'com.x.E' is defined twice");
    }

    #[test]
    fn normalizing_sorts_properties_only() {
        let schema = Schema::parse(r#"{"type":"int","b":{"z":1,"a":2},"a":1}"#).unwrap();
        assert_eq!(
            canonical_text(&schema, Properties::Sorted),
            r#"{"type":"int","a":1,"b":{"z":1,"a":2}}"#
        );
    }
}
