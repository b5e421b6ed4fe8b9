//! What was published before this start, and what follows from it.

use change::commit::{CommitKind, CommitRecord};
use change::framing;

use crate::config::Config;
use crate::error::Error;
use crate::kafka::Kafka;
use crate::source::SystemIdentity;

/// How capture begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Stream from where the last commits record ends.
    Resume,
    /// Make the slot and copy the tables.
    Snapshot(OldSlot),
}

/// What to do with a slot before a snapshot: one that exists exports no snapshot any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldSlot {
    None,
    Drop,
}

/// Whether the slot exists on the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    Exists,
    Missing,
}

/// The last commits record, if there is one.
///
/// # Errors
/// When Kafka does not answer, or the record is not one.
pub(crate) async fn last(kafka: &Kafka, topic: &str) -> Result<Option<CommitRecord>, Error> {
    let Some(value) = kafka.last_record(topic).await? else {
        return Ok(None);
    };
    let (_, datum) = framing::split(&value).map_err(|source| Error::HistoryFraming {
        topic: topic.to_owned(),
        source,
    })?;
    let record = CommitRecord::decode(datum).map_err(|source| Error::History {
        topic: topic.to_owned(),
        source,
    })?;
    Ok(Some(record))
}

/// Decides how to begin. A snapshot that was interrupted is taken anew; a slot that is gone, or is
/// one of another system, is never replaced silently, for the changes in between would be lost.
///
/// # Errors
/// When a human must choose.
pub(crate) fn beginning(
    config: &Config,
    system: &SystemIdentity,
    last: Option<&CommitRecord>,
    slot: SlotState,
) -> Result<Beginning, Error> {
    let anew = Beginning::Snapshot(match slot {
        SlotState::Exists => OldSlot::Drop,
        SlotState::Missing => OldSlot::None,
    });
    let Some(last) = last else {
        return Ok(anew);
    };
    let ours = system.system_id.to_string();
    if last.system_id != ours {
        let topic = config.prefix.commits();
        return Err(Error::ForeignHistory {
            topic,
            theirs: last.system_id.clone(),
            ours,
        });
    }
    if last.kind == CommitKind::SnapshotChunk {
        return Ok(anew);
    }
    if last.timeline != system.timeline && config.accept_timeline != Some(system.timeline) {
        return Err(Error::Timeline {
            theirs: last.timeline,
            ours: system.timeline,
            commit_lsn: last.commit_lsn,
        });
    }
    match slot {
        SlotState::Exists => Ok(Beginning::Resume),
        SlotState::Missing => Err(Error::SlotGone {
            slot: config.slot.clone(),
            commit_lsn: last.commit_lsn,
        }),
    }
}
