//! How a table is cut for reading.

use std::sync::Arc;

use change::relation::Column;
use change::value::{Mapping, Scalar};
use change::{TableName, quoted};

use crate::encode::TablePlan;

/// Blocks in a chunk: 8 MiB of a table, some 60,000 rows of a hundred bytes.
const CHUNK_BLOCKS: u32 = 1_024;

/// A part of a table that is read by one COPY.
pub(crate) struct Chunk {
    pub plan: Arc<TablePlan>,
    pub copy: String,
}

/// What a table is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// A heap of this many blocks.
    Heap(u32),
    /// A table without blocks of its own: a partitioned one, published through its root.
    None,
}

/// Appends the chunks of a table. The last has no end, so that rows beyond the size that was asked
/// for are not missed.
pub(super) fn cut(plan: &Arc<TablePlan>, blocks: Blocks, chunks: &mut Vec<Chunk>) {
    let table = &plan.relation.table;
    let columns: Vec<String> = plan.relation.columns.iter().map(column).collect();
    let columns = columns.join(", ");
    let mut push = |from: &str, filter: &str| {
        let copy = format!("copy (select {columns} from {from}{filter}) to stdout (format binary)");
        chunks.push(Chunk {
            plan: Arc::clone(plan),
            copy,
        });
    };
    let Blocks::Heap(blocks) = blocks else {
        return push(&table.quoted(), "");
    };
    let only = only(table);
    let last = blocks.saturating_sub(1) / CHUNK_BLOCKS;
    for number in 0..=last {
        let start = number * CHUNK_BLOCKS;
        match number == last {
            true => push(&only, &format!(" where ctid >= '({start},0)'")),
            false => {
                let end = start + CHUNK_BLOCKS;
                push(
                    &only,
                    &format!(" where ctid >= '({start},0)' and ctid < '({end},0)'"),
                );
            }
        }
    }
}

/// Without the rows of tables that inherit from it: they are published on their own.
fn only(table: &TableName) -> String {
    format!("only {}", table.quoted())
}

/// Types without a send function are read in their text form, as the stream has them.
pub(crate) fn column(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.mapping {
        Mapping::Scalar(Scalar::TextForm) => format!("{name}::text"),
        Mapping::Scalar(_) | Mapping::Array { .. } => name,
    }
}

#[cfg(test)]
mod tests {
    use change::framing::SchemaId;
    use change::relation::{Key, PgType, Relation};

    use super::*;
    use crate::encode::Schemas;

    fn plan(mapping: Scalar) -> Arc<TablePlan> {
        let column = Column {
            name: "a\"b".into(),
            in_key: true,
            mapping: Mapping::Scalar(mapping),
            pg_type: PgType::default(),
            not_null: true,
            default: None,
        };
        let relation = Relation {
            table: TableName::new("s", "t"),
            key: Key::Columns,
            columns: vec![column],
        };
        let schemas = Schemas {
            key: SchemaId(1),
            value: SchemaId(2),
        };
        Arc::new(TablePlan::new("p.s.t", relation, schemas))
    }

    #[track_caller]
    fn check(blocks: Blocks, expected: &[&str]) {
        let mut chunks = Vec::new();
        cut(&plan(Scalar::Int4), blocks, &mut chunks);
        let copies: Vec<&str> = chunks.iter().map(|chunk| chunk.copy.as_str()).collect();
        assert_eq!(copies, expected);
    }

    #[test]
    fn chunks_cover_the_table_and_what_may_be_behind_its_end() {
        let whole = "copy (select \"a\"\"b\" from only \"s\".\"t\" where ctid >= '(0,0)') \
                     to stdout (format binary)";
        check(Blocks::Heap(0), &[whole]);
        check(Blocks::Heap(1_024), &[whole]);
        check(
            Blocks::Heap(1_025),
            &[
                "copy (select \"a\"\"b\" from only \"s\".\"t\" where ctid >= '(0,0)' and ctid < '(1024,0)') \
                 to stdout (format binary)",
                "copy (select \"a\"\"b\" from only \"s\".\"t\" where ctid >= '(1024,0)') \
                 to stdout (format binary)",
            ],
        );
        check(
            Blocks::None,
            &["copy (select \"a\"\"b\" from \"s\".\"t\") to stdout (format binary)"],
        );
    }

    #[test]
    fn types_without_a_send_function_are_read_as_text() {
        let mut chunks = Vec::new();
        cut(&plan(Scalar::TextForm), Blocks::None, &mut chunks);
        assert!(chunks[0].copy.contains("\"a\"\"b\"::text"));
    }
}
