use clap::Parser;

use super::*;
use crate::http::Kind;
use crate::router::Route;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    config: Config,
}

fn served(flags: &[&str]) -> Value {
    let mut line = vec!["api", "--source", "postgres://ann@localhost/source"];
    line.extend(flags);
    let config = CommandLine::try_parse_from(line).unwrap().config;
    serde_json::from_slice(&OpenApi::of(&config).bytes).unwrap()
}

const TOKEN: [&str; 2] = ["--api-token", "s3cret"];
const REPLICA: [&str; 3] = ["--read-only", "--target", "postgres://ann@localhost/target"];

/// A path of the document with something in the place of each parameter.
fn filled(template: &str) -> String {
    template
        .replace("{id}", "17")
        .replace("{kind}", "conflict")
        .replace("{file}", "viewer.js")
}

/// The router's methods of a path and those of the document, which leaves out what goes for all.
#[track_caller]
fn methods_are_the_routers(document: &Value, takes_writes: bool) {
    for (template, path) in document["paths"].as_object().unwrap() {
        let route = Route::find(&filled(template)).unwrap_or_else(|| panic!("{template}"));
        assert_eq!(route.template(), template);
        let mut methods: Vec<String> = path.as_object().unwrap().keys().cloned().collect();
        methods.retain(|method| method != "parameters");
        let has_get = methods.iter().any(|method| method == "get");
        methods.extend(has_get.then(|| "head".to_owned()));
        methods.push("options".to_owned());
        methods.sort_unstable();
        let allowed = route.allow(takes_writes).to_lowercase();
        assert_eq!(allowed, methods.join(", "), "{template}");
    }
}

#[test]
fn paths_and_methods_are_the_routers() {
    methods_are_the_routers(&document(), true);
    methods_are_the_routers(&served(&REPLICA), false);
    let document = document();
    for route in Route::examples() {
        let template = route.template();
        assert!(document["paths"].get(template).is_some(), "{template}");
    }
}

#[test]
fn every_problem_is_described() {
    let document = document();
    let slugs: Vec<&str> = Kind::ALL.into_iter().map(Kind::slug).collect();
    let kinds = &document["components"]["parameters"]["Kind"]["schema"]["enum"];
    assert_eq!(kinds, &serde_json::json!(slugs));
    let types: Vec<String> = slugs
        .iter()
        .map(|slug| format!("/problems/{slug}"))
        .collect();
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["Problem"]["properties"]["type"]["enum"],
        serde_json::json!(types)
    );
    let responses =
        document["components"]["responses"].to_string() + &schemas["Behind"].to_string();
    for kind in Kind::ALL {
        // As it is answered: title, status and all.
        let page: Value = serde_json::from_slice(&kind.page().body).unwrap();
        let constant = format!("{{\"const\":{}}}", page["type"]);
        assert!(responses.contains(&constant), "{constant}");
        let title = format!("{},\"status\":{}", page["title"], page["status"]);
        assert!(responses.contains(&title), "{title}");
    }
}

/// All `$ref`s in a part of the document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => found.push(target.clone()),
                    (_, value) => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn nothing_is_referred_to_in_vain_and_nothing_is_there_in_vain() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    for target in &found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
    for kind in ["parameters", "headers", "responses", "schemas"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let target = format!("#/components/{kind}/{name}");
            assert!(found.contains(&target), "{target}");
        }
    }
}

#[test]
fn a_token_is_described_where_one_is_asked_for() {
    let text = served(&TOKEN).to_string();
    assert!(text.contains("\"security\":[{\"bearer\":[]}]"));
    let open = served(&[]);
    let text = open.to_string();
    for name in ["\"security\"", "\"401\"", "\"securitySchemes\""] {
        assert!(!text.contains(name), "{name}");
    }
    assert_eq!(served(&TOKEN)["paths"], document()["paths"]);
}

#[test]
fn operations_have_names_and_the_version_is_ours() {
    let mut document = document();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut names: Vec<Value> = operations(&mut document)
        .map(|operation| operation["operationId"].take())
        .collect();
    assert_eq!(names.len(), 18);
    assert!(names.iter().all(Value::is_string));
    names.sort_by_key(Value::to_string);
    names.dedup();
    assert_eq!(names.len(), 18, "each its own");
}
