//! From the schema of a table's change records back to its relation.

use serde_json::Value;

use super::schema::{EXACT_KEY_FIELD, value_schema};
use crate::TableName;
use crate::relation::{Column, Key, PgType, Relation};
use crate::value::{Mapping, MappingNameError};

/// Why a schema is not one of a table's change records.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("schema is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("schema lacks property {0}: it was not written by this capture")]
    Missing(&'static str),
    #[error("map column {column}")]
    Mapping {
        column: String,
        source: MappingNameError,
    },
    /// Reading goes by the layout of [`value_schema`]; any other layout would be misread.
    #[error("the envelope of table {0} has another layout than this version reads")]
    Layout(TableName),
}

/// The relation that [`value_schema`] made `schema` from.
///
/// # Errors
/// When it was made by something else, or by another version with another layout.
pub fn relation_of(schema: &str) -> Result<Relation, SchemaError> {
    let envelope: Value = serde_json::from_str(schema).map_err(SchemaError::Json)?;
    let text = |name: &'static str| {
        envelope[name]
            .as_str()
            .map(str::to_owned)
            .ok_or(SchemaError::Missing(name))
    };
    let table = TableName::new(text("pgSchema")?, text("pgTable")?);
    let key: Vec<&str> = envelope["pgKey"]
        .as_array()
        .ok_or(SchemaError::Missing("pgKey"))?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let fields = envelope["fields"]
        .as_array()
        .ok_or(SchemaError::Missing("fields"))?;
    let before = fields.iter().find(|field| field["name"] == "before");
    let row = before
        .map(|field| &field["type"][1])
        .ok_or(SchemaError::Missing("before"))?;
    let columns = row["fields"]
        .as_array()
        .ok_or(SchemaError::Missing("before"))?;
    let columns: Vec<Column> = columns
        .iter()
        .map(|field| column(field, &key))
        .collect::<Result<_, _>>()?;
    let mut relation = Relation {
        table,
        key: Key::Columns,
        columns,
    };
    if envelope["pgWholeRow"] == true {
        relation.key = Key::WholeRow;
    }
    same_layout(relation, &envelope)
}

/// The columns of the key that [`super::key_schema`] made `schema` from, and whether keys end with
/// the images that typed fields cannot hold.
///
/// # Errors
/// When it was made by something else.
pub fn key_columns(schema: &str) -> Result<KeyColumns, SchemaError> {
    let key: Value = serde_json::from_str(schema).map_err(SchemaError::Json)?;
    let fields = key["fields"]
        .as_array()
        .ok_or(SchemaError::Missing("fields"))?;
    let is_exact = |field: &&Value| field["name"] == EXACT_KEY_FIELD;
    let mut columns = Vec::new();
    for field in fields.iter().filter(|field| !is_exact(field)) {
        let mut column = column(field, &[])?;
        column.in_key = true;
        columns.push((column, field["type"].is_array()));
    }
    Ok(KeyColumns {
        columns,
        has_images: fields.iter().any(|field| is_exact(&field)),
    })
}

/// What the records' keys of a table hold.
#[derive(Clone, Debug)]
pub struct KeyColumns {
    /// Each with whether its Avro field may be null.
    pub columns: Vec<(Column, bool)>,
    pub has_images: bool,
}

/// Made again from the relation, the schema must come out the same, but for its namespace (which
/// holds the topics' prefix) and the order of attributes (which a registry may change).
fn same_layout(relation: Relation, envelope: &Value) -> Result<Relation, SchemaError> {
    let namespace = envelope["namespace"]
        .as_str()
        .ok_or(SchemaError::Missing("namespace"))?;
    let prefix = namespace
        .split('.')
        .next()
        .and_then(crate::avro::unescaped)
        .unwrap_or_default();
    let again: Value =
        serde_json::from_str(&value_schema(&relation, &prefix)).map_err(SchemaError::Json)?;
    if again == *envelope {
        Ok(relation)
    } else {
        Err(SchemaError::Layout(relation.table))
    }
}

fn column(field: &Value, key: &[&str]) -> Result<Column, SchemaError> {
    let text = |name: &'static str| {
        field[name]
            .as_str()
            .map(str::to_owned)
            .ok_or(SchemaError::Missing(name))
    };
    let name = text("pgName")?;
    let element_oid = number(&field["pgElementOid"]).unwrap_or(0);
    let mapping = Mapping::parse(&text("pgMapping")?, element_oid).map_err(|source| {
        SchemaError::Mapping {
            column: name.clone(),
            source,
        }
    })?;
    let labels = field["pgEnum"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Ok(Column {
        in_key: key.contains(&name.as_str()),
        mapping,
        pg_type: PgType {
            name: text("pgType")?,
            modifier: number(&field["pgTypmod"]).unwrap_or(-1),
            enum_labels: labels
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        },
        not_null: field["pgNotNull"] == true,
        default: field["pgDefault"].as_str().map(str::to_owned),
        generated: field["pgGenerated"] == true,
        name,
    })
}

fn number<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{key_schema, value_schema};
    use super::*;
    use crate::value::Scalar;

    fn column(name: &str, in_key: bool, mapping: &str) -> Column {
        Column {
            name: name.to_owned(),
            in_key,
            mapping: Mapping::parse(mapping, 25).unwrap(),
            pg_type: PgType {
                name: mapping.to_owned(),
                modifier: -1,
                enum_labels: Vec::new(),
            },
            not_null: in_key,
            default: None,
            generated: false,
        }
    }

    fn relation() -> Relation {
        let mut columns = vec![
            column("id", true, "int8"),
            column("when", true, "timestamptz"),
            column("weird-näme", false, "decimal(10,2)"),
            column("tags", false, "text[]"),
            column("body", false, "jsonb"),
            column("mood", false, "text"),
        ];
        columns[5].pg_type.enum_labels = vec!["sad".into(), "ok\"".into()];
        columns[5].default = Some("'sad'::mood".into());
        columns[2].pg_type.modifier = (10 << 16 | 2) + 4;
        columns[4].generated = true;
        Relation {
            table: TableName::new("public", "my table"),
            key: Key::Columns,
            columns,
        }
    }

    #[test]
    fn a_relation_comes_back_from_its_schema() {
        for key in [Key::Columns, Key::WholeRow] {
            let mut relation = relation();
            relation.key = key;
            if key == Key::WholeRow {
                relation
                    .columns
                    .iter_mut()
                    .for_each(|column| column.in_key = true);
            }
            assert_eq!(
                relation_of(&value_schema(&relation, "a-b")).unwrap(),
                relation
            );
        }
    }

    #[test]
    fn schemas_are_avro() {
        for schema in [value_schema(&relation(), "p"), key_schema(&relation(), "p")] {
            apache_avro::Schema::parse_str(&schema).unwrap();
        }
    }

    #[test]
    fn key_columns_are_plain_where_their_type_is_total() {
        let key: Value = serde_json::from_str(&key_schema(&relation(), "p")).unwrap();
        assert_eq!(key["fields"][0]["type"], "long");
        assert_eq!(key["fields"][1]["type"][0], "null");
        assert_eq!(key["fields"][2]["name"], "_x_exact");
        assert_eq!(Mapping::Scalar(Scalar::Int8).element_oid(), None);
    }

    #[test]
    fn another_layout_is_refused() {
        let schema = value_schema(&relation(), "p").replace("\"ordinal\"", "\"index\"");
        assert!(matches!(relation_of(&schema), Err(SchemaError::Layout(_))));
        assert!(matches!(
            relation_of("{}"),
            Err(SchemaError::Missing("pgSchema"))
        ));
    }
}
