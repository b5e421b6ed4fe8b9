//! `lockstep.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::SettingsError;
use super::known::Known;

/// The settings of a file by their flat keys. A list has several values.
#[derive(Debug, Default)]
pub(super) struct SettingsFile {
    path: PathBuf,
    values: BTreeMap<String, Vec<String>>,
}

impl SettingsFile {
    pub(super) fn read(path: &Path) -> Result<Self, SettingsError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(source) => Err(SettingsError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    pub(super) fn read_if_present(path: &Path) -> Result<Self, SettingsError> {
        match Self::read(path) {
            Err(SettingsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            outcome => outcome,
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            // The error's own text shows the line, which may hold a password.
            let before = error.span().and_then(|span| text.get(..span.start));
            SettingsError::Syntax {
                path: path.to_owned(),
                line: before.unwrap_or_default().matches('\n').count() + 1,
                rule: error.message().to_owned(),
            }
        })?;
        let mut file = Self {
            path: path.to_owned(),
            values: BTreeMap::new(),
        };
        file.add("", table)?;
        Ok(file)
    }

    fn add(&mut self, prefix: &str, table: Table) -> Result<(), SettingsError> {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            let values = match value {
                Value::Table(table) => {
                    self.add(&format!("{key}_"), table)?;
                    continue;
                }
                Value::Array(values) => {
                    let values: Option<Vec<String>> = values.iter().map(scalar).collect();
                    values.ok_or_else(|| self.wrong(&key, "a list holds only plain values"))?
                }
                value => scalar(&value).into_iter().collect(),
            };
            if self.values.insert(key.clone(), values).is_some() {
                return Err(self.wrong(&key, "it is set twice"));
            }
        }
        Ok(())
    }

    fn wrong(&self, key: &str, rule: &'static str) -> SettingsError {
        SettingsError::Shape {
            path: self.path.clone(),
            key: key.to_owned(),
            rule,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn values(&self, key: &str) -> Option<&[String]> {
        self.values.get(key).map(Vec::as_slice)
    }

    pub(super) fn refuse_unknown(&self, known: &Known) -> Result<(), SettingsError> {
        match self.values.keys().find(|key| !known.has_key(key)) {
            None => Ok(()),
            Some(key) => Err(SettingsError::UnknownKey {
                path: self.path.clone(),
                key: key.clone(),
                nearest: known.nearest_key(key),
            }),
        }
    }
}

/// A plain value as a flag would have it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}
