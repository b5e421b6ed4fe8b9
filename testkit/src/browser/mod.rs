//! Pages as people see them: a headless Chromium that is told what to do, and that records what
//! its pages ask for and complain about.
//!
//! What a page shows is waited for: every call that needs an element waits until it is there.

mod axe;
mod launch;
mod record;

use std::env;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};
use thirtyfour::{By, WebDriver, WebElement};

use crate::process::Process;
use crate::wait;
use record::Record;

pub use thirtyfour::Key;

/// One window with a profile of its own, both gone when this is dropped or the test process ends.
#[derive(Debug)]
pub struct Browser {
    driver: WebDriver,
    record: Mutex<Record>,
    /// The browser's own processes work in its folder, and end with it.
    _chromedriver: Process,
}

impl Browser {
    /// # Panics
    /// With the reason when it does not start; a program that is missing is named with the package
    /// to install.
    pub async fn start() -> Self {
        let chromedriver = launch::chromedriver();
        let driver = launch::session(&chromedriver).await;
        Self {
            driver,
            record: Mutex::default(),
            _chromedriver: chromedriver.process,
        }
    }

    pub async fn open(&self, url: &str) {
        let opened = self.driver.goto(url).await;
        opened.unwrap_or_else(|error| panic!("open {url}: {error}"));
    }

    /// Waits until an element that this CSS selector names is seen.
    pub async fn shows(&self, css: &str) -> WebElement {
        wait::until(&format!("{css} is shown"), async || {
            let elements = self.driver.find_all(By::Css(css)).await;
            for element in elements.map_err(|error| error.to_string())? {
                // Pages replace elements while they are looked at.
                if element.is_displayed().await.unwrap_or(false) {
                    return Ok(element);
                }
            }
            Err("it is not".to_owned())
        })
        .await
    }

    /// Waits until the elements that the selector names say this, together.
    pub async fn says(&self, css: &str, text: &str) {
        wait::until(&format!("{css} says {text:?}"), async || {
            match self.text(css).await {
                said if said.contains(text) => Ok(()),
                said => Err(said),
            }
        })
        .await;
    }

    /// What the elements that the selector names say now, a line for each.
    pub async fn text(&self, css: &str) -> String {
        let script = "return [...document.querySelectorAll(arguments[0])]\
                      .map((it) => it.innerText).join('\\n')";
        let text = self.run(script, vec![json!(css)]).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits for the element and clicks it, again when something lay over it or it was replaced.
    pub async fn click(&self, css: &str) {
        wait::until(&format!("{css} can be clicked"), async || {
            self.shows(css).await.click().await
        })
        .await;
    }

    /// Types into what has the focus.
    pub async fn keys(&self, keys: impl AsRef<str>) {
        let chain = self.driver.action_chain().send_keys(keys.as_ref());
        chain.perform().await.expect("type");
    }

    /// Presses a key while Control is held.
    pub async fn control(&self, key: impl AsRef<str>) {
        let chain = self.driver.action_chain().key_down(Key::Control);
        let chain = chain.send_keys(key.as_ref()).key_up(Key::Control);
        chain.perform().await.expect("press a key with Control");
    }

    /// Brings the top of the element to the top of the window.
    pub async fn scroll_to(&self, css: &str) {
        let script = "document.querySelector(arguments[0]).scrollIntoView({ behavior: 'instant' })";
        self.shows(css).await;
        self.run(script, vec![json!(css)]).await;
    }

    /// Runs JavaScript in the page; `return` gives its value.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        let ran = self.driver.execute(script, arguments).await;
        let ran = ran.unwrap_or_else(|error| panic!("run {script}: {error}"));
        ran.json().clone()
    }

    /// Shows pages from now on as to somebody who likes them `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Shows pages from now on in a window of this size.
    pub async fn window(&self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let told = self.driver.cdp().send_raw(command, parameters).await;
        told.unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    /// What axe-core finds that keeps people from using the page: rules, with the elements that
    /// break them.
    pub async fn barriers(&self) -> Vec<String> {
        let library = axe::library().await;
        self.run(&library, Vec::new()).await;
        let found = self.driver.execute_async(axe::CHECK, Vec::new()).await;
        let found = found.unwrap_or_else(|error| panic!("run axe-core: {error}"));
        axe::listed(found.json())
    }

    /// Milliseconds from asking for the page until something of it was painted: the Paint Timing
    /// API's `first-contentful-paint`.
    pub async fn painted(&self) -> f64 {
        wait::until("the page is painted", async || {
            let script =
                "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
            let at = self.run(script, Vec::new()).await;
            at.as_f64().ok_or("it is not")
        })
        .await
    }

    /// The elements that reach out of the window to its right, and so make the page scroll sideways;
    /// none of those that are cut off or scroll in something smaller.
    pub async fn overhanging(&self) -> Vec<String> {
        let script = "
            if (document.documentElement.scrollWidth <= innerWidth) return [];
            return [...document.querySelectorAll('body *')]
                .filter((it) => it.getBoundingClientRect().right > innerWidth + 1)
                .map((it) => `${it.tagName} ${it.getAttribute('class') ?? ''}`)";
        let found = self.run(script, Vec::new()).await;
        let found = found.as_array().expect("a list of elements");
        found.iter().map(ToString::to_string).collect()
    }

    /// The URL of every request that pages made since the start, WebSockets included, also of those
    /// that were refused.
    pub async fn requests(&self) -> Vec<String> {
        self.collect().await.requests
    }

    /// The errors that stand on the console, among them what a page's security policy refused.
    pub async fn complaints(&self) -> Vec<String> {
        self.collect().await.complaints
    }

    /// # Panics
    /// When a page asked any other origin than these, such as `http://127.0.0.1:4000`, for
    /// anything, or when an error stands on the console.
    pub async fn assert_at_home(&self, origins: &[&str]) {
        let record = self.collect().await;
        let abroad = record.abroad(origins);
        assert!(abroad.is_empty(), "pages asked for {abroad:?}");
        assert!(record.complaints.is_empty(), "{:?}", record.complaints);
    }

    /// Keeps what the window shows as `name`.png in the folder that `LOCKSTEP_TEST_SCREENSHOTS` names;
    /// nowhere when it names none.
    pub async fn keep(&self, name: &str) {
        let Some(folder) = env::var_os("LOCKSTEP_TEST_SCREENSHOTS") else {
            return;
        };
        let folder = Path::new(&folder);
        assert!(
            folder.is_absolute(),
            "LOCKSTEP_TEST_SCREENSHOTS must be an absolute path, as tests work in their package's folder"
        );
        let path = folder.join(format!("{name}.png"));
        let kept = self.driver.screenshot(&path).await;
        kept.unwrap_or_else(|error| panic!("keep {}: {error}", path.display()));
    }

    /// The driver hands out each entry of its logs once.
    async fn collect(&self) -> Record {
        let performance = self.driver.get_log("performance").await;
        let console = self.driver.get_log("browser").await;
        let mut record = self.record.lock().expect("nothing panics while it is held");
        for entry in performance.expect("read the log of requests") {
            record.event(&entry.message);
        }
        for entry in console.expect("read the console") {
            record.console(&entry.level, entry.message);
        }
        record.clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its processes are ended with their folder. The error says that the session has ended.
        let _ = self.driver.clone().leak();
    }
}
