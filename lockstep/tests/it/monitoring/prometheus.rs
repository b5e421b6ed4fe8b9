//! A real Prometheus with the configuration of the repository, but for its pace and its targets.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use testkit::process::{Launch, Process};
use testkit::{port, wait};

/// Ends when it is dropped.
pub(super) struct Prometheus {
    http: reqwest::Client,
    url: String,
    _process: Process,
    _config: TempDir,
}

/// An alert as the server knows it.
#[derive(Debug)]
pub(super) struct Alert {
    pub(super) name: String,
    pub(super) query: String,
}

impl Prometheus {
    /// Asks each of `targets` (job and port) once a second.
    pub(super) async fn start(targets: &[(&str, &str)]) -> Self {
        // The client wants a provider even where it speaks no TLS; another test may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = tempfile::tempdir().expect("make a temporary folder");
        let (source, folder) = (super::folder(), config.path());
        let text = fs::read_to_string(source.join("prometheus.yml")).expect("read prometheus.yml");
        let paced = text.replace("_interval: 15s", "_interval: 1s");
        assert_ne!(text, paced, "the intervals stand in prometheus.yml");
        fs::write(folder.join("prometheus.yml"), paced).expect("write prometheus.yml");
        fs::create_dir_all(folder.join("rules")).expect("make a folder");
        for rules in ["recording.yml", "alerts.yml"] {
            let (from, to) = (source.join("rules").join(rules), folder.join("rules"));
            fs::copy(from, to.join(rules)).expect("copy the rules");
        }
        for empty in ["targets", "alertmanagers"] {
            fs::create_dir_all(folder.join(empty)).expect("make a folder");
        }
        let group = |(job, port): &(&str, &str)| {
            format!(
                "- targets: [127.0.0.1:{port}]\n  labels: {{ job: {job}, pipeline: lockstep }}\n"
            )
        };
        let groups: String = targets.iter().map(group).collect();
        fs::write(folder.join("targets/test.yml"), groups).expect("write the targets");
        let address = format!("127.0.0.1:{}", port::free());
        let prometheus = Self {
            http: reqwest::Client::new(),
            url: format!("http://{address}"),
            _process: Process::start(Launch {
                name: "prometheus".to_owned(),
                program: program("prometheus"),
                args: vec![
                    format!("--config.file={}/prometheus.yml", folder.display()),
                    "--storage.tsdb.path=tsdb".to_owned(),
                    format!("--web.listen-address={address}"),
                ],
                env: Vec::new(),
            }),
            _config: config,
        };
        let all = targets.len();
        wait::until("Prometheus gets metrics from all", async || {
            let up = prometheus.query("up == 1").await?;
            (up == all)
                .then_some(())
                .ok_or(format!("from {up} of {all}"))
        })
        .await;
        prometheus
    }

    /// How many series the query has, those without a number aside.
    pub(super) async fn query(&self, query: &str) -> Result<usize, String> {
        let answer = self.ask("query", &[("query", query)]).await?;
        let result = answer["data"]["result"].as_array();
        let result = result.ok_or_else(|| format!("{query}: {answer}"))?;
        let is_number = |series: &&Value| series["value"][1] != "NaN";
        Ok(result.iter().filter(is_number).count())
    }

    pub(super) async fn alerts(&self) -> Vec<Alert> {
        let answer = self.ask("rules", &[("type", "alert")]).await;
        let answer = answer.expect("the server's rules");
        let groups = answer["data"]["groups"].as_array().expect("groups");
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().expect("rules"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        rules
            .map(|rule| Alert {
                name: text(&rule["name"]),
                query: text(&rule["query"]),
            })
            .collect()
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}/api/v1/{path}", self.url);
        let url = reqwest::Url::parse_with_params(&url, parameters).expect("a URL");
        let answer = self.http.get(url).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        answer.json().await.map_err(|error| error.to_string())
    }
}

/// A program of Debian's package prometheus, which `tools/install-needs test` installs.
pub(super) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let mut found = found.filter(|program| program.exists());
    found
        .next()
        .unwrap_or_else(|| panic!("there is no {name}: tools/install-needs test"))
}
