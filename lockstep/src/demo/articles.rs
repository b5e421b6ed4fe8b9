//! The articles over HTTP.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// A client of the REST API.
#[derive(Clone, Debug)]
pub(super) struct Articles {
    client: Client,
    url: String,
}

/// One request, which is one transaction on the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Edit(i64),
    Publish(i64),
    Delete(i64),
}

const ANSWER_LIMIT: Duration = Duration::from_secs(15);

impl Articles {
    pub(super) fn new(api: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::builder().timeout(ANSWER_LIMIT).build()?,
            url: format!("{api}/api/v1/articles"),
        })
    }

    /// Does it; `number` makes the texts differ. Returns a new article's id.
    ///
    /// # Errors
    /// When the API does not answer, or refuses.
    pub(super) async fn perform(&self, action: Action, number: u64) -> anyhow::Result<Option<i64>> {
        let url = &self.url;
        match action {
            Action::Create => {
                let article = self
                    .send(Method::POST, url.clone(), Some(draft(number)))
                    .await?;
                let id = article.get("id").and_then(Value::as_i64);
                Ok(Some(id.context("a new article has no id")?))
            }
            Action::Edit(id) => {
                let body = json!({ "title": title(number), "tags": ["demo", "edited"] });
                self.send(Method::PATCH, format!("{url}/{id}"), Some(body))
                    .await?;
                Ok(None)
            }
            Action::Publish(id) => {
                self.send(Method::POST, format!("{url}/{id}/publish"), None)
                    .await?;
                Ok(None)
            }
            Action::Delete(id) => {
                self.send(Method::DELETE, format!("{url}/{id}"), None)
                    .await?;
                Ok(None)
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        url: String,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.client.request(method.clone(), &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{method} {url} answered {status}: {text}");
        }
        match text.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_str(&text).context("read the answer"),
        }
    }
}

fn draft(number: u64) -> Value {
    const AUTHORS: [&str; 4] = ["Ada", "Grace", "Jürgen", "李雷"];
    const CATEGORIES: [Option<&str>; 3] = [Some("news"), Some("how-to"), None];
    let pick = |count: usize| usize::try_from(number).unwrap_or_default() % count;
    // Now and then long enough to be stored outside the row, so that edits leave it out.
    let words = if number.is_multiple_of(10) { 2000 } else { 20 };
    let content: Vec<String> = (0..words)
        .map(|word| format!("w{:x}", number ^ (word * 7919)))
        .collect();
    json!({
        "title": title(number),
        "content": content.join(" "),
        "author": AUTHORS[pick(AUTHORS.len())],
        "category": CATEGORIES[pick(CATEGORIES.len())],
        "tags": ["demo"],
    })
}

fn title(number: u64) -> String {
    format!("What number {number} has to say")
}
