//! ARCHITECTURE.md is true: the guards it names exist, and what it says does no I/O does none.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_invariant_has_a_guard_that_exists() {
    let invariants = invariants();
    assert!(invariants.len() >= 15, "{invariants:#?}");
    for invariant in invariants {
        let guards = invariant.split_once("Guard:");
        let (_, guards) = guards.unwrap_or_else(|| panic!("without a guard: {invariant}"));
        assert_there_are(guards);
    }
}

#[test]
fn every_failure_of_the_field_has_a_test() {
    let text = text_of(&repository().join("docs/failures.md"));
    let lines: Vec<&str> = text.lines().filter(|it| it.contains("tests/it/")).collect();
    assert_eq!(lines.len(), 25);
    for line in lines {
        let cell = line.trim_end_matches(" |").rsplit_once(" | ");
        assert_there_are(cell.expect("a line of a table").1);
    }
}

/// Files, each with the tests in it that are meant.
#[track_caller]
fn assert_there_are(guards: &str) {
    let mut guard = String::new();
    for name in quoted(guards) {
        if name.contains('/') || name.contains('.') {
            guard = text_of(&repository().join(name));
        } else {
            let test = format!("fn {name}(");
            assert!(guard.contains(&test), "there is no test {name}");
        }
    }
    assert!(!guard.is_empty(), "names no guard: {guards}");
}

#[test]
fn what_is_said_to_do_no_io_does_none_and_reads_no_clock() {
    let invariants = invariants();
    let (title, _) = invariants[0].split_once("do no I/O").unwrap();
    let places: Vec<&str> = quoted(title).collect();
    assert!(places.len() >= 6, "{places:?}");
    for file in places
        .iter()
        .flat_map(|place| sources(&repository().join(place)))
    {
        let text = text_of(&file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in IO_OR_CLOCK {
            assert!(!code.contains(word), "{word} in {}", file.display());
        }
    }
}

/// `std::net` also has addresses, which are values.
const IO_OR_CLOCK: [&str; 8] = [
    "tokio::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::fs",
    "::now(",
    "rdkafka::",
];

/// The numbered items, with the lines that continue them.
fn invariants() -> Vec<String> {
    let text = text_of(&repository().join("ARCHITECTURE.md"));
    let (_, rest) = text.split_once("\n## Invariants\n").expect("a section");
    let (section, _) = rest.split_once("\n## ").expect("another section");
    let mut items: Vec<String> = Vec::new();
    for line in section.lines() {
        let begins = line
            .split_once(". **")
            .is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        match items.last_mut() {
            _ if begins => items.push(line.to_owned()),
            Some(item) if line.starts_with(' ') => item.push_str(line),
            _ => {}
        }
    }
    items
}

/// The words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A file, or the Rust files of a folder; those of its tests are not meant.
fn sources(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let place = match place.join("src") {
        src if src.is_dir() => src,
        _ => place.to_owned(),
    };
    let entries = fs::read_dir(&place);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let paths = entries.map(|entry| entry.expect("read a folder").path());
    let wanted = |path: &PathBuf| {
        let is_rust = path.extension().is_some_and(|it| it == "rs");
        path.is_dir() || is_rust && !path.ends_with("tests.rs")
    };
    paths
        .filter(wanted)
        .flat_map(|path| sources(&path))
        .collect()
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
