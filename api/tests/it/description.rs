//! Holds every answer that any test gets against the description.

use std::sync::LazyLock;

use reqwest::header::HeaderMap;
use serde_json::Value;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../openapi.json")).unwrap());

/// Checks that an operation of the path has such an answer: its status, its media type and all headers
/// that it must have. An answer does not tell its method, so any of the path's will do.
#[track_caller]
pub(crate) fn check(path: &str, status: u16, headers: &HeaderMap) {
    if let Err(why) = describes(path, status, headers) {
        panic!("{why}");
    }
}

fn describes(path: &str, status: u16, headers: &HeaderMap) -> Result<(), String> {
    let Some(described) = find(path) else {
        return match status {
            404 => Ok(()),
            _ => Err(format!("{path} is not described, and answers {status}")),
        };
    };
    // Every path answers OPTIONS, and other methods with 405.
    if [204, 405].contains(&status) && headers.contains_key("allow") {
        return Ok(());
    }
    let operations = described.as_object().unwrap().values();
    let answers = operations.filter_map(|operation| operation["responses"].get(status.to_string()));
    let answers: Vec<&'static Value> = answers.map(resolved).collect();
    match answers.iter().any(|answer| fits(answer, headers)) {
        true => Ok(()),
        false => Err(format!(
            "{path} is described with {answers:?}, and answers {status} with {headers:?}"
        )),
    }
}

fn find(path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (wanted, given) = (template.split('/'), path.split('/'));
        let mut pairs = wanted.clone().zip(given.clone());
        wanted.count() == given.count()
            && pairs.all(|(wanted, given)| wanted == given || wanted.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let found = paths.get(path);
    found.or_else(|| {
        paths
            .iter()
            .find_map(|(name, path)| fits(name).then_some(path))
    })
}

fn fits(answer: &'static Value, headers: &HeaderMap) -> bool {
    let needed = answer["headers"].as_object().into_iter().flatten();
    let has_all = needed
        .filter(|(_, header)| resolved(header)["required"] == true)
        .all(|(name, _)| headers.contains_key(name.as_str()));
    let media_type = headers
        .get("content-type")
        .map(|value| value.to_str().unwrap());
    let media_type = media_type.map(|value| value.split(';').next().unwrap());
    let has_type = match media_type {
        Some(media_type) => answer["content"].get(media_type).is_some(),
        None => answer.get("content").is_none(),
    };
    has_all && has_type
}

/// What a reference leads to.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(target) => DOCUMENT.pointer(target.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

#[test]
fn what_is_not_described_is_noticed() {
    let headers = |names: &[&'static str]| {
        let pairs = names.iter().map(|name| {
            let value = match *name {
                "content-type" => "application/problem+json",
                _ => "x",
            };
            (name.parse().unwrap(), value.parse().unwrap())
        });
        pairs.collect::<HeaderMap>()
    };
    let all = [
        "content-type",
        "x-request-id",
        "cache-control",
        "retry-after",
    ];
    let articles = "/api/v1/articles";
    assert_eq!(describes(articles, 503, &headers(&all)), Ok(()));
    assert!(describes(articles, 503, &headers(&all[..3])).is_err());
    assert!(describes(articles, 503, &headers(&all[1..])).is_err());
    assert!(describes(articles, 418, &headers(&all)).is_err());
    assert!(describes("/api/v1/nothing", 200, &headers(&all)).is_err());
    assert_eq!(describes("/api/v1/nothing", 404, &headers(&all)), Ok(()));
}
