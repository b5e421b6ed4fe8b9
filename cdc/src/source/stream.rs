use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use change::Lsn;
use postgres_protocol::message::backend::{Message, NoticeResponseBody};
use postgres_protocol::message::frontend;
use tracing::warn;

use super::connection::Frame;
use super::error::{ServerError, SourceError};
use super::refusal::{NOT_IN_PREREQUISITE_STATE, Step};
use super::session::Session;
use super::slot::SlotName;
use super::startup::lost;
use crate::wire::PgTimestamp;
use crate::wire::replication::{
    PrimaryKeepalive, ReplicationMessage, Reply, StandbyStatusUpdate, decode,
};

/// A replication connection that streams. Dropping it closes the connection; after an error nothing
/// else is left.
///
/// The server gives the connection up when it hears nothing for `wal_sender_timeout`, also while we
/// do not read: whoever stops calling [`next`](Self::next) must go on calling
/// [`status`](Self::status).
pub struct ReplicationStream {
    session: Session,
    slot: SlotName,
    publications: Vec<String>,
    /// Up to where the server has sent.
    received: Lsn,
}

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    XLogMessage(XLogMessage),
    /// Answering is the caller's: only it knows what may be confirmed.
    Keepalive(PrimaryKeepalive),
}

/// One XLogData: a message of `pgoutput`, shared with the buffer that it was read into. A message
/// that is kept keeps that buffer, of at least 64 KiB; what is kept long should be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XLogMessage {
    /// See [`XLogData::wal_start`](crate::wire::replication::XLogData::wal_start).
    pub wal_start: Lsn,
    pub sent_at: PgTimestamp,
    pub data: Bytes,
}

impl ReplicationStream {
    pub(super) fn new(session: Session, slot: SlotName, publications: Vec<String>) -> Self {
        Self {
            session,
            slot,
            publications,
            received: Lsn::ZERO,
        }
    }

    /// Up to where the server has sent.
    pub fn received_lsn(&self) -> Lsn {
        self.received
    }

    /// Waits for the next message. Cancel-safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> Result<Event, SourceError> {
        // The rest of a status update whose future was dropped: the server waits for it.
        self.flush().await?;
        loop {
            match self.receive().await? {
                Frame::Message(Message::CopyData(body)) => return self.event(body.into_bytes()),
                Frame::Message(Message::NoticeResponse(body)) => self.notice(&body)?,
                Frame::Message(Message::ParameterStatus(_)) => {}
                Frame::Message(Message::CopyDone | Message::CommandComplete(_)) => {
                    return Err(SourceError::Ended {
                        address: self.session.peer().address.clone(),
                    });
                }
                Frame::Message(_) | Frame::CopyBothResponse => return Err(self.unexpected()),
            }
        }
    }

    /// Tells the server that it may forget what is before `flush_lsn`, and that we live.
    ///
    /// Cancel-safe: of a dropped future nothing was sent, or the rest goes with the next call of
    /// this or of [`next`](Self::next).
    pub async fn status(&mut self, flush_lsn: Lsn, reply: Reply) -> Result<(), SourceError> {
        self.flush().await?;
        let mut update = BytesMut::new();
        StandbyStatusUpdate {
            write_lsn: self.received.max(flush_lsn),
            flush_lsn,
            apply_lsn: flush_lsn,
            sent_at: now(),
            reply,
        }
        .encode(&mut update);
        self.copy_data(update.freeze())?;
        self.flush().await
    }

    /// Ends the stream in good order and waits until the slot is free. What the server still sends
    /// is dropped, and it may be in the middle of a large transaction: give this a time limit.
    ///
    /// The connection goes with it, as a walsender that has streamed from a logical slot does not
    /// start again (it ends a second stream at once, seen with 15).
    pub async fn finish(mut self) -> Result<(), SourceError> {
        frontend::copy_done(self.session.connection().outgoing());
        self.flush().await?;
        loop {
            match self.receive().await? {
                Frame::Message(Message::ReadyForQuery(_)) => break,
                Frame::Message(
                    Message::CopyData(_)
                    | Message::CopyDone
                    | Message::CommandComplete(_)
                    | Message::NoticeResponse(_)
                    | Message::ParameterStatus(_),
                ) => {}
                Frame::Message(_) | Frame::CopyBothResponse => return Err(self.unexpected()),
            }
        }
        frontend::terminate(self.session.connection().outgoing());
        self.flush().await
    }

    fn event(&mut self, frame: Bytes) -> Result<Event, SourceError> {
        match decode(&frame).map_err(SourceError::Frame)? {
            ReplicationMessage::XLogData(message) => {
                self.received = self.received.max(message.wal_end);
                Ok(Event::XLogMessage(XLogMessage {
                    wal_start: message.wal_start,
                    sent_at: message.sent_at,
                    data: frame.slice_ref(message.data),
                }))
            }
            ReplicationMessage::PrimaryKeepalive(keepalive) => {
                self.received = self.received.max(keepalive.wal_end);
                Ok(Event::Keepalive(keepalive))
            }
        }
    }

    async fn receive(&mut self) -> Result<Frame, SourceError> {
        let step = Step::Stream {
            slot: &self.slot,
            publications: &self.publications,
        };
        self.session.receive(step).await
    }

    /// From 18 on a publication that is missing is a warning, after which the server leaves out what
    /// it would publish: changes that would be lost without a word.
    fn notice(&self, body: &NoticeResponseBody) -> Result<(), SourceError> {
        let notice = ServerError::new(body.fields()).map_err(|e| lost(self.session.peer(), e))?;
        if notice.code == NOT_IN_PREREQUISITE_STATE {
            return Err(SourceError::PublicationMissing {
                publications: self.publications.join(", "),
                source: notice,
            });
        }
        warn!(slot = %self.slot, %notice, "notice from the source");
        Ok(())
    }

    fn copy_data(&mut self, content: Bytes) -> Result<(), SourceError> {
        let message = frontend::CopyData::new(content).map_err(|e| lost(self.session.peer(), e))?;
        message.write(self.session.connection().outgoing());
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SourceError> {
        let flushed = self.session.connection().flush().await;
        flushed.map_err(|e| lost(self.session.peer(), e))
    }

    fn unexpected(&self) -> SourceError {
        self.session.unexpected(Step::Stream {
            slot: &self.slot,
            publications: &self.publications,
        })
    }
}

/// The server compares it with its own clock to tell the lag of standbys.
fn now() -> PgTimestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = since_epoch
        .map(|elapsed| elapsed.as_micros())
        .unwrap_or_default();
    PgTimestamp::from_unix_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
