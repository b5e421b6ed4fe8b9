//! What was published before this start, and what follows from it.

use change::commit::{CommitKind, CommitRecord};
use change::framing;

use crate::config::Config;
use crate::error::Error;
use crate::kafka::TailReader;
use crate::snapshot;
use crate::source::SystemIdentity;

/// How capture begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Stream from where the last commits record ends.
    Resume,
    /// As [`Self::Resume`], up to another snapshot: the first one was interrupted.
    Continue,
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
    /// It exists, and the log that it needs does not.
    Lost,
    Missing,
}

/// The last commits record of the last writer, or the last before the offset `end`.
///
/// Behind it there may be late records of a writer that was dead already, of a lower epoch: as many
/// as it had in flight, which is far fewer than what is looked at.
///
/// # Errors
/// When Kafka does not answer, or a record is not a commits record.
pub(crate) async fn last(
    tails: &TailReader,
    topic: &str,
    end: Option<i64>,
) -> Result<Option<CommitRecord>, Error> {
    let mut last: Option<CommitRecord> = None;
    for value in tails.tail(topic, end).await? {
        let (_, datum) = framing::split(&value).map_err(|source| Error::HistoryFraming {
            topic: topic.to_owned(),
            source,
        })?;
        let record = CommitRecord::decode(datum).map_err(|source| Error::History {
            topic: topic.to_owned(),
            source,
        })?;
        if last.as_ref().is_none_or(|last| record.epoch >= last.epoch) {
            last = Some(record);
        }
    }
    Ok(last)
}

/// Decides how to begin. A first snapshot that was interrupted is continued, or taken anew where its
/// slot or its ledger is gone; any other slot that is gone, or is one of another system, is never
/// replaced silently, for the changes in between would be lost.
///
/// # Errors
/// When a human must choose.
pub(crate) fn beginning(
    config: &Config,
    system: &SystemIdentity,
    last: Option<&CommitRecord>,
    slot: SlotState,
    ledger: snapshot::State,
) -> Result<Beginning, Error> {
    let anew = Beginning::Snapshot(match slot {
        SlotState::Exists | SlotState::Lost => OldSlot::Drop,
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
    let is_known = ledger == snapshot::State::Open && last.kind != CommitKind::SnapshotComplete;
    if is_known || last.kind == CommitKind::SnapshotChunk {
        // A ledger of another timeline may tell of what was lost with it.
        let goes_on = is_known && slot == SlotState::Exists && last.timeline == system.timeline;
        return Ok(match goes_on {
            true => Beginning::Continue,
            false => anew,
        });
    }
    if last.timeline != system.timeline && config.accept_timeline != Some(system.timeline) {
        return Err(Error::Timeline {
            theirs: last.timeline,
            ours: system.timeline,
            commit_lsn: last.commit_lsn,
        });
    }
    match slot {
        // Who lost it is told so when the stream begins.
        SlotState::Exists | SlotState::Lost => Ok(Beginning::Resume),
        SlotState::Missing => Err(Error::SlotGone {
            slot: config.slot.clone(),
            commit_lsn: last.commit_lsn,
        }),
    }
}
