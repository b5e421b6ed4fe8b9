//! axe-core, which finds what keeps people from using a page.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

/// The library's text, installed unless it is there.
///
/// # Panics
/// When it cannot be installed.
pub(super) async fn library() -> String {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/browser/axe.sh");
    let output = Command::new(setup).output().await.expect("run axe.sh");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "axe-core could not be installed:\n{error}"
    );
    let path = String::from_utf8_lossy(&output.stdout);
    std::fs::read_to_string(path.trim_end()).expect("read axe-core")
}

/// Runs when the library is there; answers by the callback that WebDriver adds to the arguments.
pub(super) const CHECK: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then(
        (found) => done(found.violations),
        (error) => done([{ id: String(error), nodes: [] }]),
    );";

/// Rules that are broken, each with the elements that break it.
pub(super) fn listed(violations: &Value) -> Vec<String> {
    let violations = violations.as_array().expect("a list of violations");
    let listed = violations.iter().map(|violation| {
        let nodes = violation["nodes"].as_array().into_iter().flatten();
        let nodes: Vec<String> = nodes
            .map(|node| format!("  {} {}", node["target"], node["failureSummary"]))
            .collect();
        format!("{}\n{}", violation["id"], nodes.join("\n"))
    });
    listed.collect()
}
