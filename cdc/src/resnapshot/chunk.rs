//! Rows that were read, on their way to the stream.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::request::Strays;
use super::watermark::Token;
use crate::catalog::Shape;
use crate::control::Visibility;

/// The rows of a range of keys, as one transaction of the source saw them.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub token: Token,
    pub shape: Shape,
    pub visibility: Visibility,
    pub strays: Strays,
    /// Of its pass over the table.
    pub is_last: bool,
    /// A binary COPY.
    pub data: Vec<Bytes>,
    /// Tells the worker what became of it.
    pub outcome: oneshot::Sender<Outcome>,
}

/// What became of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its rows count in the topics, or the stream has newer ones. `owing`: in this pass rows came where
    /// nobody reads them any more, and not all of them.
    Published { owing: bool },
    /// It is of no use.
    Repeat(Repeat),
    /// The table was not followed until now, and is emptied in the topics: read it from its start.
    Restart,
    /// Its schema is refused.
    Refused(String),
}

/// Why a chunk is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Its reader did not see a transaction that the stream had brought before.
    Unseen,
    /// The table was truncated meanwhile.
    Truncated,
    /// The table was altered meanwhile.
    Altered,
    /// More keys were changed meanwhile than are kept in mind.
    Crowded,
}

impl Repeat {
    pub(crate) const ALL: [Self; 4] = [Self::Unseen, Self::Truncated, Self::Altered, Self::Crowded];

    /// A metric's label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::Truncated => "truncated",
            Self::Altered => "altered",
            Self::Crowded => "crowded",
        }
    }
}

/// Where the worker puts its chunk before it writes the high watermark. There is one at a time: a
/// chunk that nobody took, since its transaction failed, gives way to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desk(Arc<Mutex<Option<Chunk>>>);

impl Desk {
    pub(super) fn put(&self, chunk: Chunk) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunk);
    }

    /// The chunk of `token`, if it is there.
    pub(super) fn take(&self, token: Token) -> Option<Chunk> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.take_if(|chunk| chunk.token == token)
    }
}
