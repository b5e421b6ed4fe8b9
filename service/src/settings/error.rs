//! What is wrong with the settings, and where.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Variables;
use super::file::SettingsFile;
use super::known::{Known, key_of_flag};

/// Why the settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A wrong command line; also the answers to `--help` and `--version`.
    #[error(transparent)]
    Usage(clap::Error),
    #[error("read settings from {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} line {line}: {rule}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        rule: String,
    },
    #[error("{}: key `{key}`: {rule}", path.display())]
    Shape {
        path: PathBuf,
        key: String,
        rule: &'static str,
    },
    #[error("{}: unknown key `{key}`{}", path.display(), Meant(nearest.as_deref()))]
    UnknownKey {
        path: PathBuf,
        key: String,
        nearest: Option<String>,
    },
    #[error("unknown variable {name}{}", Meant(nearest.as_deref()))]
    UnknownVariable {
        name: String,
        nearest: Option<String>,
    },
    /// The value itself is not shown: it may be a secret.
    #[error("{origin}: {rule}")]
    Value { origin: Origin, rule: String },
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(String),
    Variable(String),
    Key { path: PathBuf, key: String },
}

impl SettingsError {
    /// Prints the error, or the help that was asked for, and ends the process.
    pub fn exit(&self) -> ! {
        match self {
            Self::Usage(error) => error.exit(),
            error => {
                eprintln!("error: {}", crate::chain(error));
                std::process::exit(2)
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::Key { path, key } => write!(f, "{}: key `{key}`", path.display()),
        }
    }
}

struct Meant<'a>(Option<&'a str>);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// Turns clap's refusal of a value, which shows the value and blames a flag, into one that names
/// where the value came from and the rule.
pub(super) fn explain(
    error: clap::Error,
    known: &Known,
    variables: &Variables,
    file: &SettingsFile,
) -> SettingsError {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return SettingsError::Usage(error);
    }
    let (Some(argument), Some(value)) = (
        text(&error, ContextKind::InvalidArg),
        text(&error, ContextKind::InvalidValue),
    ) else {
        return SettingsError::Usage(error);
    };
    // `--listen <ADDRESS>` or `--listen=<ADDRESS>`
    let Some(flag) = argument
        .split([' ', '=', '['])
        .next()
        .and_then(|flag| flag.strip_prefix("--"))
    else {
        return SettingsError::Usage(error);
    };
    let key = key_of_flag(flag);
    let variable = known
        .variable_of(&key)
        .filter(|name| variables.get(name).map(OsString::as_os_str) == Some(OsStr::new(value)));
    let in_file = file
        .values(&key)
        .is_some_and(|values| values.iter().any(|v| v == value));
    let origin = match variable {
        Some(name) => Origin::Variable(name.to_owned()),
        None if in_file => Origin::Key {
            path: file.path().to_owned(),
            key,
        },
        None => Origin::Flag(format!("--{flag}")),
    };
    SettingsError::Value {
        origin,
        rule: rule(&error, value),
    }
}

fn rule(error: &clap::Error, value: &str) -> String {
    if let Some(cause) = error.source() {
        return crate::chain(cause);
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(allowed)) if !allowed.is_empty() => {
            format!("not one of {}", allowed.join(", "))
        }
        _ if value.is_empty() => "a value is missing".to_owned(),
        _ => "not a valid value".to_owned(),
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}
