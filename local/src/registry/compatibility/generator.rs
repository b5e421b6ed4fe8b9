//! Random schemas and random changes to them, as text. What comes out is always a valid schema.
//!
//! A schema is kept as a list of definitions that types refer to by number; printing it defines
//! each where it is met first and refers to it by name from then on. So any change of a part
//! leaves the whole printable, and recursion comes by itself.

use std::sync::Arc;

use serde_json::{Map, Value, json};

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a length fits 64 bits");
        usize::try_from(self.next() % end).expect("below a length")
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, names: &[&'static str]) -> &'static str {
        names[self.below(names.len())]
    }
}

#[derive(Clone)]
pub(super) struct Sketch {
    namespaces: &'static [&'static str],
    definitions: Vec<Definition>,
    root: Type,
}

#[derive(Clone)]
enum Type {
    Primitive(&'static str),
    Logical(usize),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Named(usize),
}

#[derive(Clone)]
struct Definition {
    namespace: &'static str,
    name: &'static str,
    aliases: Vec<String>,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Record(Vec<Field>),
    Enum {
        symbols: Vec<&'static str>,
        has_default: bool,
    },
    Fixed {
        size: usize,
    },
}

#[derive(Clone)]
struct Field {
    name: &'static str,
    aliases: Vec<&'static str>,
    has_default: bool,
    schema: Type,
}

const PRIMITIVES: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];
/// Names of logical types with what they annotate; a decimal has a precision and a scale as well.
const LOGICAL: [(&str, &str); 10] = [
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("long", "timestamp-millis"),
    ("long", "timestamp-micros"),
    ("long", "local-timestamp-micros"),
    ("string", "uuid"),
    ("bytes", "decimal"),
    // Not one that exists, and one where it has no meaning.
    ("string", "connect-json"),
    ("double", "date"),
];
/// Few names, so that two schemas often have some in common.
const NAMES: [&str; 5] = ["A", "B", "C", "D", "E"];
/// Not mixed in one schema: inside a namespace Python's package cannot refer to a type that has
/// none, and neither can anyone when the namespace has a type of the same name.
const NAMESPACES: [&[&str]; 2] = [&[""], &["n", "n.m", "k"]];
const FIELDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const SYMBOLS: [&str; 5] = ["P", "Q", "R", "S", "T"];

impl Sketch {
    pub(super) fn random(random: &mut Random) -> Self {
        let namespaces = NAMESPACES[random.below(NAMESPACES.len())];
        let root = Type::Primitive("int");
        let mut sketch = Self {
            namespaces,
            definitions: Vec::new(),
            root,
        };
        for _ in 0..1 + random.below(4) {
            let (namespace, name) = (random.pick(namespaces), random.pick(&NAMES));
            if sketch.is_free(namespace, name) {
                let body = Body::Fixed { size: 1 };
                let aliases = Vec::new();
                sketch.definitions.push(Definition {
                    namespace,
                    name,
                    aliases,
                    body,
                });
            }
        }
        let count = sketch.definitions.len();
        for definition in &mut sketch.definitions {
            definition.body = random_body(random, count);
            if random.one_in(4) {
                definition.aliases.push(random_alias(random));
            }
        }
        sketch.root = match random.below(4) {
            0 => random_type(random, count, 3),
            _ => Type::Named(random.below(count)),
        };
        sketch
    }

    fn is_free(&self, namespace: &str, name: &str) -> bool {
        !self
            .definitions
            .iter()
            .any(|known| (known.namespace, known.name) == (namespace, name))
    }

    /// One to three changes of the kinds that people make to schemas.
    pub(super) fn changed(&self, random: &mut Random) -> Self {
        let mut sketch = self.clone();
        for _ in 0..1 + random.below(3) {
            let count = sketch.definitions.len();
            if random.one_in(8) {
                change_type(random, &mut sketch.root, count);
                continue;
            }
            if random.one_in(12) {
                sketch.move_all(random);
                continue;
            }
            let definition = random.below(count);
            if random.one_in(5) {
                sketch.rename(random, definition);
            } else {
                change_body(random, &mut sketch.definitions[definition].body, count);
            }
        }
        sketch
    }

    /// To one namespace, or to none, unless that makes two names one.
    fn move_all(&mut self, random: &mut Random) {
        let mut moved = self.clone();
        moved.namespaces = NAMESPACES[random.below(NAMESPACES.len())];
        moved.definitions.clear();
        let namespace = random.pick(moved.namespaces);
        for definition in &self.definitions {
            if !moved.is_free(namespace, definition.name) {
                return;
            }
            moved.definitions.push(Definition {
                namespace,
                ..definition.clone()
            });
        }
        *self = moved;
    }

    /// With or without the old name as an alias.
    fn rename(&mut self, random: &mut Random, index: usize) {
        let (namespace, name) = match random.below(2) {
            0 => (random.pick(self.namespaces), self.definitions[index].name),
            _ => (self.definitions[index].namespace, random.pick(&NAMES)),
        };
        if !self.is_free(namespace, name) {
            return;
        }
        let definition = &mut self.definitions[index];
        if random.one_in(2) {
            definition.aliases.push(match random.below(3) {
                // Without its namespace, which then is the new one's.
                0 => definition.name.to_owned(),
                _ => full_name(definition.namespace, definition.name),
            });
        }
        (definition.namespace, definition.name) = (namespace, name);
    }

    /// The texts of the schema: the last one, which may use the types of those before it. Now and
    /// then one of the definitions, with all that it uses, stands in a text of its own.
    pub(super) fn to_texts(&self, random: &mut Random) -> (Vec<Arc<str>>, String) {
        let mut defined = vec![false; self.definitions.len()];
        let mut referenced = Vec::new();
        if random.one_in(3) {
            let apart = Type::Named(random.below(self.definitions.len()));
            referenced.push(self.print(&apart, &mut defined).to_string().into());
        }
        let text = self.print(&self.root, &mut defined).to_string();
        (referenced, text)
    }

    fn print(&self, schema: &Type, defined: &mut [bool]) -> Value {
        match schema {
            Type::Primitive(name) => json!(name),
            Type::Logical(index) => match LOGICAL[*index] {
                (base, "decimal") => {
                    json!({ "type": base, "logicalType": "decimal", "precision": 9, "scale": 2 })
                }
                (base, logical) => json!({ "type": base, "logicalType": logical }),
            },
            Type::Array(items) => json!({ "type": "array", "items": self.print(items, defined) }),
            Type::Map(values) => json!({ "type": "map", "values": self.print(values, defined) }),
            Type::Union(_) => {
                let branches = self.branches(schema);
                branches
                    .into_iter()
                    .map(|branch| self.print(branch, defined))
                    .collect()
            }
            Type::Named(index) => self.print_named(*index, defined),
        }
    }

    /// The branches that may stand in one union: no two alike, and no union in it.
    fn branches<'a>(&self, schema: &'a Type) -> Vec<&'a Type> {
        let mut seen: Vec<String> = Vec::new();
        let mut flat = Vec::new();
        flatten(schema, &mut flat);
        flat.retain(|branch| {
            let key = match branch {
                Type::Primitive(name) => (*name).to_owned(),
                Type::Logical(index) => LOGICAL[*index].0.to_owned(),
                Type::Array(_) => "array".to_owned(),
                Type::Map(_) => "map".to_owned(),
                Type::Named(index) => format!("#{index}"),
                Type::Union(_) => unreachable!("flattened above"),
            };
            let is_new = !seen.contains(&key);
            seen.push(key);
            is_new
        });
        flat
    }

    fn print_named(&self, index: usize, defined: &mut [bool]) -> Value {
        let Definition {
            namespace,
            name,
            aliases,
            body,
        } = &self.definitions[index];
        if defined[index] {
            // A name without dot would be looked for in the namespace around it first.
            return json!(full_name(namespace, name));
        }
        defined[index] = true;
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(name));
        object.insert("namespace".to_owned(), json!(namespace));
        if !aliases.is_empty() {
            object.insert("aliases".to_owned(), json!(aliases));
        }
        match body {
            Body::Record(fields) => {
                object.insert("type".to_owned(), json!("record"));
                let fields = fields
                    .iter()
                    .map(|field| self.print_field(field, defined))
                    .collect();
                object.insert("fields".to_owned(), fields);
            }
            Body::Enum {
                symbols,
                has_default,
            } => {
                object.insert("type".to_owned(), json!("enum"));
                object.insert("symbols".to_owned(), json!(symbols));
                if *has_default {
                    object.insert("default".to_owned(), json!(symbols[0]));
                }
            }
            Body::Fixed { size } => {
                object.insert("type".to_owned(), json!("fixed"));
                object.insert("size".to_owned(), json!(size));
            }
        }
        Value::Object(object)
    }

    fn print_field(&self, field: &Field, defined: &mut [bool]) -> Value {
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(field.name));
        object.insert("type".to_owned(), self.print(&field.schema, defined));
        if !field.aliases.is_empty() {
            object.insert("aliases".to_owned(), json!(field.aliases));
        }
        if let Some(default) = field
            .has_default
            .then(|| self.default_of(&field.schema, 0))
            .flatten()
        {
            object.insert("default".to_owned(), default);
        }
        Value::Object(object)
    }

    /// Some value of the type; none where a record needs another of its kind without end.
    fn default_of(&self, schema: &Type, depth: usize) -> Option<Value> {
        if depth > 4 {
            return None;
        }
        match schema {
            Type::Primitive("null") => Some(Value::Null),
            Type::Primitive("boolean") => Some(json!(false)),
            Type::Primitive("bytes" | "string") => Some(json!("")),
            Type::Primitive("float" | "double") => Some(json!(0.5)),
            Type::Primitive(_) => Some(json!(0)),
            Type::Logical(index) => self.default_of(&Type::Primitive(LOGICAL[*index].0), depth),
            Type::Array(_) => Some(json!([])),
            Type::Map(_) => Some(json!({})),
            Type::Union(_) => self.default_of(self.branches(schema).first()?, depth + 1),
            Type::Named(index) => match &self.definitions[*index].body {
                Body::Enum { symbols, .. } => Some(json!(symbols[0])),
                Body::Fixed { size } => Some(json!("x".repeat(*size))),
                Body::Record(fields) => {
                    let mut object = Map::new();
                    for field in fields {
                        let value = self.default_of(&field.schema, depth + 1)?;
                        object.insert(field.name.to_owned(), value);
                    }
                    Some(Value::Object(object))
                }
            },
        }
    }
}

fn full_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn flatten<'a>(schema: &'a Type, flat: &mut Vec<&'a Type>) {
    match schema {
        Type::Union(branches) => branches.iter().for_each(|branch| flatten(branch, flat)),
        Type::Primitive(_) | Type::Logical(_) | Type::Array(_) | Type::Map(_) | Type::Named(_) => {
            flat.push(schema);
        }
    }
}

fn random_type(random: &mut Random, definitions: usize, depth: usize) -> Type {
    match random.below(if depth == 0 { 6 } else { 10 }) {
        0 if random.one_in(2) => Type::Logical(random.below(LOGICAL.len())),
        0..4 => Type::Primitive(random.pick(&PRIMITIVES)),
        4 | 5 => Type::Named(random.below(definitions)),
        6 => Type::Array(Box::new(random_type(random, definitions, depth - 1))),
        7 => Type::Map(Box::new(random_type(random, definitions, depth - 1))),
        _ => {
            let branches = 1 + random.below(3);
            Type::Union(
                (0..branches)
                    .map(|_| random_type(random, definitions, depth - 1))
                    .collect(),
            )
        }
    }
}

fn random_body(random: &mut Random, definitions: usize) -> Body {
    match random.below(6) {
        0 => {
            let mut symbols = SYMBOLS.to_vec();
            symbols.rotate_left(random.below(SYMBOLS.len()));
            symbols.truncate(1 + random.below(SYMBOLS.len()));
            Body::Enum {
                symbols,
                has_default: random.one_in(3),
            }
        }
        1 => Body::Fixed {
            size: 1 + random.below(3),
        },
        _ => {
            let mut fields: Vec<Field> = Vec::new();
            for _ in 0..random.below(5) {
                let field = random_field(random, definitions);
                if !fields.iter().any(|known| known.name == field.name) {
                    fields.push(field);
                }
            }
            Body::Record(fields)
        }
    }
}

fn random_field(random: &mut Random, definitions: usize) -> Field {
    let mut aliases = Vec::new();
    if random.one_in(6) {
        aliases.push(random.pick(&FIELDS));
    }
    Field {
        name: random.pick(&FIELDS),
        aliases,
        has_default: random.one_in(2),
        schema: random_type(random, definitions, 2),
    }
}

fn random_alias(random: &mut Random) -> String {
    let name = random.pick(&NAMES);
    match random.below(3) {
        0 => name.to_owned(),
        _ => full_name(random.pick(NAMESPACES[1]), name),
    }
}

fn change_body(random: &mut Random, body: &mut Body, definitions: usize) {
    match body {
        Body::Fixed { size } => *size = 1 + random.below(3),
        Body::Enum {
            symbols,
            has_default,
        } => match random.below(3) {
            0 => *has_default = !*has_default,
            1 if symbols.len() > 1 => drop(symbols.remove(random.below(symbols.len()))),
            _ => {
                let symbol = random.pick(&SYMBOLS);
                if !symbols.contains(&symbol) {
                    symbols.push(symbol);
                }
            }
        },
        Body::Record(fields) => change_fields(random, fields, definitions),
    }
    if random.one_in(25) {
        *body = random_body(random, definitions);
    }
}

fn change_fields(random: &mut Random, fields: &mut Vec<Field>, definitions: usize) {
    if fields.is_empty() || random.one_in(4) {
        let field = random_field(random, definitions);
        if !fields.iter().any(|known| known.name == field.name) {
            fields.insert(random.below(fields.len() + 1), field);
        }
        return;
    }
    let position = random.below(fields.len());
    match random.below(6) {
        0 => drop(fields.remove(position)),
        1 => fields[position].has_default = !fields[position].has_default,
        2 => {
            let name = random.pick(&FIELDS);
            if !fields.iter().any(|known| known.name == name) {
                let field = &mut fields[position];
                let old = std::mem::replace(&mut field.name, name);
                if random.one_in(2) && !field.aliases.contains(&old) {
                    field.aliases.push(old);
                }
            }
        }
        3 => {
            let other = random.below(fields.len());
            fields.swap(position, other);
        }
        _ => change_type(random, &mut fields[position].schema, definitions),
    }
}

fn change_type(random: &mut Random, schema: &mut Type, definitions: usize) {
    match (random.below(5), &mut *schema) {
        (0, _) => *schema = random_type(random, definitions, 2),
        (1, _) => *schema = Type::Union(vec![Type::Primitive("null"), schema.clone()]),
        (2, Type::Union(branches)) if branches.len() > 1 => {
            drop(branches.remove(random.below(branches.len())));
        }
        (_, Type::Union(branches)) if random.one_in(2) => {
            branches.push(random_type(random, definitions, 1));
        }
        (_, Type::Union(branches)) => {
            let branch = random.below(branches.len());
            change_type(random, &mut branches[branch], definitions);
        }
        (_, Type::Array(inner) | Type::Map(inner)) => change_type(random, inner, definitions),
        (_, Type::Primitive(_) | Type::Logical(_) | Type::Named(_)) => {
            *schema = if random.one_in(4) {
                Type::Logical(random.below(LOGICAL.len()))
            } else {
                Type::Primitive(random.pick(&PRIMITIVES))
            };
        }
    }
}
