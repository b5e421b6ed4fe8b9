use std::io;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::{Header, Message};
use service::postgres::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A stream of protocol messages. Both directions are buffered, so that a dropped future loses
/// neither half a message that came nor the rest of one that is on its way.
pub(super) struct Connection {
    stream: Stream,
    incoming: BytesMut,
    outgoing: BytesMut,
}

/// A message from the server.
pub(super) enum Frame {
    /// `'W'`, which the library does not know.
    CopyBothResponse,
    Message(Message),
}

const COPY_BOTH_RESPONSE_TAG: u8 = b'W';

/// Room for a read: what a socket's buffer usually has ready under load.
const READ_BYTES: usize = 64 * 1024;

/// A message of this length and more takes its buffer with it.
const LARGE_BYTES: usize = 1024 * 1024;

/// The longest message: Postgres builds each in one buffer of at most this size (`MaxAllocSize`).
const MESSAGE_BYTES_MAX: usize = 0x3fff_ffff;

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
        }
    }

    pub(super) fn transport(&self) -> &Stream {
        &self.stream
    }

    /// From now on messages come as a stream.
    pub(super) fn stream_begins(&mut self) {
        self.stream.let_gather();
    }

    /// Where messages are written to before [`Connection::flush`].
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// Sends what was written. Cancel-safe: what was not sent goes with the next flush.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let sent = self.stream.write(&self.outgoing).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.outgoing.advance(sent);
        }
        self.stream.flush().await
    }

    /// The next message. Cancel-safe: what has come of it stays in the buffer.
    pub(super) async fn receive(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(frame);
            }
            let read = self.stream.read_buf(&mut self.incoming).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes a whole message from the buffer, or makes room for more of it.
    fn parse(&mut self) -> io::Result<Option<Frame>> {
        let Some(header) = Header::parse(&self.incoming)? else {
            self.incoming.reserve(READ_BYTES);
            return Ok(None);
        };
        // The length counts itself but not the tag.
        let length = usize::try_from(header.len())
            .ok()
            .filter(|length| *length <= MESSAGE_BYTES_MAX)
            .ok_or(io::ErrorKind::InvalidData)?
            .saturating_add(1);
        if self.incoming.len() < length {
            // The room grows with what has come, not with what was announced.
            self.incoming.reserve(READ_BYTES.max(self.incoming.len()));
            return Ok(None);
        }
        if header.tag() == COPY_BOTH_RESPONSE_TAG {
            self.incoming.advance(length);
            return Ok(Some(Frame::CopyBothResponse));
        }
        let message = Message::parse(&mut self.incoming)?;
        if length >= LARGE_BYTES {
            // The buffer of one large row would else stay with the connection for ever.
            self.incoming = BytesMut::from(&self.incoming[..]);
        }
        Ok(message.map(Frame::Message))
    }
}
