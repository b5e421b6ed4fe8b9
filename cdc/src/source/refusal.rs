//! What an error of the server asks of us, by its SQLSTATE (manual, "PostgreSQL Error Codes") and by
//! what it was an answer to. Never by its text, which follows `lc_messages`; the one exception is a
//! setting's name, which no translation changes.

use super::error::{ServerError, SourceError};
use super::slot::SlotName;

/// Whom we talk to, for messages.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) database: String,
    pub(super) user: String,
}

/// What the server was asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    LogIn,
    /// A command that concerns no slot.
    Command(&'static str),
    CreateSlot(&'a SlotName),
    DropSlot(&'a SlotName),
    StartReplication(&'a SlotName),
    Stream {
        slot: &'a SlotName,
        publications: &'a [String],
    },
}

impl Step<'_> {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LogIn => "log-in",
            Self::Command(name) => name,
            Self::CreateSlot(_) => "CREATE_REPLICATION_SLOT",
            Self::DropSlot(_) => "DROP_REPLICATION_SLOT",
            Self::StartReplication(_) => "START_REPLICATION",
            Self::Stream { .. } => "streaming",
        }
    }

    fn slot(self) -> Option<SlotName> {
        match self {
            Self::LogIn | Self::Command(_) => None,
            Self::CreateSlot(slot)
            | Self::DropSlot(slot)
            | Self::StartReplication(slot)
            | Self::Stream { slot, .. } => Some(slot.clone()),
        }
    }
}

pub(super) fn classify(peer: &Peer, step: Step<'_>, error: Box<ServerError>) -> SourceError {
    let address = peer.address.clone();
    let user = peer.user.clone();
    match (error.code.as_str(), step, step.slot()) {
        (code, _, _) if passes(code) => SourceError::Unavailable {
            address,
            source: error,
        },
        ("28000" | "28P01", _, _) => SourceError::Login {
            address,
            user,
            source: error,
        },
        ("3D000", Step::LogIn, _) => SourceError::DatabaseMissing {
            address,
            database: peer.database.clone(),
        },
        (INSUFFICIENT_PRIVILEGE, Step::LogIn, _) | (INSUFFICIENT_PRIVILEGE, _, Some(_)) => {
            SourceError::ReplicationRight {
                user,
                source: error,
            }
        }
        (NOT_IN_PREREQUISITE_STATE, _, _) if error.message.contains("wal_level") => {
            SourceError::WalLevel { address }
        }
        ("53400", Step::CreateSlot(_), _) => SourceError::SlotsFull { source: error },
        ("42710", Step::CreateSlot(slot), _) => SourceError::SlotExists { slot: slot.clone() },
        ("55006", _, Some(slot)) => SourceError::SlotTaken { slot, pid: None },
        ("42704", Step::Stream { publications, .. }, _) => SourceError::PublicationMissing {
            publications: publications.join(", "),
            source: error,
        },
        ("42704", _, Some(slot)) => SourceError::SlotMissing { slot },
        ("58P01", Step::StartReplication(_) | Step::Stream { .. }, Some(slot)) => {
            SourceError::WalRemoved {
                slot,
                source: error,
            }
        }
        _ => SourceError::Refused {
            address,
            step: step.name(),
            source: error,
        },
    }
}

/// The slot was invalidated, wal_level is too low, and more: what it means depends on the message,
/// or on the slot's `wal_status`.
pub(super) const NOT_IN_PREREQUISITE_STATE: &str = "55000";

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// States of the server that pass, and a backend that someone ended: all without anyone changing
/// anything. Not 53400 (a configured limit).
fn passes(code: &str) -> bool {
    match code {
        // A cancelled query; a shutdown, crash, start-up, session timeout; no connection free, no
        // disk or memory.
        "57014" | "57P01" | "57P02" | "57P03" | "57P05" => true,
        "53000" | "53100" | "53200" | "53300" => true,
        code => code.starts_with("08"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Peer, Step, classify};
    use crate::source::{ServerError, SourceError};

    #[track_caller]
    fn check(code: &str, message: &str, step: Step<'_>, expected: fn(&SourceError) -> bool) {
        let peer = Peer {
            address: "db1:5432".to_owned(),
            database: "blog".to_owned(),
            user: "capture".to_owned(),
        };
        let error = ServerError {
            code: code.to_owned(),
            message: message.to_owned(),
            hint: None,
        };
        let error = classify(&peer, step, Box::new(error));
        assert!(expected(&error), "{error:?}");
    }

    #[test]
    fn a_missing_object_is_the_slot_at_the_start_and_a_publication_later() {
        let slot = "s".parse().unwrap();
        let publications = ["p".to_owned()];
        check("42704", "", Step::StartReplication(&slot), |error| {
            matches!(error, SourceError::SlotMissing { .. })
        });
        let stream = Step::Stream {
            slot: &slot,
            publications: &publications,
        };
        check("42704", "", stream, |error| {
            matches!(error, SourceError::PublicationMissing { .. })
        });
    }

    #[test]
    fn states_that_pass_are_transient_at_every_step() {
        let slot = "s".parse().unwrap();
        for code in ["57P01", "57P02", "57P03", "53300", "08006"] {
            for step in [
                Step::LogIn,
                Step::Command("select"),
                Step::CreateSlot(&slot),
            ] {
                check(code, "", step, SourceError::is_transient);
            }
        }
        check("53400", "", Step::CreateSlot(&slot), |error| {
            matches!(error, SourceError::SlotsFull { .. }) && !error.is_transient()
        });
    }

    #[test]
    fn a_translated_message_still_names_the_setting() {
        let slot = "s".parse().unwrap();
        let message = "logische Dekodierung erfordert wal_level >= logical";
        check("55000", message, Step::CreateSlot(&slot), |error| {
            matches!(error, SourceError::WalLevel { .. })
        });
        check("55000", "", Step::StartReplication(&slot), |error| {
            matches!(error, SourceError::Refused { .. })
        });
    }
}
