//! Statements for many rows, which are copied to a temporary table first.
//!
//! The stage has a column `c0`, `c1`, … for each column of the table; that of a table without a key
//! also `i` and `n`, to tell and count equal rows.

use super::{Shape, ShapeColumn, list};

impl Shape {
    /// Made once per session, outside of the transactions that use it.
    pub(crate) fn create_stage(&self) -> String {
        let columns = self.columns.iter().enumerate().map(|(at, column)| {
            let type_name = column.carried_as.as_ref().unwrap_or(&column.type_name);
            format!("c{at} {type_name}")
        });
        let counters = ["i bigint".to_owned(), "n bigint".to_owned()];
        let counters = counters.into_iter().filter(|_| !self.has_key);
        format!(
            "create temp table if not exists {} ({}) on commit delete rows",
            change::quoted(&self.stage),
            list(columns.chain(counters))
        )
    }

    pub(super) fn stage_name(&self) -> String {
        format!("pg_temp.{}", change::quoted(&self.stage))
    }

    pub(super) fn copy(&self) -> String {
        format!(
            "copy {} ({}) from stdin (format binary)",
            self.table.quoted(),
            self.names()
        )
    }

    pub(super) fn copy_to_stage(&self, marked: &[bool]) -> String {
        let columns = marked.iter().enumerate().filter(|(_, set)| **set);
        format!(
            "copy {} ({}) from stdin (format binary)",
            self.stage_name(),
            list(columns.map(|(at, _)| format!("c{at}")))
        )
    }

    pub(super) fn copy_counted(&self) -> String {
        let columns = (0..self.columns.len()).map(|at| format!("c{at}, "));
        format!(
            "copy {} ({}i, n) from stdin (format binary)",
            self.stage_name(),
            columns.collect::<String>()
        )
    }

    pub(super) fn insert_staged(&self) -> String {
        format!(
            "insert into {} ({}) overriding system value select {} from {} as s",
            self.table.quoted(),
            self.names(),
            self.staged_values(),
            self.stage_name()
        )
    }

    pub(super) fn patch_staged(&self, marked: &[bool]) -> String {
        let columns = self.columns.iter().enumerate().zip(marked);
        let sets = columns
            .filter(|(_, set)| **set)
            .map(|((at, column), _)| format!("{} = {}", column.quoted(), column.staged(at)));
        format!(
            "update {} as t set {} from {} as s where {}",
            self.rows(),
            list(sets),
            self.stage_name(),
            self.key_is_staged("t")
        )
    }

    pub(super) fn delete_staged(&self) -> String {
        format!(
            "delete from {} as t using {} as s where {}",
            self.rows(),
            self.stage_name(),
            self.key_is_staged("t")
        )
    }

    /// Of the rows that are equal to a staged one byte for byte, as many as it counts. Their text
    /// is hashed only to find candidates: unlike equality, every type has a text form.
    pub(super) fn delete_equal_staged(&self) -> String {
        let own = list(self.columns.iter().map(|c| format!("t.{}", c.quoted())));
        let staged = self.staged_values();
        let table = self.rows();
        format!(
            "delete from {table} where (tableoid, ctid) in (select o, r from (\
             select t.tableoid as o, t.ctid as r, s.n, row_number() over (partition by s.i) as k \
             from {table} as t join {stage} as s \
             on pg_catalog.hashtextextended(row({own})::text, 0) \
              = pg_catalog.hashtextextended(row({staged})::text, 0) \
             and pg_catalog.record_image_eq(row({own}), row({staged}))) as equal where k <= n)",
            stage = self.stage_name()
        )
    }

    fn staged_values(&self) -> String {
        let columns = self.columns.iter().enumerate();
        list(columns.map(|(at, column)| column.staged(at)))
    }

    pub(super) fn key_is_staged(&self, table: &str) -> String {
        let columns = self.columns.iter().enumerate();
        let terms: Vec<String> = columns
            .filter(|(_, column)| column.equality.is_some())
            .map(|(at, column)| {
                let own = format!("{table}.{}", column.quoted());
                column.equal(&own, &column.staged(at))
            })
            .collect();
        terms.join(" and ")
    }
}

impl ShapeColumn {
    pub(super) fn staged(&self, at: usize) -> String {
        match self.carried_as {
            Some(_) => format!("s.c{at}::{}", self.type_name),
            None => format!("s.c{at}"),
        }
    }
}
