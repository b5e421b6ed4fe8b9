//! Statements for one row, whose values are parameters.

use super::{Shape, ShapeColumn, list};

impl Shape {
    pub(super) fn insert(&self) -> String {
        if self.columns.is_empty() {
            return format!("insert into {} default values", self.table.quoted());
        }
        let values = (1..).zip(&self.columns).map(|(n, column)| column.bind(n));
        format!(
            "insert into {} ({}) overriding system value values ({})",
            self.table.quoted(),
            self.names(),
            list(values)
        )
    }

    pub(super) fn on_conflict(&self) -> String {
        let rest = self.columns.iter().filter(|it| it.equality.is_none());
        let sets = list(rest.map(|column| format!("{0} = excluded.{0}", column.quoted())));
        let key = list(self.key().map(ShapeColumn::quoted));
        match sets.is_empty() {
            true => format!(" on conflict ({key}) do nothing"),
            false => format!(" on conflict ({key}) do update set {sets}"),
        }
    }

    pub(super) fn patch(&self, marked: &[bool]) -> String {
        let columns = self.columns.iter().zip(marked);
        let set: Vec<&ShapeColumn> = columns.filter(|(_, set)| **set).map(|(c, _)| c).collect();
        let sets = (1..).zip(&set);
        let sets = sets.map(|(n, column)| format!("{} = {}", column.quoted(), column.bind(n)));
        format!(
            "update {} as t set {} where {}",
            self.rows(),
            list(sets),
            self.key_is("t", set.len() + 1)
        )
    }

    pub(super) fn delete(&self) -> String {
        let table = self.rows();
        format!("delete from {table} as t where {}", self.key_is("t", 1))
    }

    /// One of the rows that are the same byte for byte, whatever their types' equality says, and
    /// whether they have one. (Between two row constructors the operator would be taken column by
    /// column, hence its function.)
    pub(super) fn delete_equal(&self) -> String {
        let own = list(self.columns.iter().map(|c| format!("t.{}", c.quoted())));
        let given = (1..).zip(&self.columns).map(|(n, column)| column.bind(n));
        let table = self.rows();
        format!(
            "delete from {table} where (tableoid, ctid) = (select t.tableoid, t.ctid \
             from {table} as t where pg_catalog.record_image_eq(row({own}), row({})) limit 1)",
            list(given)
        )
    }

    /// The row that is the parameters, each value as text.
    pub(crate) fn render(&self) -> String {
        let values = (1..).zip(&self.columns);
        let values = values.map(|(n, column)| format!("({})::text", column.bind(n)));
        format!("select {}", list(values))
    }

    /// The row that has the key, each value as text.
    pub(crate) fn find(&self) -> String {
        let columns = self
            .columns
            .iter()
            .map(|it| format!("t.{}::text", it.quoted()));
        let table = self.rows();
        format!(
            "select {} from {table} as t where {}",
            list(columns),
            self.key_is("t", 1)
        )
    }

    /// Whether a row of `table` has the key that is bound from the parameter `first` on.
    pub(super) fn key_is(&self, table: &str, first: usize) -> String {
        let terms: Vec<String> = (first..)
            .zip(self.key())
            .map(|(n, column)| {
                let own = format!("{table}.{}", column.quoted());
                column.equal(&own, &column.bind(n))
            })
            .collect();
        terms.join(" and ")
    }
}

impl ShapeColumn {
    pub(super) fn bind(&self, n: usize) -> String {
        match &self.carried_as {
            Some(carried) => format!("${n}::{carried}::{}", self.type_name),
            None => format!("${n}::{}", self.type_name),
        }
    }
}
