//! A value that must not be seen.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

/// A password or token. `Debug` and `Display` print `***`.
///
/// As a setting it is the text itself, or `file:/path` for the first line of that file
/// ([`Secret::from_setting`]).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a setting: the secret itself, or `file:/path`.
    ///
    /// # Errors
    ///
    /// When the named file cannot be read or its first line is empty.
    pub fn from_setting(text: &str) -> Result<Self, SecretError> {
        match text.strip_prefix("file:") {
            Some(path) => Self::from_file(Path::new(path)),
            None => Ok(Self::new(text)),
        }
    }

    /// Reads the first line of a file, without its line end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or its first line is empty.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let text = fs::read_to_string(path).map_err(|source| SecretError::Read {
            path: path.to_owned(),
            source,
        })?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Self::new(line)),
            _ => Err(SecretError::Empty {
                path: path.to_owned(),
            }),
        }
    }

    /// The secret itself. Keep it out of errors, logs and metrics.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a secret could not be read from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("read secret from {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the first line of {} is empty", path.display())]
    Empty { path: PathBuf },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_setting(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn a_secret_comes_from_the_first_line_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "hunter2\r\nsecond line\n").unwrap();
        let setting = format!("file:{}", file.path().display());
        assert_eq!(Secret::from_setting(&setting).unwrap().expose(), "hunter2");
    }

    #[test]
    fn an_empty_or_missing_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(
            Secret::from_file(file.path()),
            Err(SecretError::Empty { .. })
        ));
        assert!(matches!(
            Secret::from_setting("file:/nonexistent/secret"),
            Err(SecretError::Read { .. })
        ));
    }
}
