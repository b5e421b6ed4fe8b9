//! From the stage to the live table: what would be done, and doing it in chunks of keys.

use change::quoted;
use serde_json::Value;
use tokio_postgres::Client;

use super::error::{ReplayError, step};
use super::home::HomeTable;
use super::numbers::Numbers;

/// A row that a replay would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub table: change::TableName,
    pub key: Value,
    /// Columns that differ, as the live row has them; none where there is no such row.
    pub before: Option<Value>,
    /// The same columns as they would be.
    pub after: Option<Value>,
}

/// Long enough to tell what it is.
const VALUE_CHARS_MAX: usize = 200;

/// A table's statements, whose texts differ in names only.
pub(super) struct Statements<'a> {
    table: &'a HomeTable,
    live: String,
    rows: String,
    keys: String,
    chunk: String,
}

impl<'a> Statements<'a> {
    pub(super) fn of(table: &'a HomeTable) -> Self {
        Self {
            table,
            live: table.live.quoted(),
            rows: table.rows.quoted(),
            keys: table.keys.quoted(),
            chunk: format!("pg_temp.{}", quoted(&format!("chunk_{}", table.keys.name))),
        }
    }

    /// After a truncation, rows that are on the target and not in the stage are wanted too. Those that
    /// came meanwhile are read before they are merged.
    pub(super) async fn select_rest(&self, client: &Client) -> Result<(), ReplayError> {
        let Self {
            live, rows, keys, ..
        } = self;
        let key = self.key("");
        let sql = format!(
            "insert into {keys} as k ({key}, selected) select {own}, true from {live} as l \
             where not exists (select from {rows} as r where {same}) \
             on conflict ({key}) do update set selected = true where not k.selected",
            own = self.key("l."),
            same = self.same("l", "r"),
        );
        let selected = client.batch_execute(&sql).await;
        selected.map_err(step("look for rows that a truncation took away"))
    }

    /// So that the plans of large joins fit.
    pub(super) async fn analyze(&self, client: &Client) -> Result<(), ReplayError> {
        let sql = format!("analyze {}, {}", self.rows, self.keys);
        let analyzed = client.batch_execute(&sql).await;
        analyzed.map_err(step("analyze the replay's tables"))
    }

    pub(super) async fn compare(&self, client: &Client) -> Result<Numbers, ReplayError> {
        let sql = format!(
            "select count(*) filter (where {there} and not {here}), \
             count(*) filter (where {there} and {here} and {distinct}), \
             count(*) filter (where not {there} and {here}), \
             count(*), count(*) filter (where k.late) from {joined}",
            there = self.there(),
            here = self.here(),
            distinct = self.distinct(),
            joined = self.joined(),
        );
        let row = client.query_one(&sql, &[]).await;
        let row = row.map_err(step("compare the stage with the live table"))?;
        let count = |at| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
        let (inserted, updated, deleted) = (count(0), count(1), count(2));
        Ok(Numbers {
            read: 0,
            inserted,
            updated,
            deleted,
            unchanged: count(3) - inserted - updated - deleted,
            going_backwards: count(4),
        })
    }

    /// Some of the rows that would be changed.
    pub(super) async fn sample(
        &self,
        client: &Client,
        limit: usize,
    ) -> Result<Vec<Difference>, ReplayError> {
        let sql = format!(
            "select (case when {there} then to_jsonb(r) else to_jsonb(l) end)::text, \
             (case when {here} then to_jsonb(l) end)::text, \
             (case when {there} then to_jsonb(r) end)::text from {joined} \
             and ({there} <> {here} or {there} and {distinct}) limit {limit}",
            there = self.there(),
            here = self.here(),
            distinct = self.distinct(),
            joined = self.joined(),
        );
        let rows = client.query(&sql, &[]).await;
        let rows = rows.map_err(step("read differing rows"))?;
        let json = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok());
        let differences = rows.iter().map(|row| {
            let whole: Value = json(row.get(0)).unwrap_or_default();
            self.difference(&whole, json(row.get(1)), json(row.get(2)))
        });
        Ok(differences.collect())
    }

    fn difference(&self, whole: &Value, before: Option<Value>, after: Option<Value>) -> Difference {
        let differs = |name: &&String| match (&before, &after) {
            (Some(before), Some(after)) => before[name.as_str()] != after[name.as_str()],
            _ => true,
        };
        let names: Vec<&String> = self.table.known.iter().filter(differs).collect();
        let chosen = |row: &Value, names: &[&String]| {
            let fields = names
                .iter()
                .map(|name| ((*name).clone(), short(&row[name.as_str()])));
            Value::Object(fields.collect())
        };
        let key: Vec<&String> = self.table.key.iter().collect();
        Difference {
            table: self.table.table.clone(),
            key: chosen(whole, &key),
            before: before.as_ref().map(|row| chosen(row, &names)),
            after: after.as_ref().map(|row| chosen(row, &names)),
        }
    }

    /// Outside of the transactions that use it.
    pub(super) async fn create_chunk(&self, client: &Client) -> Result<(), ReplayError> {
        let sql = format!(
            "create temp table if not exists {chunk} on commit delete rows \
             as select {key} from {keys} with no data",
            chunk = quoted(&format!("chunk_{}", self.table.keys.name)),
            key = self.key(""),
            keys = self.keys,
        );
        let made = client.batch_execute(&sql).await;
        made.map_err(step("create a table for keys"))
    }

    /// A chunk of fewer keys costs more in going there than in doing: 500, or 4 MB of rows.
    pub(super) async fn least_keys(&self, client: &Client) -> Result<usize, ReplayError> {
        let query = "select greatest(1, least(500, 4194304 / greatest(1, \
                     pg_table_size(c.oid) / greatest(1, c.reltuples::int8))))::int8 \
                     from pg_catalog.pg_class c where c.oid = to_regclass($1)";
        let row = client.query_one(query, &[&self.rows]).await;
        let keys: i64 = row.map_err(step("ask for the size of rows"))?.get(0);
        Ok(usize::try_from(keys).unwrap_or(1))
    }

    /// Puts the rows of some keys in place that are not yet. The numbers say how many; none when no
    /// key is left.
    pub(super) async fn merge(
        &self,
        client: &Client,
        keys_max: usize,
    ) -> Result<Numbers, ReplayError> {
        let Self {
            live,
            rows,
            keys,
            chunk,
            ..
        } = self;
        let run = async |sql: String| {
            let ran = client.execute(&sql, &[]).await;
            ran.map_err(step("put rows of the replay in place"))
        };
        let key = self.key("");
        let chosen = run(format!(
            "insert into {chunk} select {key} from {keys} where selected and not merged \
             limit {keys_max}"
        ))
        .await?;
        let deleted = run(format!(
            "delete from {live} as l using {chunk} as c where {mine} \
             and not exists (select from {rows} as r where {staged})",
            mine = self.same("l", "c"),
            staged = self.same("r", "c"),
        ))
        .await?;
        let updated = match self.table.shared.is_empty() {
            true => 0,
            false => run(self.update()).await?,
        };
        let inserted = run(self.insert()).await?;
        run(format!(
            "update {keys} as k set merged = true from {chunk} as c where {same}",
            same = self.same("k", "c"),
        ))
        .await?;
        Ok(Numbers {
            inserted,
            updated,
            deleted,
            unchanged: chosen - inserted - updated - deleted,
            ..Numbers::default()
        })
    }

    fn update(&self) -> String {
        let sets = self.table.shared.iter().map(|name| {
            let name = quoted(name);
            format!("{name} = r.{name}")
        });
        format!(
            "update {live} as l set {sets} from {chunk} as c join {rows} as r on {staged} \
             where {mine} and {distinct}",
            live = self.live,
            sets = sets.collect::<Vec<_>>().join(", "),
            chunk = self.chunk,
            rows = self.rows,
            staged = self.same("r", "c"),
            mine = self.same("l", "c"),
            distinct = self.distinct(),
        )
    }

    fn insert(&self) -> String {
        let columns = self.table.key.iter().chain(&self.table.known);
        let names: Vec<String> = columns.map(|name| quoted(name)).collect();
        let values: Vec<String> = names.iter().map(|name| format!("r.{name}")).collect();
        format!(
            "insert into {live} ({names}) overriding system value select {values} \
             from {chunk} as c join {rows} as r on {staged} \
             where not exists (select from {live} as l where {mine})",
            live = self.live,
            names = names.join(", "),
            values = values.join(", "),
            chunk = self.chunk,
            rows = self.rows,
            staged = self.same("r", "c"),
            mine = self.same("l", "r"),
        )
    }

    /// The wanted keys with their staged and live rows.
    fn joined(&self) -> String {
        format!(
            "{keys} as k left join {rows} as r on {staged} left join {live} as l on {mine} \
             where k.selected and not k.merged",
            keys = self.keys,
            rows = self.rows,
            live = self.live,
            staged = self.same("r", "k"),
            mine = self.same("l", "k"),
        )
    }

    /// Whether there is a staged row: no part of a key is null.
    fn there(&self) -> String {
        format!("({} is not null)", self.first_key("r"))
    }

    fn here(&self) -> String {
        format!("({} is not null)", self.first_key("l"))
    }

    fn first_key(&self, alias: &str) -> String {
        let name = self
            .table
            .key
            .first()
            .map(String::as_str)
            .unwrap_or_default();
        format!("{alias}.{}", quoted(name))
    }

    /// Byte for byte, whatever their types' equality says.
    fn distinct(&self) -> String {
        if self.table.shared.is_empty() {
            return "false".to_owned();
        }
        let row = |alias: &str| {
            let names = self.table.shared.iter();
            let names: Vec<String> = names
                .map(|name| format!("{alias}.{}", quoted(name)))
                .collect();
            names.join(", ")
        };
        format!(
            "pg_catalog.record_image_ne(row({}), row({}))",
            row("l"),
            row("r")
        )
    }

    fn key(&self, alias: &str) -> String {
        let key = self.table.key.iter();
        let key: Vec<String> = key.map(|name| format!("{alias}{}", quoted(name))).collect();
        key.join(", ")
    }

    fn same(&self, a: &str, b: &str) -> String {
        let terms = self.table.key.iter().map(|name| {
            let name = quoted(name);
            format!("{a}.{name} = {b}.{name}")
        });
        terms.collect::<Vec<_>>().join(" and ")
    }
}

fn short(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > VALUE_CHARS_MAX => {
            let start: String = text.chars().take(VALUE_CHARS_MAX).collect();
            Value::String(format!("{start}…"))
        }
        other => other.clone(),
    }
}
