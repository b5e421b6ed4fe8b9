use reqwest::Method;
use serde_json::json;

use crate::client::registry;

/// Answered where there is no such path, or no such method there.
const NOT_SERVED: [i64; 2] = [404, 405];

#[tokio::test]
async fn what_the_page_lists_is_served() {
    let page = include_str!("../../../docs/local-registry.md");
    let client = registry().await;
    let row = |line: &str| {
        let (method, rest) = line.strip_prefix("| ")?.split_once(" | `/")?;
        let (path, _) = rest.split_once("` |")?;
        let path = path.replace("{subject}", "none");
        let path = path.replace("{id}", "1").replace("{version}", "1");
        Some((method.parse::<Method>().ok()?, format!("/{path}")))
    };
    let listed: Vec<_> = page.lines().filter_map(row).collect();
    assert_eq!(listed.len(), 33);
    for (method, path) in listed {
        let body = (method != "GET").then(|| json!({}));
        let request = format!("{method} {path}");
        let (_, answer) = client.send(method, &path, body).await;
        let code = answer["error_code"].as_i64().unwrap_or_default();
        assert!(!NOT_SERVED.contains(&code), "{request}: {answer}");
    }
}
