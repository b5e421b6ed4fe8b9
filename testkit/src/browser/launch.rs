//! Starts the browser and the server through which it is told what to do.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thirtyfour::{Capabilities, WebDriver};

use crate::process::{Launch, Process};
use crate::{port, wait};

pub(super) struct Chromedriver {
    pub(super) process: Process,
    port: u16,
}

pub(super) fn chromedriver() -> Chromedriver {
    let port = port::free();
    let process = Process::start(Launch {
        name: "chromedriver".to_owned(),
        program: installed("chromedriver", "chromium-driver"),
        args: vec![format!("--port={port}")],
        env: Vec::new(),
    });
    Chromedriver { process, port }
}

/// A session is a browser with one window.
pub(super) async fn session(chromedriver: &Chromedriver) -> WebDriver {
    // The HTTP client wants a provider of TLS even where it speaks none. Another test of this process
    // may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://127.0.0.1:{}", chromedriver.port);
    let capabilities = capabilities(chromedriver.process.dir());
    wait::until("chromedriver starts a browser", async || {
        WebDriver::new(&url, capabilities.clone()).await
    })
    .await
}

fn capabilities(dir: &Path) -> Capabilities {
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let mut arguments = vec![profile.as_str()];
    arguments.extend(ARGUMENTS);
    let capabilities = json!({
        "browserName": "chrome",
        "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
        "goog:chromeOptions": {
            "binary": installed("chromium", "chromium"),
            "args": arguments,
            "perfLoggingPrefs": { "enableNetwork": true, "enablePage": false },
        },
    });
    match capabilities {
        Value::Object(members) => Capabilities::from(members),
        _ => unreachable!("an object stands above"),
    }
}

const ARGUMENTS: [&str; 13] = [
    "--headless=new",
    // As root and in containers Chromium has no sandbox to offer. The pages are our own.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--window-size=1280,900",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-US",
    // No name leads anywhere, and nothing is asked that no page asked for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
];

fn installed(program: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|it| it.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{program} is missing: install Debian's package {package} (tools/install-needs test)"
        )
    })
}
