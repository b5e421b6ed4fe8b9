//! The console's pages of topics and schemas, and the same over HTTP.

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::wait;

use crate::stack::Stack;

const TOPIC: &str = "lockstep.public.articles";
const SUBJECT: &str = "lockstep.public.articles-value";

struct Console {
    stack: Stack,
    http: Client,
    url: String,
}

impl Console {
    async fn start() -> Self {
        let stack = Stack::start(&[]);
        stack.ready(1).await;
        // The client wants a provider even where it speaks no TLS; another test may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            url: stack.console(),
            stack,
            http: Client::new(),
        }
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.expect("JSON")
    }

    async fn act(&self, name: &str, fields: Value) -> Response {
        let session = self.json("/api/v1/session").await;
        let csrf = session["csrf"].as_str().expect("a token");
        let url = format!("{}/api/v1/actions/{name}", self.url);
        let request = self.http.post(url).header("x-csrf-token", csrf);
        let request = request.header("idempotency-key", fields.to_string());
        request.json(&fields).send().await.expect("an answer")
    }

    /// An article that was written and then changed.
    async fn write(&self) {
        let url = format!("{}/api/v1/articles", self.stack.api());
        let article = json!({ "title": "First", "content": "<b>bold</b>", "author": "Ada" });
        let answer = self.http.post(&url).json(&article).send().await;
        let article: Value = answer.expect("an answer").json().await.expect("an article");
        let url = format!("{url}/{}", article["id"]);
        let changed = json!({ "title": "Second" });
        let answer = self.http.patch(&url).json(&changed).send().await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
        wait::until("both records count", async || {
            let path = format!("/api/v1/topics/{TOPIC}/records?from=earliest");
            let page = self.json(&path).await;
            let records = page["records"].as_array().cloned().unwrap_or_default();
            let counting = records.iter().filter(|it| it["standing"] == "counts");
            // The truncation that a snapshot begins with is the first.
            match counting.count() {
                3 => Ok(()),
                _ => Err(page.to_string()),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_from_the_list_of_topics_to_a_single_one() {
    let console = Console::start().await;
    console.write().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/topics", console.url)).await;
    browser.says("main", "commits records").await;
    browser.keep("console-topics").await;
    browser.click(&format!("a[href='/topics/{TOPIC}']")).await;
    browser.says("h1", TOPIC).await;
    browser.says("article", "insert").await;
    browser.says("article .badge", "counts").await;
    // Text of articles is text, whatever it looks like.
    browser.says("article code", "<b>bold</b>").await;
    browser.keep("console-records").await;

    let page = console
        .json(&format!(
            "/api/v1/topics/{TOPIC}/records?from=latest&limit=1"
        ))
        .await;
    let record = &page["records"][0];
    assert_eq!(record["operation"], "update", "{page:#}");
    assert_eq!(record["after"]["title"], "Second", "{page:#}");
    let lsn = record["commit_lsn"].as_str().expect("an LSN");
    browser
        .run(
            "document.querySelector('#from').value = 'lsn'; \
             document.querySelector('#value').value = arguments[0]",
            vec![json!(lsn)],
        )
        .await;
    browser.click(".filters button").await;
    browser.says(".pager", "1 record").await;
    browser.says("article", lsn).await;
    browser.click("article h3 a").await;
    browser.says("article", lsn).await;
    browser.click("article summary").await;
    browser.says("article pre", "00 00").await;
    browser.assert_at_home(&[&console.url]).await;

    // What is no LSN is said, not failed at.
    let wrong = format!("{}/topics/{TOPIC}?from=lsn&value=x", console.url);
    browser.open(&wrong).await;
    browser.says(".notice", "not an LSN").await;
    let wrong = format!(
        "{}/api/v1/topics/{TOPIC}/records?from=lsn&value=x",
        console.url
    );
    let answer = console.http.get(wrong).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    for none in [
        "topics/lockstep.none/records",
        "topics/other.public.articles/records",
        "topics/lockstep.%00/records",
        "schemas/none",
    ] {
        let url = format!("{}/api/v1/{none}", console.url);
        let answer = console.http.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{none}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_compared_and_changed_by_who_may_and_types_the_name() {
    let console = Console::start().await;
    let listing = console.json("/api/v1/schemas?name=articles-value").await;
    assert_eq!(listing["subjects"][0]["table"], "public.articles");
    let diff = format!("/api/v1/schemas/{SUBJECT}/diff?with=1&to=1");
    let compared = console.json(&diff).await;
    assert_eq!(compared["changes"], json!([]));
    let version = console
        .json(&format!("/api/v1/schemas/{SUBJECT}/versions/1"))
        .await;

    let test = |schema: Value| json!({ "subject": SUBJECT, "schema": schema });
    let answer = console
        .act("test-schema", test(version["schema"].clone()))
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    let outcome: Value = answer.json().await.expect("JSON");
    assert!(
        outcome["changed"]
            .as_str()
            .is_some_and(|it| it.contains("would take"))
    );
    let other = version["schema"].as_str().expect("a schema");
    let other = other.replace(
        r#""name":"ordinal","type":"long""#,
        r#""name":"ordinal","type":"string""#,
    );
    let outcome: Value = console
        .act("test-schema", test(other.into()))
        .await
        .json()
        .await
        .expect("JSON");
    assert!(
        outcome["changed"]
            .as_str()
            .is_some_and(|it| it.contains("would refuse"))
    );
    assert!(
        outcome["details"].to_string().contains("TYPE_MISMATCH"),
        "{outcome:#}"
    );

    let level = |confirm: &str| json!({ "subject": SUBJECT, "level": "FULL", "confirm": confirm, "reason": "safe" });
    let refused = console.act("set-level", level("articles")).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let set = console.act("set-level", level(SUBJECT)).await;
    assert_eq!(set.status(), StatusCode::OK, "{:?}", set.text().await);
    let detail = console.json(&format!("/api/v1/schemas/{SUBJECT}")).await;
    assert_eq!(detail["level"], "FULL");
    let target = console.stack.target().await;
    let audit = "select action || ' ' || object || ' ' || reason from lockstep.audit";
    let row = target.query_one(audit, &[]).await.expect("a line");
    assert_eq!(
        row.get::<_, String>(0),
        format!("schemas level {SUBJECT} safe")
    );

    let browser = Browser::start().await;
    browser.open(&format!("{}/schemas", console.url)).await;
    browser.keep("console-schemas").await;
    browser
        .click(&format!("a[href='/schemas/{SUBJECT}']"))
        .await;
    browser.says("h1", SUBJECT).await;
    browser.says("dd", "FULL").await;
    browser.says("pre", "\"pgTable\": \"articles\"").await;
    browser.keep("console-schema").await;
    browser.assert_at_home(&[&console.url]).await;
}
