//! Whether default values fit their fields.

use serde_json::Value;

use super::{NodeId, Primitive, Schema, Shape};

/// A default value that its field's type does not allow. The value itself is not told.
#[derive(Debug, thiserror::Error)]
#[error("the default of {record}.{field} is no value of its type, {expected}")]
pub(crate) struct InvalidDefault {
    pub(crate) record: String,
    pub(crate) field: String,
    pub(crate) expected: &'static str,
}

pub(super) fn check(schema: &Schema) -> Result<(), InvalidDefault> {
    for node in schema.nodes() {
        let Shape::Record(record) = &node.shape else {
            continue;
        };
        for field in &record.fields {
            let Some(default) = &field.default else {
                continue;
            };
            if !fits(schema, field.schema, default) {
                return Err(InvalidDefault {
                    record: record.named.name.full(),
                    field: field.name.clone(),
                    expected: schema.node(field.schema).shape.type_name(),
                });
            }
        }
    }
    Ok(())
}

/// Each step goes one level down in `value`, so a recursive schema ends where its values end. A
/// field that `value` leaves out needs a default; whether that one fits is asked at its own place.
fn fits(schema: &Schema, id: NodeId, value: &Value) -> bool {
    match &schema.node(id).shape {
        Shape::Primitive(primitive) => fits_primitive(*primitive, value),
        Shape::Enum(_) | Shape::Fixed(_) => value.is_string(),
        Shape::Array(items) => value
            .as_array()
            .is_some_and(|values| values.iter().all(|value| fits(schema, *items, value))),
        Shape::Map(values) => value
            .as_object()
            .is_some_and(|entries| entries.values().all(|value| fits(schema, *values, value))),
        // The specification says "the first branch"; Java takes any.
        Shape::Union(branches) => branches.iter().any(|branch| fits(schema, *branch, value)),
        Shape::Record(record) => value.as_object().is_some_and(|object| {
            record
                .fields
                .iter()
                .all(|field| match object.get(&field.name) {
                    Some(value) => fits(schema, field.schema, value),
                    None => field.default.is_some(),
                })
        }),
    }
}

fn fits_primitive(primitive: Primitive, value: &Value) -> bool {
    match primitive {
        Primitive::Null => value.is_null(),
        Primitive::Boolean => value.is_boolean(),
        Primitive::Int => value
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        Primitive::Long => value.as_i64().is_some(),
        // JSON has no numbers for these three.
        Primitive::Float | Primitive::Double => {
            value.is_number()
                || ["NaN", "Infinity", "-Infinity"]
                    .iter()
                    .any(|name| value == name)
        }
        Primitive::Bytes | Primitive::String => value.is_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::Schema;

    #[track_caller]
    fn check(field_type: &str, default: &str, expected: Option<&str>) {
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{field_type},"default":{default}}}]}}"#
        );
        let answer = Schema::parse(&text).unwrap().check_defaults();
        assert_eq!(
            answer.err().map(|error| error.to_string()).as_deref(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn values_of_the_type_fit() {
        check(r#""int""#, "7", None);
        check(r#""double""#, "7", None);
        check(r#"["null","string"]"#, "null", None);
        check(r#"["null","string"]"#, r#""x""#, None);
        check(r#"{"type":"map","values":"long"}"#, r#"{"a":1}"#, None);
        check(
            r#"{"type":"array","items":["null","R"]}"#,
            "[null,{}]",
            None,
        );
    }

    #[test]
    fn other_values_are_refused_with_the_field_named() {
        const REFUSED: &str = "the default of R.f is no value of its type, ";
        check(r#""int""#, "2147483648", Some(&format!("{REFUSED}INT")));
        check(r#""string""#, "null", Some(&format!("{REFUSED}STRING")));
        check(
            r#"["null","string"]"#,
            "7",
            Some(&format!("{REFUSED}UNION")),
        );
        check(
            r#"{"type":"array","items":"int"}"#,
            r#"["x"]"#,
            Some(&format!("{REFUSED}ARRAY")),
        );
    }
}
