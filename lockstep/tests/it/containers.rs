//! `docker/`: what can be known of it without an engine. Each service has what it names, and ours
//! start with the settings that they are given there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;
use testkit::process::{Launch, Process};
use testkit::{port, wait};

use crate::command::{self, PROGRAM};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker")
}

fn text_of(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Compose(Value);

impl Compose {
    fn read() -> Self {
        let mut compose: Value =
            serde_yaml_ng::from_str(&text_of("compose.yaml")).expect("read compose.yaml");
        compose.apply_merge().expect("merge what services share");
        Self(compose)
    }

    fn services(&self) -> BTreeMap<&str, &Value> {
        let services = self.0["services"].as_mapping().expect("services");
        let named = services.iter().map(|(name, service)| (text(name), service));
        named.collect()
    }
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("text: {value:?}"))
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_sequence().into_iter().flatten().map(text)
}

fn is_ours(service: &Value) -> bool {
    service["image"] == "lockstep"
}

/// Ours by the image's check of their own page, the others by one of theirs.
fn has_health(service: &Value) -> bool {
    match is_ours(service) {
        true => service["environment"]["LOCKSTEP_HEALTH_URL"].is_string(),
        false => service["healthcheck"]["test"].is_sequence(),
    }
}

#[test]
fn services_start_after_those_they_need_are_healthy() {
    let compose = Compose::read();
    let services = compose.services();
    let mut started = BTreeSet::new();
    while started.len() < services.len() {
        let before = started.len();
        for (name, service) in &services {
            let needed = service["depends_on"].as_mapping().into_iter().flatten();
            let mut needed = needed.map(|(needed, how)| (text(needed), text(&how["condition"])));
            if needed.all(|(needed, _)| started.contains(needed)) {
                started.insert(*name);
            }
        }
        assert!(
            started.len() > before,
            "a circle, or a name too many: {started:?}"
        );
    }
    for (name, service) in &services {
        assert!(service["restart"].is_string(), "{name}");
        let ends = service["healthcheck"]["disable"] == true;
        assert!(ends != has_health(service), "{name}");
        for (needed, how) in service["depends_on"].as_mapping().into_iter().flatten() {
            let needed = services[text(needed)];
            match text(&how["condition"]) {
                "service_healthy" => assert!(has_health(needed), "{name}"),
                "service_completed_successfully" => assert!(!has_health(needed), "{name}"),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn ports_are_those_of_the_design_and_open_to_this_machine_only() {
    let compose = Compose::read();
    let mut ports = BTreeSet::new();
    for (name, service) in compose.services() {
        for port in list(&service["ports"]) {
            let parts: Vec<&str> = port.split(':').collect();
            let ["127.0.0.1", outside, _] = parts[..] else {
                panic!("{name}: {port}");
            };
            assert!(
                ports.insert(outside.parse::<u16>().unwrap()),
                "{port} twice"
            );
        }
    }
    let expected = [
        3000, 4000, 5000, 5001, 5433, 5434, 8080, 8081, 9090, 9092, 9093, 9101, 9102,
    ];
    assert_eq!(ports, BTreeSet::from(expected));
}

#[test]
fn what_is_mounted_and_what_is_asked_for_is_there() {
    let compose = Compose::read();
    let volumes = compose.0["volumes"].as_mapping().expect("volumes");
    for (name, service) in compose.services() {
        for volume in list(&service["volumes"]) {
            let (from, _) = volume.split_once(':').expect("a place");
            match from.starts_with('.') {
                true => assert!(folder().join(from).exists(), "{name}: {from}"),
                false => assert!(volumes.contains_key(from), "{name}: {from}"),
            }
        }
        if let Some(build) = service.get("build") {
            let context = folder().join(text(&build["context"]));
            assert!(context.join(text(&build["dockerfile"])).exists(), "{name}");
        }
    }
    let (compose, settings) = (text_of("compose.yaml"), text_of(".env.example"));
    let keys = settings.lines().filter(|line| !line.starts_with('#'));
    let keys: BTreeSet<&str> = keys
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    let asked = compose.split("${").skip(1);
    let asked: BTreeSet<&str> = asked.filter_map(|it| Some(it.split_once('}')?.0)).collect();
    // What the console's user is made from is asked for by nobody else.
    let unasked: Vec<&&str> = keys.difference(&asked).collect();
    assert_eq!(unasked, [&"CONSOLE_PASSWORD"]);
    assert!(asked.is_subset(&keys), "{asked:?}");
}

#[test]
fn prometheus_asks_every_service_that_has_metrics() {
    let targets: Value =
        serde_yaml_ng::from_str(&text_of("prometheus/targets/lockstep.yml")).unwrap();
    let compose = Compose::read();
    let services = compose.services();
    let mut asked = BTreeSet::new();
    for group in targets.as_sequence().unwrap() {
        assert_eq!(group["labels"]["pipeline"], "lockstep");
        for target in list(&group["targets"]) {
            let (name, port) = target.split_once(':').unwrap();
            assert_eq!(group["labels"]["job"], name);
            let url = text(&services[name]["environment"]["LOCKSTEP_HEALTH_URL"]);
            assert!(url.contains(&format!(":{port}/")), "{target}: {url}");
            asked.insert(name);
        }
    }
    let running = services
        .iter()
        .filter(|(_, it)| is_ours(it) && has_health(it));
    let running: BTreeSet<&str> = running.map(|(name, _)| *name).collect();
    assert_eq!(asked, running);
}

#[test]
fn the_image_is_built_by_our_compiler_and_runs_as_nobody_special() {
    let (docker, cargo) = (text_of("Dockerfile"), text_of("../Cargo.toml"));
    let version = cargo.lines().find_map(|line| {
        let version = line.strip_prefix("rust-version = ")?;
        Some(version.trim_matches('"'))
    });
    let builder = format!("FROM rust:{}-slim", version.expect("a version"));
    assert!(docker.contains(&builder), "{builder}");
    let (_, last) = docker.rsplit_once("\nFROM ").expect("two stages");
    let user = last.lines().find_map(|line| line.strip_prefix("USER "));
    assert!(user.is_some_and(|user| user.parse::<u32>().is_ok_and(|it| it > 0)));
    assert!(last.contains(r#"CMD ["lockstep", "health"]"#), "{last}");
    let left_out = text_of("../.dockerignore");
    assert!(left_out.lines().any(|line| line == "docker/.env"));
}

/// With nobody there to be reached they run, and say by their exit code and in words what they miss.
#[tokio::test(flavor = "multi_thread")]
async fn our_services_take_their_settings_and_tell_their_health() {
    let compose = Compose::read();
    for (name, service) in compose.services() {
        if !is_ours(service) || !has_health(service) {
            continue;
        }
        let environment = environment(service);
        let url = environment["LOCKSTEP_HEALTH_URL"].clone();
        let process = Process::start(Launch {
            name: name.to_owned(),
            program: PROGRAM.into(),
            args: list(&service["command"]).map(str::to_owned).collect(),
            env: environment.into_iter().collect(),
        });
        wait::until(&format!("{name} answers"), async || {
            let ran = command::lockstep(process.dir(), &["health", &url]).await;
            if ran.stdout.is_empty() {
                return Err(format!("{}{}", ran.stderr, process.output()));
            }
            assert_tells(name, &ran);
            Ok(())
        })
        .await;
    }
}

#[track_caller]
fn assert_tells(name: &str, ran: &command::Ran) {
    match name {
        // Its pages show what is away.
        "console" => assert_eq!(ran.code, Some(0), "{ran:?}"),
        _ => {
            assert_eq!(ran.code, Some(1), "{name}: {ran:?}");
            assert!(ran.stdout.contains("failing"), "{name}: {ran:?}");
        }
    }
}

/// As in compose.yaml, but for where others are, where this one listens and writes, and secrets.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let variables = service["environment"].as_mapping().expect("an environment");
    let mut variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| (text(name).to_owned(), text(value).to_owned()))
        .collect();
    // Nobody has to sign in on loopback.
    variables.remove("LOCKSTEP_CONSOLE_USER");
    let listen = variables
        .values()
        .find_map(|it| it.strip_prefix("0.0.0.0:"));
    let listen = listen.expect("it listens").to_owned();
    let (own, nobody) = (port::free(), port::free());
    let others = [
        "source:5432",
        "target:5432",
        "kafka:29092",
        "registry:8081",
        "api:5000",
        "replica:5001",
        "cdc:9101",
        "applier:9102",
    ];
    for value in variables.values_mut() {
        *value = value
            .replace("${LOCKSTEP_REGISTRY}", "http://registry:8081")
            .replace("${SOURCE_PASSWORD}", "secret")
            .replace("${TARGET_PASSWORD}", "secret")
            .replace("/var/lib/lockstep/", "")
            .replace(&format!("0.0.0.0:{listen}"), &format!("127.0.0.1:{own}"))
            .replace(&format!("127.0.0.1:{listen}"), &format!("127.0.0.1:{own}"));
        for other in others {
            *value = value.replace(other, &format!("127.0.0.1:{nobody}"));
        }
    }
    variables
}
