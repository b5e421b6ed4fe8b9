//! How the records of one schema are read, worked out once per schema id.

use std::collections::HashMap;

use change::TableName;
use change::envelope::{SchemaError, relation_of};
use change::framing::SchemaId;
use change::relation::{Column, Key, PgType, Relation};
use change::value::{Mapping, Scalar};

use super::DecodeError;
use super::row::{Fields, Row, Value};
use crate::differences::{Differences, DifferencesError, Mask, MaskKey, Treatment};

/// A table's shape at one schema id, and how to read its records.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) schema: SchemaId,
    /// The only topic whose records may have the schema.
    pub(crate) topic: String,
    /// The table by its name on the source, with the columns that the target gets, by their names there.
    /// Without those that the source generates: the target does so itself.
    pub(crate) relation: Relation,
    /// What the table is called on the target.
    pub(crate) target: TableName,
    /// All columns of the source's.
    pub(super) fields: Vec<Field>,
    /// Columns of the target that it works out.
    pub(crate) generated: Vec<String>,
    by_name: HashMap<String, usize>,
}

/// How one column's value stands in a row's datum, and what the target gets of it.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// On the source.
    pub(super) name: String,
    pub(super) mapping: Mapping,
    /// Whether the datum starts with a union's branch.
    pub(super) nullable: bool,
    pub(super) carry: Carry,
}

#[derive(Clone, Debug)]
pub(super) enum Carry {
    Value,
    Nothing,
    Null,
    /// This text.
    Constant(Box<[u8]>),
    /// With the key, where it is known.
    Hash(Option<MaskKey>),
}

impl Plan {
    /// With all that records hold; [`Plan::under`] leaves of it what a target gets.
    ///
    /// # Errors
    /// When the schema is not one of change records.
    pub(crate) fn compile(schema: SchemaId, topic: &str, text: &str) -> Result<Self, SchemaError> {
        let relation = relation_of(text)?;
        let field = |column: &Column| Field {
            name: column.name.clone(),
            nullable: relation.is_nullable(column),
            mapping: column.mapping,
            carry: Carry::Value,
        };
        let fields: Vec<Field> = relation.columns.iter().map(field).collect();
        let names = fields.iter().enumerate();
        let by_name = names.map(|(at, field)| (field.name.clone(), at)).collect();
        Ok(Self {
            schema,
            topic: topic.to_owned(),
            target: relation.table.clone(),
            relation,
            fields,
            generated: Vec::new(),
            by_name,
        })
    }

    /// The plan for a target whose tables differ so.
    ///
    /// # Errors
    /// When they cannot.
    pub(crate) fn under(mut self, differences: &Differences) -> Result<Self, DifferencesError> {
        let Relation {
            table,
            key,
            columns,
        } = &mut self.relation;
        self.target = differences.table(table);
        let mut carried: Vec<Column> = Vec::with_capacity(columns.len());
        for (mut column, field) in columns.drain(..).zip(&mut self.fields) {
            let treatment = differences.treatment(table, &column.name);
            if *key == Key::Columns && column.in_key && treatment != Treatment::Carried {
                return Err(DifferencesError::Key {
                    table: table.clone(),
                    column: column.name,
                });
            }
            field.carry = Carry::of(treatment, differences);
            column.name = differences.column(table, &column.name).to_owned();
            if column.generated && treatment == Treatment::Carried {
                field.carry = Carry::Nothing;
                self.generated.push(column.name);
                continue;
            }
            match field.carry {
                Carry::Nothing => continue,
                Carry::Null => column.not_null = false,
                Carry::Hash(_) => {
                    column.mapping = Mapping::Scalar(Scalar::Text);
                    column.pg_type = PgType {
                        name: "text".to_owned(),
                        modifier: -1,
                        enum_labels: Vec::new(),
                    };
                }
                Carry::Value | Carry::Constant(_) => {}
            }
            if carried.iter().any(|it| it.name == column.name) {
                let column = format!("{}.{}", self.target, column.name);
                return Err(DifferencesError::OneTarget(column));
            }
            carried.push(column);
        }
        *columns = carried;
        Ok(self)
    }

    /// Whether a column of the target, by its place among those that it gets, is the same in every row,
    /// whatever its type.
    pub(crate) fn is_fixed(&self, column: usize) -> bool {
        let carried = self.fields.iter().map(|field| &field.carry);
        let mut carried = carried.filter(|carry| !matches!(carry, Carry::Nothing));
        let fixed = |carry: &Carry| matches!(carry, Carry::Null | Carry::Constant(_));
        carried.nth(column).is_some_and(fixed)
    }

    /// Of a table whose records of this schema cannot be read.
    pub(crate) fn opaque(schema: SchemaId, topic: &str, table: TableName) -> Self {
        Self {
            schema,
            topic: topic.to_owned(),
            target: table.clone(),
            relation: Relation {
                table,
                key: Key::WholeRow,
                columns: Vec::new(),
            },
            fields: Vec::new(),
            generated: Vec::new(),
            by_name: HashMap::new(),
        }
    }

    /// The field of a column, be it left out or not.
    pub(super) fn field(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn has_key(&self) -> bool {
        self.relation.key == Key::Columns
    }

    /// The values of the key in a row; of a table without one, all of them.
    pub(crate) fn key_values<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = Value<'r>> {
        let columns = self.relation.columns.iter().zip(row.values());
        let key = columns.filter(|(column, _)| column.in_key);
        key.map(|(_, value)| value)
    }

    /// Whether no value of the key is missing in `row`.
    pub(crate) fn has_whole_key(&self, row: &Row) -> bool {
        let mut values = self.key_values(row);
        values.all(|value| matches!(value, Value::Image(_)))
    }

    /// The key of `row` in the layout of a row; `None` when a value of it is missing.
    pub(crate) fn key_of(&self, row: &Row) -> Option<Row> {
        if !self.has_whole_key(row) {
            return None;
        }
        let mut fields = Fields::default();
        self.key_values(row).for_each(|value| fields.push(value));
        Some(fields.row())
    }
}

impl Carry {
    fn of(treatment: Treatment<'_>, differences: &Differences) -> Self {
        match treatment {
            Treatment::Carried => Self::Value,
            Treatment::LeftOut => Self::Nothing,
            Treatment::Masked(Mask::Null) => Self::Null,
            Treatment::Masked(Mask::Constant(text)) => Self::Constant(text.as_bytes().into()),
            Treatment::Masked(Mask::Hash) => Self::Hash(differences.mask_key()),
        }
    }

    /// Appends what the target gets of a value.
    pub(super) fn push(&self, value: Value<'_>, fields: &mut Fields) -> Result<(), DecodeError> {
        match (self, value) {
            (Self::Nothing, _) => {}
            (Self::Null, _) => fields.push(Value::Null),
            (Self::Constant(text), _) => fields.push(Value::Image(text)),
            (Self::Hash(None), _) => return Err(DecodeError::NoMaskKey),
            (Self::Hash(Some(key)), Value::Image(image)) => {
                fields.push(Value::Image(key.hash(image).as_bytes()));
            }
            (Self::Value | Self::Hash(Some(_)), value) => fields.push(value),
        }
        Ok(())
    }
}
