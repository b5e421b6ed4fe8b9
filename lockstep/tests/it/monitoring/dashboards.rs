//! The dashboards by themselves.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{folder, repository};

/// Name and content of each.
pub(super) fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder().join("grafana/dashboards")).expect("list the dashboards");
    let dashboard = |file: std::io::Result<fs::DirEntry>| {
        let path = file.expect("list the dashboards").path();
        let text = fs::read_to_string(&path).expect("read a dashboard");
        let name = path.file_name().expect("a name").display().to_string();
        (name, serde_json::from_str(&text).expect("a dashboard"))
    };
    let dashboards: Vec<(String, Value)> = files.map(dashboard).collect();
    assert!(dashboards.len() >= 3);
    dashboards
}

/// Every query, with the variables filled in, and where it stands.
pub(super) fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().expect("a title");
            for target in list(&panel["targets"]) {
                let query = target["expr"].as_str().expect("an expression");
                let query = query
                    .replace("$pipeline", ".+")
                    .replace("$__rate_interval", "1m");
                assert!(!query.contains('$'), "{name}, {title}: {query}");
                queries.push((format!("{name}, {title}"), query));
            }
        }
    }
    queries
}

/// Those that show something; rows are headings.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).filter(|panel| panel["type"] != "row")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn dashboards_are_laid_out_without_overlap() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        let uid = dashboard["uid"].as_str().expect("a uid");
        assert!(uids.insert(uid.to_owned()), "{name}: {uid} twice");
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard["panels"]) {
            let id = panel["id"].as_u64().expect("an id");
            assert!(ids.insert(id), "{name}: panel {id} twice");
            let side = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{name}: panel {id}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: panel {id} covers another");
            }
        }
    }
}

#[test]
fn panels_say_what_they_show_and_ask_the_chosen_prometheus() {
    for (name, dashboard) in dashboards() {
        let variables = list(&dashboard["templating"]["list"]);
        let variables: Vec<&str> = variables.filter_map(|it| it["name"].as_str()).collect();
        assert_eq!(variables, ["datasource", "pipeline"], "{name}");
        for panel in panels(&dashboard) {
            let place = format!("{name}, {}", panel["title"]);
            let said = panel["description"].as_str().unwrap_or_default();
            assert!(said.ends_with('.'), "{place}: what does it show?");
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{place}"
            );
            let mut names = BTreeSet::new();
            for target in list(&panel["targets"]) {
                assert!(names.insert(target["refId"].as_str()), "{place}");
                let source = &target["datasource"]["uid"];
                assert_eq!(source, "${datasource}", "{place}");
            }
            assert!(!names.is_empty() && !names.contains(&None), "{place}");
        }
    }
}

/// Grafana's own types of a dashboard keep every field: none is misspelled or of another kind.
#[test]
fn grafanas_schema_knows_every_field() {
    let script = repository().join("lockstep/tests/it/monitoring/grafana.sh");
    let ran = Command::new(script)
        .arg(folder().join("grafana/dashboards"))
        .output()
        .expect("run grafana.sh");
    let said =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &*String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let checked = dashboards().len();
    assert!(said.ends_with(&format!("{checked} dashboards\n")), "{said}");
}
