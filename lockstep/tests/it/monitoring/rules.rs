//! The rules by themselves: promtool, and the pages that alerts point to.

use std::fs;
use std::process::Command;

use super::prometheus::program;
use super::{folder, repository};

#[track_caller]
fn promtool(arguments: &[&str]) -> String {
    let ran = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(folder())
        .output()
        .expect("run promtool");
    let said =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &*String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    said
}

#[test]
fn the_configuration_is_one_of_prometheus() {
    let said = promtool(&["check", "config", "prometheus.yml"]);
    assert!(said.contains("2 rule files found"), "{said}");
}

#[test]
fn each_alert_fires_on_its_fault_and_resolves() {
    promtool(&["test", "rules", "tests/alerts.yml"]);
    let tests = fs::read_to_string(folder().join("tests/alerts.yml")).unwrap();
    for (alert, _) in alerts() {
        let mentions = format!("alertname: {alert}\n        exp_alerts:");
        let (fires, resolves) = (format!("{mentions}\n"), format!("{mentions} []"));
        assert!(tests.contains(&fires), "no test has {alert} fire");
        assert!(tests.contains(&resolves), "no test has {alert} resolve");
    }
}

#[test]
fn each_alert_has_a_page_that_says_what_to_do() {
    let listed = fs::read_to_string(repository().join("docs/runbooks/README.md")).unwrap();
    for (alert, page) in alerts() {
        assert!(listed.contains(&format!("| {alert} |")), "{alert}");
        let text = fs::read_to_string(repository().join(&page)).expect(&page);
        for part in [
            &*alert,
            "## What it means",
            "## How to look",
            "## What to do",
            "## How to be sure that it is over",
        ] {
            assert!(text.contains(part), "{page} lacks {part:?}");
        }
    }
}

/// Name and page of each.
fn alerts() -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join("rules/alerts.yml"));
    let text = text.expect("read the alerts");
    let value = |line: &str, key: &str| {
        let value = line.trim_start().strip_prefix(key)?;
        Some(value.trim().to_owned())
    };
    let names = text.lines().filter_map(|line| value(line, "- alert:"));
    let pages = text.lines().filter_map(|line| value(line, "runbook_url:"));
    let alerts: Vec<(String, String)> = names.zip(pages).collect();
    assert_eq!(alerts.len(), text.matches("- alert:").count());
    assert_eq!(alerts.len(), text.matches("runbook_url:").count());
    alerts
}
