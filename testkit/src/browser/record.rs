//! What pages asked for and complained about, from the browser's logs.

use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) requests: Vec<String>,
    pub(super) complaints: Vec<String>,
}

/// Content that is made in the page, or that is part of the browser, is asked of nobody.
const WITHOUT_A_HOST: [&str; 4] = ["data:", "blob:", "about:", "chrome:"];

impl Record {
    /// Takes an entry of the log "performance": an event of the DevTools protocol as JSON.
    pub(super) fn event(&mut self, entry: &str) {
        let entry: Value = serde_json::from_str(entry).expect("chromedriver writes JSON");
        let event = &entry["message"];
        let url = match event["method"].as_str() {
            // Redirects are events of their own.
            Some("Network.requestWillBeSent") => &event["params"]["request"]["url"],
            Some("Network.webSocketCreated" | "Network.webTransportCreated") => {
                &event["params"]["url"]
            }
            _ => return,
        };
        let url = url.as_str().expect("a request has a URL");
        self.requests.push(url.to_owned());
    }

    /// Takes an entry of the log "browser".
    pub(super) fn console(&mut self, level: &str, message: String) {
        if level == "SEVERE" {
            self.complaints.push(message);
        }
    }

    /// The requests to any origin but these.
    pub(super) fn abroad(&self, origins: &[&str]) -> Vec<&str> {
        let home = |url: &&str| {
            WITHOUT_A_HOST.iter().any(|scheme| url.starts_with(scheme))
                || origins.iter().any(|origin| is_of(url, origin))
        };
        let requests = self.requests.iter().map(String::as_str);
        requests.filter(|url| !home(url)).collect()
    }
}

/// A WebSocket is of the origin whose scheme is HTTP's.
fn is_of(url: &str, origin: &str) -> bool {
    let url = match url.strip_prefix("ws") {
        Some(rest) => &format!("http{rest}"),
        None => url,
    };
    let path = url.strip_prefix(origin);
    // `http://127.0.0.1:40` is no part of `http://127.0.0.1:4000`.
    path.is_some_and(|path| path.is_empty() || path.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (url, of) in [
            ("http://127.0.0.1:40/a?b", true),
            ("ws://127.0.0.1:40/a", true),
            ("http://127.0.0.1:40", true),
            ("http://127.0.0.1:4000/a", false),
            ("https://127.0.0.1:40/a", false),
            ("wss://127.0.0.1:40/a", false),
            ("http://127.0.0.1:40.example/a", false),
            ("http://127.0.0.1:40@example/a", false),
        ] {
            assert_eq!(is_of(url, "http://127.0.0.1:40"), of, "{url}");
        }
    }

    #[test]
    fn requests_and_sockets_are_recorded_and_told_apart() {
        let mut record = Record::default();
        for (method, params) in [
            (
                "Network.requestWillBeSent",
                r#"{"request":{"url":"http://a/x"}}"#,
            ),
            ("Network.webSocketCreated", r#"{"url":"ws://b/y"}"#),
            ("Network.dataReceived", "{}"),
            (
                "Network.requestWillBeSent",
                r#"{"request":{"url":"data:,z"}}"#,
            ),
        ] {
            record.event(&format!(
                r#"{{"message":{{"method":"{method}","params":{params}}}}}"#
            ));
        }
        assert_eq!(record.requests, ["http://a/x", "ws://b/y", "data:,z"]);
        assert_eq!(record.abroad(&["http://a"]), ["ws://b/y"]);
        assert!(record.abroad(&["http://a", "http://b"]).is_empty());
    }
}
