//! The SQL that changes one table, as text.
//!
//! Does no I/O. Every name goes through [`change::quoted`]; type names are what the target's
//! `format_type` wrote.

use change::TableName;

/// A table of the target with the columns that changes name, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) table: TableName,
    pub(crate) columns: Vec<ShapeColumn>,
    pub(crate) has_key: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ShapeColumn {
    pub(crate) name: String,
    /// The type as the target writes it, without modifier.
    pub(crate) type_name: String,
    pub(crate) in_key: bool,
    /// Its values are text, because the type takes no binary image.
    pub(crate) is_text: bool,
}

/// A statement for one row. Its parameters are the values that it names, in column order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowStatement {
    Insert,
    Upsert,
    /// Sets the columns that are `true`; the rest stay as they are. Ends with the key that the row
    /// has before.
    Patch(Box<[bool]>),
    /// By the key; without one, one row that is equal in all columns.
    Delete,
}

impl Shape {
    pub(crate) fn sql(&self, statement: &RowStatement) -> String {
        match statement {
            RowStatement::Insert => self.insert(),
            RowStatement::Upsert => format!("{}{}", self.insert(), self.on_conflict()),
            RowStatement::Patch(touched) => self.patch(touched),
            RowStatement::Delete if self.has_key => self.delete(),
            RowStatement::Delete => self.delete_one(),
        }
    }

    fn insert(&self) -> String {
        let values = (1..).zip(&self.columns).map(|(n, column)| column.bind(n));
        format!(
            "insert into {} ({}) overriding system value values ({})",
            self.table.quoted(),
            self.names(),
            list(values)
        )
    }

    fn on_conflict(&self) -> String {
        let key = self.columns.iter().filter(|column| column.in_key);
        let rest = self.columns.iter().filter(|column| !column.in_key);
        let sets = list(rest.map(|column| format!("{0} = excluded.{0}", column.quoted())));
        let key = list(key.map(ShapeColumn::quoted));
        match sets.is_empty() {
            true => format!(" on conflict ({key}) do nothing"),
            false => format!(" on conflict ({key}) do update set {sets}"),
        }
    }

    fn patch(&self, touched: &[bool]) -> String {
        let set: Vec<&ShapeColumn> = self.touched(touched).collect();
        let sets = (1..).zip(&set);
        let sets =
            list(sets.map(|(n, column)| format!("{} = {}", column.quoted(), column.bind(n))));
        format!(
            "update {} as t set {sets} where {}",
            self.table.quoted(),
            self.key_is(set.len() + 1)
        )
    }

    fn delete(&self) -> String {
        format!(
            "delete from {} as t where {}",
            self.table.quoted(),
            self.key_is(1)
        )
    }

    /// One of the rows that are the same byte for byte, whatever their types' equality says, and
    /// whether they have one. (Between two row constructors the operator would be taken column by
    /// column, hence its function.)
    fn delete_one(&self) -> String {
        let own = list(self.columns.iter().map(|c| format!("t.{}", c.quoted())));
        let given = (1..).zip(&self.columns).map(|(n, column)| column.bind(n));
        let table = self.table.quoted();
        format!(
            "delete from {table} where (tableoid, ctid) = (select t.tableoid, t.ctid \
             from {table} as t where pg_catalog.record_image_eq(row({own}), row({})) limit 1)",
            list(given)
        )
    }

    fn key_is(&self, first: usize) -> String {
        let key = self.columns.iter().filter(|column| column.in_key);
        let terms: Vec<String> = (first..)
            .zip(key)
            .map(|(n, column)| format!("t.{} = {}", column.quoted(), column.bind(n)))
            .collect();
        terms.join(" and ")
    }

    /// The columns that `touched` marks.
    pub(crate) fn touched<'a>(
        &'a self,
        touched: &'a [bool],
    ) -> impl Iterator<Item = &'a ShapeColumn> {
        let columns = self.columns.iter().zip(touched);
        columns.filter(|(_, set)| **set).map(|(column, _)| column)
    }

    fn names(&self) -> String {
        list(self.columns.iter().map(ShapeColumn::quoted))
    }
}

impl ShapeColumn {
    fn quoted(&self) -> String {
        change::quoted(&self.name)
    }

    fn bind(&self, n: usize) -> String {
        match self.is_text {
            true => format!("${n}::text::{}", self.type_name),
            false => format!("${n}::{}", self.type_name),
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
