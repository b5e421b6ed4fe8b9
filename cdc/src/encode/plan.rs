//! What is known of a table before its first row.

use std::sync::Arc;

use change::framing::SchemaId;
use change::relation::{Key, Relation};
use change::value::Mapping;

use crate::wire::Column;

/// How a table's rows become records.
pub(crate) struct TablePlan {
    pub topic: Arc<str>,
    pub relation: Relation,
    pub schemas: Schemas,
    pub(super) columns: Vec<ColumnPlan>,
    /// Whether keys carry images of what their typed fields cannot hold.
    pub(super) exact_keys: bool,
}

/// The registry's ids of a table's schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schemas {
    pub key: SchemaId,
    pub value: SchemaId,
}

pub(super) struct ColumnPlan {
    pub(super) name: Box<str>,
    pub(super) mapping: Mapping,
    pub(super) nullable: bool,
    pub(super) in_key: bool,
}

impl TablePlan {
    pub(crate) fn new(topic: &str, relation: Relation, schemas: Schemas) -> Self {
        let columns = relation.columns.iter().map(|column| ColumnPlan {
            name: column.name.as_str().into(),
            mapping: column.mapping,
            nullable: relation.is_nullable(column),
            in_key: column.in_key,
        });
        Self {
            topic: topic.into(),
            columns: columns.collect(),
            exact_keys: change::envelope::needs_exact(&relation),
            relation,
            schemas,
        }
    }

    /// Whether both rows have the same key.
    pub(super) fn same_key(&self, old: &[Column<'_>], new: &[Column<'_>]) -> bool {
        let pairs = self.columns.iter().zip(old.iter().zip(new));
        // An unchanged column is the old one.
        self.relation.key == Key::Columns
            && pairs
                .filter(|(column, _)| column.in_key)
                .all(|(_, (old, new))| old == new || *new == Column::UnchangedToast)
    }
}
