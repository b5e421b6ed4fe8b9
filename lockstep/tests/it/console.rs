//! The operator's pages of a whole `lockstep up`, in a real browser.

use testkit::browser::Browser;

use crate::stack::Stack;

const PAGES: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/replication", "Replication"),
    ("/topics", "Topics"),
    ("/schemas", "Schemas"),
    ("/dead-letters", "Dead letters"),
    ("/replay", "Replay"),
    ("/activity", "Activity"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_live_and_asks_nobody_else() {
    let stack = Stack::start(&[]);
    stack.ready(1).await;
    let console = stack.console();
    let browser = Browser::start().await;
    for (path, title) in PAGES {
        browser.open(&format!("{console}{path}")).await;
        browser.says("h1", title).await;
        browser.says("#connection", "live").await;
    }
    browser.assert_at_home(&[&console]).await;
}
