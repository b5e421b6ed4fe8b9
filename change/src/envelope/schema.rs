//! From a relation to Avro schemas.

use serde_json::{Map, Value, json};

use crate::TableName;
use crate::avro::escaped;
use crate::relation::{Column, Key, Relation};

/// The key's field for images that its typed fields cannot hold.
pub const EXACT_KEY_FIELD: &str = "_x_exact";

/// The schema of the table's change records, as JSON text. `prefix` is that of the topics.
pub fn value_schema(relation: &Relation, prefix: &str) -> String {
    let namespace = namespace(&relation.table, prefix);
    let fields: Vec<Value> = relation
        .columns
        .iter()
        .map(|c| field(relation, c))
        .collect();
    // No namespace where it is the enclosing one: a registry would leave it out too.
    let row = json!({"type": "record", "name": "Value", "fields": fields});
    let key: Vec<&str> = relation
        .key_columns()
        .map(|column| column.name.as_str())
        .collect();
    json!({
        "type": "record",
        "name": "Envelope",
        "namespace": namespace,
        "pgSchema": relation.table.schema,
        "pgTable": relation.table.name,
        "pgKey": key,
        "pgWholeRow": relation.key == Key::WholeRow,
        "fields": [
            {"name": "lockstep", "type": lockstep()},
            {"name": "op", "type": "string"},
            {"name": "before", "type": ["null", row], "default": null},
            {"name": "after", "type": ["null", "Value"], "default": null},
            {"name": "source", "type": source()},
            {"name": "ts_ms", "type": ["null", "long"], "default": null},
            {"name": "transaction", "type": ["null", transaction()], "default": null}
        ]
    })
    .to_string()
}

/// The schema of the table's keys, as JSON text.
pub fn key_schema(relation: &Relation, prefix: &str) -> String {
    let mut fields: Vec<Value> = relation.key_columns().map(|c| field(relation, c)).collect();
    if needs_exact(relation) {
        fields.push(json!({
            "name": EXACT_KEY_FIELD, "type": {"type": "map", "values": "bytes"}, "default": {}
        }));
    }
    json!({
        "type": "record",
        "name": "Key",
        "namespace": namespace(&relation.table, prefix),
        "fields": fields
    })
    .to_string()
}

/// Whether the table's key has a column whose typed field cannot hold every value, so that keys
/// carry [`EXACT_KEY_FIELD`]: without it NaN and infinity would be one key.
pub fn needs_exact(relation: &Relation) -> bool {
    relation
        .key_columns()
        .any(|column| !column.mapping.is_total())
}

fn namespace(table: &TableName, prefix: &str) -> String {
    format!(
        "{}.{}.{}",
        escaped(prefix),
        escaped(&table.schema),
        escaped(&table.name)
    )
}

fn field(relation: &Relation, column: &Column) -> Value {
    let avro_type = column.mapping.avro_type();
    let mut field = Map::new();
    field.insert("name".into(), escaped(&column.name).into());
    if relation.is_nullable(column) {
        field.insert("type".into(), json!(["null", avro_type]));
        field.insert("default".into(), Value::Null);
    } else {
        field.insert("type".into(), avro_type);
    }
    field.insert("pgName".into(), column.name.as_str().into());
    field.insert("pgType".into(), column.pg_type.name.as_str().into());
    field.insert("pgMapping".into(), column.mapping.to_string().into());
    let mut property = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            field.insert(name.into(), value);
        }
    };
    let labels = &column.pg_type.enum_labels;
    property(
        "pgTypmod",
        (column.pg_type.modifier != -1).then(|| column.pg_type.modifier.into()),
    );
    property(
        "pgElementOid",
        column.mapping.element_oid().map(Value::from),
    );
    property("pgEnum", (!labels.is_empty()).then(|| json!(labels)));
    property("pgNotNull", column.not_null.then_some(Value::Bool(true)));
    property("pgDefault", column.default.as_deref().map(Value::from));
    property("pgGenerated", column.generated.then_some(Value::Bool(true)));
    Value::Object(field)
}

pub(super) fn lockstep() -> Value {
    let exact = json!({"type": "map", "values": "bytes"});
    json!({
        "type": "record",
        "name": "Lockstep",
        "namespace": "lockstep",
        "fields": [
            {"name": "epoch", "type": "long"},
            {"name": "commit_lsn", "type": "long"},
            {"name": "ordinal", "type": "long"},
            {"name": "unchanged", "type": {"type": "array", "items": "string"}, "default": []},
            {"name": "exact", "type": exact, "default": {}},
            {"name": "exact_before", "type": exact, "default": {}}
        ]
    })
}

pub(super) fn source() -> Value {
    json!({
        "type": "record",
        "name": "Source",
        "namespace": "lockstep",
        "fields": [
            {"name": "version", "type": "string"},
            {"name": "connector", "type": "string"},
            {"name": "name", "type": "string"},
            {"name": "ts_ms", "type": "long"},
            {"name": "snapshot", "type": "string"},
            {"name": "db", "type": "string"},
            {"name": "schema", "type": "string"},
            {"name": "table", "type": "string"},
            {"name": "txId", "type": ["null", "long"], "default": null},
            {"name": "lsn", "type": ["null", "long"], "default": null}
        ]
    })
}

pub(super) fn transaction() -> Value {
    json!({
        "type": "record",
        "name": "Transaction",
        "namespace": "lockstep",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "total_order", "type": "long"},
            {"name": "data_collection_order", "type": "long"}
        ]
    })
}
