//! Whether the schema registry answers.

use std::time::Duration;

use super::finding::Finding;
use operate::registry;

pub(super) async fn examine(url: &str, limit: Duration) -> Finding {
    match registry::reach(url, limit).await {
        Ok(()) => Finding::ok("registry", "connection", url),
        Err(error) => Finding::fail(
            "registry",
            "connection",
            format!("{url}: {error:#}"),
            "start the registry, or correct --registry, which includes the path",
        ),
    }
}
