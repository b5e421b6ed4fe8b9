//! What is asked of the REST APIs: writes of the primary, reads of the replica where there is one.

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::service::{Answer, BuildError, Call, Manner};
use super::{Article, Caller, Failure, Found, List, Page, Search, Service};
use crate::config::Config;
use crate::metrics::Metrics;

const ARTICLES: &str = "/api/v1/articles";

/// As many as one page of REST may have.
const PAGE: usize = 100;

/// The REST APIs.
pub(crate) struct Upstream {
    primary: Service,
    replica: Option<Service>,
    /// Whether the primary is asked where the replica fails.
    fallback: bool,
    metrics: Metrics,
}

impl Upstream {
    pub(crate) fn new(config: &Config, metrics: &Metrics) -> Result<Self, BuildError> {
        let manner = Manner {
            time_limit: config.gateway_upstream_seconds,
            calls: usize::from(config.gateway_upstream_calls),
        };
        let service =
            |name, flag, url: &str| Service::new(name, flag, url, manner, metrics.clone());
        let replica = config.gateway_replica.as_deref();
        let replica = replica.map(|url| service("replica", "--gateway-replica", url));
        Ok(Self {
            primary: service("primary", "--gateway-rest", &config.gateway_rest)?,
            replica: replica.transpose()?,
            fallback: !config.gateway_no_fallback,
            metrics: metrics.clone(),
        })
    }

    pub(crate) async fn list(
        &self,
        caller: &Caller,
        list: &List,
    ) -> Result<Page<Article>, Failure> {
        let query = Some(encoded(list));
        self.read(
            caller,
            &Call {
                query,
                ..Call::get(ARTICLES)
            },
        )
        .await
    }

    pub(crate) async fn search(
        &self,
        caller: &Caller,
        search: &Search,
    ) -> Result<Page<Found>, Failure> {
        let path = format!("{ARTICLES}/search");
        let query = Some(encoded(search));
        self.read(
            caller,
            &Call {
                query,
                ..Call::get(path)
            },
        )
        .await
    }

    /// Those of the articles that exist, with one call for each hundred.
    pub(crate) async fn by_ids(
        &self,
        caller: &Caller,
        ids: &[i64],
    ) -> Result<Vec<Article>, Failure> {
        let mut articles = Vec::with_capacity(ids.len());
        for ids in ids.chunks(PAGE) {
            let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
            let query = Some(format!("ids={}&per_page={PAGE}", ids.join(",")));
            let call = Call {
                query,
                ..Call::get(ARTICLES)
            };
            let page: Page<Article> = self.read(caller, &call).await?;
            articles.extend(page.items);
        }
        Ok(articles)
    }

    pub(crate) async fn create(&self, caller: &Caller, body: &Value) -> Result<Article, Failure> {
        let call = Call {
            method: Method::POST,
            body: Some(body),
            idempotency_key: Some(Uuid::new_v4().to_string()),
            ..Call::get(ARTICLES)
        };
        article(self.write(caller, &call).await?)
    }

    pub(crate) async fn update(
        &self,
        caller: &Caller,
        id: i64,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<Article, Failure> {
        let call = Call {
            method: Method::PATCH,
            body: Some(body),
            if_match,
            ..Call::get(path(id, ""))
        };
        article(self.write(caller, &call).await?)
    }

    pub(crate) async fn delete(
        &self,
        caller: &Caller,
        id: i64,
        if_match: Option<&str>,
    ) -> Result<(), Failure> {
        let call = Call {
            method: Method::DELETE,
            if_match,
            ..Call::get(path(id, ""))
        };
        self.write(caller, &call).await.map(drop)
    }

    pub(crate) async fn publish(
        &self,
        caller: &Caller,
        id: i64,
        if_match: Option<&str>,
    ) -> Result<Article, Failure> {
        self.step(caller, &path(id, "/publish"), if_match).await
    }

    pub(crate) async fn archive(
        &self,
        caller: &Caller,
        id: i64,
        if_match: Option<&str>,
    ) -> Result<Article, Failure> {
        self.step(caller, &path(id, "/archive"), if_match).await
    }

    /// How far the primary is.
    pub(crate) async fn source_position(&self, caller: &Caller) -> Result<Value, Failure> {
        position(&self.primary, caller).await
    }

    /// How far the replica is, if there is one.
    pub(crate) async fn target_position(&self, caller: &Caller) -> Option<Result<Value, Failure>> {
        let replica = self.replica.as_ref()?;
        Some(position(replica, caller).await)
    }

    /// Whether each REST API is ready, by name.
    pub(crate) async fn ready(&self, caller: &Caller) -> Vec<(&'static str, Result<(), Failure>)> {
        let mut states = Vec::new();
        for (name, service) in [
            ("primary", Some(&self.primary)),
            ("replica", self.replica.as_ref()),
        ] {
            if let Some(service) = service {
                let call = Call::get("/api/v1/health/ready");
                states.push((name, service.call(caller, &call).await.map(drop)));
            }
        }
        states
    }

    async fn step(
        &self,
        caller: &Caller,
        path: &str,
        if_match: Option<&str>,
    ) -> Result<Article, Failure> {
        let call = Call {
            method: Method::POST,
            if_match,
            idempotency_key: Some(Uuid::new_v4().to_string()),
            ..Call::get(path)
        };
        article(self.write(caller, &call).await?)
    }

    async fn write(&self, caller: &Caller, call: &Call<'_>) -> Result<Answer, Failure> {
        let answer = self.primary.call(caller, call).await?;
        if let Some(position) = answer.position {
            caller.wrote(position);
        }
        Ok(answer)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        call: &Call<'_>,
    ) -> Result<T, Failure> {
        let answer = match &self.replica {
            None => self.primary.call(caller, call).await,
            Some(replica) => match replica.call(caller, call).await {
                Err(failure) if failure.is_outage() && self.fallback => {
                    self.metrics.fell_back();
                    self.primary.call(caller, call).await
                }
                answer => answer,
            },
        };
        parsed(&answer?.body)
    }
}

async fn position(service: &Service, caller: &Caller) -> Result<Value, Failure> {
    let answer = service.call(caller, &Call::get("/api/v1/position")).await?;
    parsed(&answer.body)
}

fn path(id: i64, step: &str) -> String {
    format!("{ARTICLES}/{id}{step}")
}

fn article(answer: Answer) -> Result<Article, Failure> {
    let mut article: Article = parsed(&answer.body)?;
    article.etag = answer.etag;
    Ok(article)
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        tracing::error!(%error, "the REST API's answer cannot be read");
        Failure::Unreadable
    })
}

/// As a query string. Our own parameters always have that form.
fn encoded(parameters: &impl Serialize) -> String {
    let parameters = serde_json::to_value(parameters).unwrap_or_default();
    let members = parameters.as_object().into_iter().flatten();
    let pairs = members.map(|(name, value)| match value {
        Value::String(text) => (name.as_str(), text.clone()),
        value => (name.as_str(), value.to_string()),
    });
    let mut url = reqwest::Url::parse("query:").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_absent_ones_left_out() {
        let list = List {
            page: 2,
            per_page: 10,
            author: Some("Ü & b".to_owned()),
            ..List::default()
        };
        assert_eq!(encoded(&list), "page=2&per_page=10&author=%C3%9C+%26+b");
        let q = "a=b".to_owned();
        let search = Search { q, list };
        assert!(encoded(&search).starts_with("q=a%3Db&page=2&"));
    }
}
