//! libpq's password file (manual, "The Password File").

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::Secret;

/// The first password whose line fits; none when the file is missing, as in libpq.
pub(super) fn password(
    path: Option<PathBuf>,
    host: &str,
    port: u16,
    dbname: &str,
    user: &str,
) -> Option<Secret> {
    let path = match path {
        Some(path) => path,
        None => PathBuf::from(env::var_os("HOME")?).join(".pgpass"),
    };
    let text = fs::read_to_string(&path).ok()?;
    if fs::metadata(&path).ok()?.permissions().mode() & OTHERS != 0 {
        let path = path.display();
        tracing::warn!(%path, "password file ignored: others than its owner have access to it");
        return None;
    }
    // libpq looks a Unix socket up as `localhost`.
    let host = match host.starts_with('/') {
        true => "localhost",
        false => host,
    };
    let port = port.to_string();
    let wanted = [host, &port, dbname, user];
    text.lines().find_map(|line| matching(line, wanted))
}

/// The permissions of group and others; libpq ignores a file that has any.
const OTHERS: u32 = 0o077;

/// The password of a line `host:port:database:user:password`, when its first four fields fit.
fn matching(line: &str, wanted: [&str; 4]) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    for wanted in wanted {
        let (field, after) = field(rest)?;
        if field != "*" && unescaped(field) != wanted {
            return None;
        }
        rest = after;
    }
    Some(Secret::new(unescaped(rest)))
}

/// Splits at the first colon that no backslash precedes.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b':' if !escaped => return Some((text.get(..at)?, text.get(at + 1..)?)),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_ignored() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "*:*:*:*:secret\n").unwrap();
        let found = || password(Some(file.path().to_owned()), "db", 5432, "app", "ann");
        assert_eq!(found().as_ref().map(Secret::expose), Some("secret"));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(found(), None);
    }

    #[track_caller]
    fn check(line: &str, expected: Option<&str>) {
        let found = matching(line, ["db", "5432", "app", "an:n"]);
        assert_eq!(found.as_ref().map(Secret::expose), expected);
    }

    #[test]
    fn a_line_fits_by_its_first_four_fields() {
        check(r"db:5432:app:an\:n:secret", Some("secret"));
        check(r"*:*:*:*:with\:colon\\", Some(r"with:colon\"));
        check(r"*:*:*:*:with:colon", Some("with:colon"));
        check(r"other:*:*:*:secret", None);
        check("# db:5432:app:an", None);
        check("db:5432", None);
    }
}
