//! The console's API, as `console/openapi.json` describes it.
//!
//! Answers have the shapes of `operate`, which the console writes and commands print. A problem that
//! the console tells is the command's error, in the same words.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service::{Secret, SecretError};
use uuid::Uuid;

/// A user of the console: `NAME:PASSWORD` or `NAME:file:/path`.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    name: String,
    password: Secret,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("expected NAME:PASSWORD or NAME:file:/path")]
    Shape,
    #[error("read the password")]
    Password(#[from] SecretError),
}

impl FromStr for Login {
    type Err = LoginError;

    fn from_str(text: &str) -> Result<Self, LoginError> {
        let (name, password) = text.split_once(':').ok_or(LoginError::Shape)?;
        if name.is_empty() || password.is_empty() {
            return Err(LoginError::Shape);
        }
        Ok(Self {
            name: name.to_owned(),
            password: Secret::from_setting(password)?,
        })
    }
}

/// A console, asked as somebody.
pub(crate) struct Remote {
    url: Url,
    login: Option<Login>,
    client: Client,
}

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longer than the console itself waits for any part. Actions take what they take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// A console that has gone without a word is noticed.
const KEEPALIVE: Duration = Duration::from_secs(15);

impl Remote {
    /// # Errors
    /// When the URL is none of a console.
    pub(crate) fn new(url: &str, login: Option<Login>) -> anyhow::Result<Self> {
        let url: Url = url.parse().context("read the console's URL")?;
        ensure!(
            matches!(url.scheme(), "http" | "https"),
            "the console's URL starts with neither http:// nor https://"
        );
        // Errors name the URL.
        ensure!(
            url.username().is_empty() && url.password().is_none(),
            "the console's URL names a user: give the name and the password by --console-as"
        );
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .tcp_keepalive(KEEPALIVE)
            .redirect(Policy::none())
            .build()?;
        Ok(Self { url, login, client })
    }

    /// What a path of the API holds.
    ///
    /// # Errors
    /// When the console is away, refuses, or says that a part of the pipeline is away.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let mut url = self.address(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.client.get(url).timeout(ANSWER_LIMIT))
            .await
    }

    /// Has the console do something; returns what it came to beyond that it is done.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn act<T: DeserializeOwned>(
        &self,
        name: &str,
        fields: &Value,
    ) -> anyhow::Result<T> {
        #[derive(Deserialize)]
        struct Outcome<T> {
            result: T,
        }
        let address = self.address(&["actions", name])?;
        let key = Uuid::new_v4().to_string();
        let mut request = self.client.post(address).header("idempotency-key", key);
        if self.login.is_none() {
            request = request.header("x-csrf-token", self.token().await?);
        }
        let outcome: Outcome<T> = self.answer(request.json(fields)).await?;
        Ok(outcome.result)
    }

    /// What tells a program that is here from a page of another site, where nobody has to sign in.
    async fn token(&self) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Session {
            csrf: String,
        }
        let session: Session = self.get(&["session"], &[]).await?;
        Ok(session.csrf)
    }

    /// Names may hold any character, also a slash. But what an address leaves out would make it that
    /// of something else.
    fn address(&self, path: &[&str]) -> anyhow::Result<Url> {
        if let Some(left_out) = path.iter().find(|it| matches!(**it, "" | "." | "..")) {
            return Err(anyhow!("nothing is called {left_out:?}"));
        }
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        Ok(url)
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let request = match &self.login {
            Some(login) => request.basic_auth(&login.name, Some(login.password.expose())),
            None => request,
        };
        let url = &self.url;
        let away = || format!("the console at {url} does not answer: --console says where it is");
        let response = request.send().await.map_err(reqwest::Error::without_url);
        let response = response.with_context(away)?;
        let status = response.status();
        let body = response.bytes().await.map_err(reqwest::Error::without_url);
        let body = body.with_context(away)?;
        if status.is_success() {
            let step = || format!("read the answer of {url}: is it a console of this version?");
            return serde_json::from_slice(&body).with_context(step);
        }
        Err(self.refusal(status, &body))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        /// As RFC 9457 has it.
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let url = &self.url;
        let Ok(Problem { detail }) = serde_json::from_slice(body) else {
            return anyhow!("what answers at {url} is no console: it said {status}");
        };
        match (status, &self.login) {
            (StatusCode::UNAUTHORIZED, None) => {
                anyhow!("the console at {url} asks who you are: --console-as NAME:PASSWORD")
            }
            (StatusCode::UNAUTHORIZED, Some(login)) => {
                let name = &login.name;
                anyhow!("the console at {url} does not know {name} so: {detail}: see --console-as")
            }
            (StatusCode::FORBIDDEN, Some(login)) => {
                let name = &login.name;
                anyhow!("{name} may not do that: {detail}: name another user by --console-as")
            }
            _ => anyhow!(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_a_name_and_a_password() {
        let login: Login = "ann:a:b".parse().unwrap();
        assert_eq!(
            (login.name.as_str(), login.password.expose()),
            ("ann", "a:b")
        );
        assert!(!format!("{login:?}").contains("a:b"));
        for text in ["ann", "ann:", ":secret", "ann:file:/nonexistent"] {
            assert!(text.parse::<Login>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_one_part_of_the_path() {
        // As the command does; another test may have been the first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let remote = Remote::new("https://console.example/at/", None).unwrap();
        let url = remote.address(&["schemas", "a/b ?#%", "diff"]).unwrap();
        assert_eq!(url.path(), "/at/api/v1/schemas/a%2Fb%20%3F%23%25/diff");
        for name in ["", ".", ".."] {
            assert!(remote.address(&["schemas", name]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_consoles_url_is_refused() {
        for url in ["console", "ftp://console", "http://ann:secret@console"] {
            let refused = Remote::new(url, None).err().expect("it is none");
            assert!(!format!("{refused:#}").contains("secret"), "{url}");
        }
    }
}
