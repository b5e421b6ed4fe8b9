//! How a table is cut for reading.

use std::sync::Arc;

use change::relation::{Column, Key};
use change::value::{Mapping, Scalar};
use change::{TableName, quoted};

use super::ledger::{Done, Place};
use super::reader::{Blocks, Survey};
use crate::encode::TablePlan;
use crate::wire::{Oid, Xid};

/// Blocks in a chunk: 8 MiB of a table, some 60,000 rows of a hundred bytes.
const CHUNK_BLOCKS: u32 = 1_024;

/// A table that is copied.
#[derive(Clone)]
pub(crate) struct Table {
    pub oid: Oid,
    pub plan: Arc<TablePlan>,
    /// The publication's condition for rows.
    pub filter: Option<String>,
}

/// A part of a table that is read by one COPY.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) plan: Arc<TablePlan>,
    pub(super) place: Place,
    /// What the table is, so far as chunks depend on it.
    pub(super) form: String,
    pub(super) copy: String,
}

/// What is left to do for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Rows that count already stay.
    Rest,
    /// The table begins with a truncation.
    All,
}

impl Table {
    /// The columns and the rows that are published.
    pub(super) fn selection(&self) -> String {
        format!("{} where {:?}", self.columns(), self.filter)
    }

    fn columns(&self) -> String {
        let columns = self.plan.relation.columns.iter().map(column);
        columns.collect::<Vec<_>>().join(", ")
    }

    /// What of the table is in the topics, of those chunks that are `done`. Without a key a row that
    /// is read again would stand there twice.
    pub(super) fn extent(&self, survey: &Survey, done: &Done) -> Extent {
        let mut places = places(self.oid, survey.blocks);
        let keyed = self.plan.relation.key == Key::Columns;
        match keyed && places.any(|place| done.horizon(place, &survey.form).is_some()) {
            true => Extent::Rest,
            false => Extent::All,
        }
    }

    /// The chunks of the table. Of one that is `done` these are the rows that were written since: such
    /// a row may have come from where nobody has read yet, and of a large value that was not touched
    /// the log has nothing.
    pub(super) fn cut(&self, survey: &Survey, extent: Extent, done: &Done) -> Vec<Chunk> {
        let table = &self.plan.relation.table;
        let from = match survey.blocks {
            Blocks::Heap(_) => only(table),
            Blocks::None => table.quoted(),
        };
        let chunk = |place: Place| {
            let horizon = match extent {
                Extent::Rest => done.horizon(place, &survey.form),
                Extent::All => None,
            };
            let mut terms = Vec::new();
            if let Blocks::Heap(_) = survey.blocks {
                let end = place.block.saturating_add(CHUNK_BLOCKS);
                terms.push(format!(
                    "ctid >= '({},0)' and ctid < '({end},0)'",
                    place.block
                ));
            }
            terms.extend(self.filter.as_ref().map(|filter| format!("({filter})")));
            terms.extend(horizon.map(written_since));
            let condition = match terms.is_empty() {
                true => String::new(),
                false => format!(" where {}", terms.join(" and ")),
            };
            Chunk {
                plan: Arc::clone(&self.plan),
                place,
                form: survey.form.clone(),
                copy: format!(
                    "copy (select {} from {from}{condition}) to stdout (format binary)",
                    self.columns()
                ),
            }
        };
        places(self.oid, survey.blocks).map(chunk).collect()
    }
}

/// Where chunks begin. All that the snapshot shows is in the blocks: their number was asked for under
/// it, and tables do not shrink while they are locked.
fn places(relation: Oid, blocks: Blocks) -> impl Iterator<Item = Place> {
    let last = match blocks {
        Blocks::Heap(blocks) => blocks.saturating_sub(1) / CHUNK_BLOCKS,
        Blocks::None => 0,
    };
    (0..=last).map(move |number| Place {
        relation,
        block: number * CHUNK_BLOCKS,
    })
}

/// Without the rows of tables that inherit from it: they are published on their own.
fn only(table: &TableName) -> String {
    format!("only {}", table.quoted())
}

/// The condition for rows that this transaction has written, or later ones.
pub(crate) fn written_since(xid: Xid) -> String {
    format!("age(xmin) <= age('{}'::xid)", xid.0)
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
    use change::relation::{PgType, Relation};

    use super::*;
    use crate::encode::Schemas;

    const FORM: &str = "form";

    fn table(mapping: Scalar, key: Key, filter: Option<&str>) -> Table {
        let column = Column {
            name: "a\"b".into(),
            in_key: true,
            mapping: Mapping::Scalar(mapping),
            pg_type: PgType::default(),
            not_null: true,
            default: None,
            generated: false,
        };
        let relation = Relation {
            table: TableName::new("s", "t"),
            key,
            columns: vec![column],
        };
        let schemas = Schemas {
            key: SchemaId(1),
            value: SchemaId(2),
        };
        Table {
            oid: 7,
            plan: Arc::new(TablePlan::new("p.s.t", relation, schemas)),
            filter: filter.map(str::to_owned),
        }
    }

    fn survey(blocks: Blocks) -> Survey {
        Survey {
            blocks,
            form: FORM.to_owned(),
        }
    }

    fn done(block: u32, form: &str) -> Done {
        let place = Place { relation: 7, block };
        Done::from_iter([(place, (form.to_owned(), (9 << 32) + 700))])
    }

    #[track_caller]
    fn check(blocks: Blocks, filter: Option<&str>, done: &Done, expected: &[&str]) {
        let table = table(Scalar::Int4, Key::Columns, filter);
        let survey = survey(blocks);
        let extent = table.extent(&survey, done);
        let chunks = table.cut(&survey, extent, done);
        let copies = chunks.iter().map(|chunk| {
            let copy = chunk.copy.strip_prefix("copy (select \"a\"\"b\" from ");
            copy.and_then(|copy| copy.strip_suffix(") to stdout (format binary)"))
                .unwrap()
        });
        assert_eq!(copies.collect::<Vec<_>>(), expected);
    }

    const FIRST: &str = "only \"s\".\"t\" where ctid >= '(0,0)' and ctid < '(1024,0)'";
    const SECOND: &str = "only \"s\".\"t\" where ctid >= '(1024,0)' and ctid < '(2048,0)'";

    #[test]
    fn chunks_cover_the_table() {
        let nothing = Done::default();
        check(Blocks::Heap(0), None, &nothing, &[FIRST]);
        check(Blocks::Heap(1_024), None, &nothing, &[FIRST]);
        check(Blocks::Heap(1_025), None, &nothing, &[FIRST, SECOND]);
        check(Blocks::None, None, &nothing, &["\"s\".\"t\""]);
    }

    #[test]
    fn rows_that_the_publication_leaves_out_are_not_read() {
        let filtered = format!("{FIRST} and ((n > 1) OR (n < 0))");
        let filter = Some("(n > 1) OR (n < 0)");
        check(Blocks::Heap(1), filter, &Done::default(), &[&filtered]);
        let parts = "\"s\".\"t\" where (true)";
        check(Blocks::None, Some("true"), &Done::default(), &[parts]);
    }

    #[test]
    fn of_a_chunk_that_was_read_only_newer_rows_are_read_again() {
        let newer = format!("{SECOND} and age(xmin) <= age('700'::xid)");
        let known = done(1_024, FORM);
        check(Blocks::Heap(1_025), None, &known, &[FIRST, &newer]);
        let other = done(1_024, "of another file");
        check(Blocks::Heap(1_025), None, &other, &[FIRST, SECOND]);
    }

    #[test]
    fn a_table_without_a_key_is_read_as_a_whole() {
        let survey = survey(Blocks::Heap(1_025));
        let known = done(1_024, FORM);
        let keyless = table(Scalar::Int4, Key::WholeRow, None);
        assert_eq!(keyless.extent(&survey, &known), Extent::All);
        let chunks = keyless.cut(&survey, Extent::All, &known);
        assert!(chunks.iter().all(|chunk| !chunk.copy.contains("xmin")));
        let keyed = table(Scalar::Int4, Key::Columns, None);
        assert_eq!(keyed.extent(&survey, &known), Extent::Rest);
        assert_eq!(keyed.extent(&survey, &Done::default()), Extent::All);
    }

    #[test]
    fn types_without_a_send_function_are_read_as_text() {
        let table = table(Scalar::TextForm, Key::Columns, None);
        let chunks = table.cut(&survey(Blocks::None), Extent::All, &Done::default());
        assert!(chunks[0].copy.contains("\"a\"\"b\"::text"));
    }
}
