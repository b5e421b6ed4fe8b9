//! The text of replication commands (manual, "Streaming Replication Protocol"). Their grammar knows
//! `'` doubled in strings and `"` doubled in names, and no backslash.

use change::Lsn;

use super::slot::{SlotLife, SlotName};

/// A server's major version that streams as much as we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerVersion(u32);

impl ServerVersion {
    /// Binary columns, streaming and logical messages all came with 14.
    const OLDEST: Self = Self(14);

    /// Reads `15.8 (Debian …)`, `18beta1`; `None` when it is older than what we can stream from.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
        let version = Self(digits.parse().ok()?);
        (version >= Self::OLDEST).then_some(version)
    }

    /// The highest protocol that the server speaks: 2 has streaming, 3 two-phase, 4 parallel.
    fn proto_version(self) -> u32 {
        match self.0 {
            ..=14 => 2,
            15 => 3,
            16.. => 4,
        }
    }
}

/// The snapshot is exported, which is the default in every version (the option's syntax is not the
/// same in all).
pub(super) fn create_slot(slot: &SlotName, life: SlotLife) -> String {
    let life = match life {
        SlotLife::Permanent => "",
        SlotLife::Temporary => " TEMPORARY",
    };
    format!("CREATE_REPLICATION_SLOT \"{slot}\"{life} LOGICAL pgoutput")
}

pub(super) fn drop_slot(slot: &SlotName) -> String {
    format!("DROP_REPLICATION_SLOT \"{slot}\"")
}

pub(super) fn start_replication(
    slot: &SlotName,
    from: Lsn,
    publications: &[String],
    version: ServerVersion,
) -> String {
    let proto_version = version.proto_version();
    let publication_names = literal(
        &publications
            .iter()
            .map(|p| identifier(p))
            .collect::<Vec<_>>()
            .join(","),
    );
    format!(
        "START_REPLICATION SLOT \"{slot}\" LOGICAL {from} (proto_version '{proto_version}', \
         publication_names {publication_names}, binary 'true', messages 'true', streaming 'on')"
    )
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use change::Lsn;

    use super::{ServerVersion, start_replication};

    #[track_caller]
    fn check(version: &str, expected: Option<u32>) {
        let version = ServerVersion::parse(version);
        assert_eq!(version.map(ServerVersion::proto_version), expected);
    }

    #[test]
    fn the_protocol_follows_the_version() {
        check("13.9", None);
        check("14.1", Some(2));
        check("15.8 (Debian 15.8-0+deb12u1)", Some(3));
        check("16.0", Some(4));
        check("18beta1", Some(4));
        check("9.6.1", None);
        check("", None);
    }

    #[test]
    fn publication_names_are_quoted_twice() {
        let command = start_replication(
            &"s".parse().unwrap(),
            Lsn::from(0x16_0000_000A),
            &["a\"b".to_owned(), "It's, ok".to_owned()],
            ServerVersion::parse("15").unwrap(),
        );
        assert_eq!(
            command,
            "START_REPLICATION SLOT \"s\" LOGICAL 16/A (proto_version '3', publication_names \
             '\"a\"\"b\",\"It''s, ok\"', binary 'true', messages 'true', streaming 'on')"
        );
    }
}
