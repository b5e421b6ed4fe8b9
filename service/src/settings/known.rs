//! The settings that some command of the binary has.

use std::collections::BTreeMap;

use clap::{Arg, Command};

/// File keys and variables of all commands.
pub(super) struct Known {
    /// Key to variable; a setting may have no variable.
    settings: BTreeMap<String, Option<String>>,
}

/// An argument's key in the file.
pub(super) fn key(argument: &Arg) -> Option<String> {
    let long = argument.get_long()?;
    match long {
        // What a file cannot set.
        "help" | "version" | "config" => None,
        long => Some(key_of_flag(long)),
    }
}

pub(super) fn key_of_flag(long: &str) -> String {
    long.replace('-', "_")
}

impl Known {
    pub(super) fn of(command: &Command) -> Self {
        let mut known = Self {
            settings: BTreeMap::new(),
        };
        known.add(command);
        known
    }

    fn add(&mut self, command: &Command) {
        for argument in command.get_arguments() {
            let variable = argument.get_env().and_then(|name| name.to_str());
            // Settings that a file cannot have are kept for their variables, under no file key.
            let key = key(argument).unwrap_or_else(|| format!("--{}", argument.get_id()));
            self.settings.insert(key, variable.map(str::to_owned));
        }
        for command in command.get_subcommands() {
            self.add(command);
        }
    }

    pub(super) fn has_key(&self, key: &str) -> bool {
        self.settings.contains_key(key) && !key.starts_with('-')
    }

    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.settings.values().flatten().any(|known| known == name)
    }

    pub(super) fn variable_of(&self, key: &str) -> Option<&str> {
        self.settings.get(key)?.as_deref()
    }

    pub(super) fn nearest_key(&self, key: &str) -> Option<String> {
        let keys = self.settings.keys().filter(|key| !key.starts_with('-'));
        nearest(key, keys)
    }

    pub(super) fn nearest_variable(&self, name: &str) -> Option<String> {
        nearest(name, self.settings.values().flatten())
    }
}

/// The candidate with the fewest edits, when they are few enough for it to be meant.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a String>) -> Option<String> {
    let limit = name.len() / 3 + 1;
    candidates
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, candidate)| candidate.clone())
}

/// The Levenshtein distance, by the row of Wagner and Fischer.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut next = vec![index + 1];
        let mut last = index + 1;
        for ((to, above_left), above) in right.iter().zip(&row).zip(row.iter().skip(1)) {
            let replaced = above_left + usize::from(from != *to);
            last = replaced.min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }

    #[test]
    fn what_is_far_away_is_not_meant() {
        let known = ["kafka_brokers".to_owned(), "listen".to_owned()];
        let nearest = |name| nearest(name, known.iter());
        assert_eq!(nearest("kafka_broker").as_deref(), Some("kafka_brokers"));
        assert_eq!(nearest("zebra"), None);
    }
}
