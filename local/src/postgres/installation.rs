//! Where the Postgres of this machine is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::PostgresError;

/// Where Debian and its relatives put each major version: `/usr/lib/postgresql/15/bin`.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// The oldest major version whose pgoutput has what Lockstep reads (binary, streaming, messages).
const OLDEST_MAJOR: u32 = 14;

/// The programs of one installed Postgres server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installation {
    pub(super) bin: PathBuf,
    pub(super) major: u32,
}

impl Installation {
    /// Finds the server programs: only in `given` if there is one, else where `pg_config` points,
    /// then Debian's folders (newest first), then `PATH`.
    ///
    /// `wanted` is the major version that an existing data directory was made by: no other server
    /// can open it.
    ///
    /// # Errors
    /// Names every place that was looked at.
    pub(super) fn find(given: Option<&Path>, wanted: Option<u32>) -> Result<Self, PostgresError> {
        let places = given.map_or_else(usual_places, |bin| vec![bin.to_owned()]);
        let found: Vec<Self> = places.iter().filter_map(|bin| Self::at(bin)).collect();
        let fits = |it: &&Self| match wanted {
            Some(major) => it.major == major,
            None => it.major >= OLDEST_MAJOR,
        };
        if let Some(installation) = found.iter().find(fits) {
            return Ok(installation.clone());
        }
        let found: Vec<u32> = found.iter().map(|it| it.major).collect();
        Err(match (wanted, found.is_empty()) {
            (_, true) => PostgresError::NotInstalled {
                looked: join(&places),
            },
            (Some(wanted), false) => PostgresError::OtherMajor {
                wanted,
                found,
                looked: join(&places),
            },
            (None, false) => PostgresError::TooOld {
                oldest: OLDEST_MAJOR,
                found,
            },
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The installation in this folder, if it is one of a *server*: client packages bring
    /// `pg_config` and `psql` into the same folder.
    fn at(bin: &Path) -> Option<Self> {
        let complete = ["postgres", "initdb", "pg_ctl"]
            .iter()
            .all(|name| bin.join(name).is_file());
        if !complete {
            return None;
        }
        let version = output_of(Command::new(bin.join("postgres")).arg("--version"))?;
        Some(Self {
            bin: bin.to_owned(),
            major: major_of(&version)?,
        })
    }
}

fn usual_places() -> Vec<PathBuf> {
    let pg_config = output_of(Command::new("pg_config").arg("--bindir"));
    let mut places: Vec<PathBuf> = pg_config
        .into_iter()
        .map(|bin| PathBuf::from(bin.trim()))
        .collect();
    places.extend(debian_places());
    places.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut seen = Vec::new();
    places.retain(|place| {
        let new = !seen.contains(place);
        seen.push(place.clone());
        new
    });
    places
}

/// Newest first; the folder names are numbers, so that 15 comes before 9.
fn debian_places() -> Vec<PathBuf> {
    let entries = fs::read_dir(DEBIAN_ROOT).into_iter().flatten().flatten();
    let mut majors: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors
        .iter()
        .map(|major| format!("{DEBIAN_ROOT}/{major}/bin").into())
        .collect()
}

fn output_of(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` is 15, `… 19devel` is 19.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number
        .find(|c: char| !c.is_ascii_digit())
        .map_or(number, |end| &number[..end]);
    digits.parse().ok()
}

fn join(places: &[PathBuf]) -> String {
    let shown: Vec<String> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_betas() {
        for (text, major) in [
            (
                "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 19devel\n", Some(19)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (EnterpriseDB) x\n", None),
        ] {
            assert_eq!(major_of(text), major, "{text}");
        }
    }

    #[test]
    fn a_missing_server_names_the_package_and_the_place() {
        let empty = tempfile::tempdir().unwrap();
        let error = Installation::find(Some(empty.path()), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("Debian package `postgresql`"), "{error}");
        assert!(
            error.contains(&empty.path().display().to_string()),
            "{error}"
        );
    }

    #[test]
    fn a_folder_with_client_programs_only_is_no_server() {
        let client = tempfile::tempdir().unwrap();
        fs::write(client.path().join("psql"), "").unwrap();
        fs::write(client.path().join("pg_ctl"), "").unwrap();
        assert_eq!(Installation::at(client.path()), None);
    }

    #[test]
    fn a_data_directory_of_a_version_that_is_not_installed_is_named() {
        let error = Installation::find(None, Some(9)).unwrap_err().to_string();
        assert!(error.contains("`postgresql-9`"), "{error}");
    }
}
