//! Stopping by signal.

use std::process::Command;
use std::time::Duration;

use service::Shutdown;

#[tokio::test]
async fn sigterm_requests_the_stop() {
    let shutdown = Shutdown::on_signals().unwrap();
    assert!(!shutdown.is_requested());
    let pid = std::process::id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    tokio::time::timeout(Duration::from_secs(10), shutdown.requested())
        .await
        .unwrap();
}
