//! What the records of a table `t (id, n, body)` come to, beside what the source has.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::postgres::Connection;

use crate::captured::Pipeline;

/// How many records of the table count.
pub(crate) async fn records(pipeline: &Pipeline, table: &str) -> usize {
    let topic = format!("{}.public.{table}", pipeline.name);
    let commits = pipeline.commits().await;
    let ranges = commits.iter().flat_map(|commit| &commit.partitions);
    let records = ranges.filter(|range| range.topic == topic);
    usize::try_from(records.map(|range| range.records).sum::<u64>()).unwrap()
}

pub(crate) async fn rows(client: &Connection) -> BTreeMap<i64, (i32, Option<i32>)> {
    let sql = "select id, n, length(body) from t";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect()
}

/// Fails with the history of a row that is not what the changes come to.
#[track_caller]
pub(crate) fn compare(changes: &[Value], expected: &BTreeMap<i64, (i32, Option<i32>)>) {
    let told = told(&result(changes));
    let ids = told.keys().chain(expected.keys());
    let Some(id) = ids.into_iter().find(|id| told.get(id) != expected.get(id)) else {
        return;
    };
    let short = |row: &Value| (row["n"].clone(), row["body"].as_str().map(str::len));
    let is_of = |change: &&Value| change["after"]["id"] == *id || change["before"]["id"] == *id;
    let history: Vec<_> = changes
        .iter()
        .filter(is_of)
        .map(|it| {
            let (op, place) = (it["op"].as_str(), &it["lockstep"]);
            let (lsn, unchanged) = (&place["commit_lsn"], &place["unchanged"]);
            format!(
                "{op:?} {lsn} {unchanged} {:?} {} {}",
                short(&it["after"]),
                it["before"]["id"],
                it["after"]["id"]
            )
        })
        .collect();
    let (told, expected) = (told.get(id), expected.get(id));
    panic!("row {id}: {told:?}, expected {expected:?}; {history:#?}");
}

fn told(rows: &BTreeMap<i64, Value>) -> BTreeMap<i64, (i32, Option<i32>)> {
    let row = |row: &Value| {
        let length = |body: &str| i32::try_from(body.len()).unwrap();
        let n = i32::try_from(row["n"].as_i64().unwrap()).unwrap();
        (n, row["body"].as_str().map(length))
    };
    rows.iter().map(|(id, it)| (*id, row(it))).collect()
}

/// The rows that the topic's records come to, in the order of their positions.
fn result(changes: &[Value]) -> BTreeMap<i64, Value> {
    let mut rows = BTreeMap::new();
    for change in changes {
        let id = |row: &Value| row["id"].as_i64().unwrap();
        match change["op"].as_str().unwrap() {
            "c" | "r" => _ = rows.insert(id(&change["after"]), change["after"].clone()),
            "u" => {
                let mut row = change["after"].clone();
                let before = &change["before"];
                let old = if before.is_null() { &row } else { before };
                let known: Option<Value> = rows.get(&id(old)).cloned();
                let unchanged = change["lockstep"]["unchanged"].as_array().unwrap();
                for name in unchanged.iter().map(|name| name.as_str().unwrap()) {
                    // Where the row is not known, the target has nothing to change.
                    row[name] = known
                        .as_ref()
                        .map_or(Value::Null, |known| known[name].clone());
                }
                rows.insert(id(&row), row);
            }
            "d" => _ = rows.remove(&id(&change["before"])),
            "t" => rows.clear(),
            other => panic!("{other}"),
        }
    }
    rows
}
