//! For whom the REST APIs are asked.

use std::sync::{Mutex, PoisonError};

use change::Lsn;

/// The client of one request, and how far it has to be shown.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) request_id: String,
    pub(crate) traceparent: Option<String>,
    /// `Authorization`, handed on as it is.
    pub(crate) authorization: Option<String>,
    positions: Mutex<Positions>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Positions {
    /// What reads must have; a write raises it.
    minimum: Option<Lsn>,
    /// Of the last write.
    written: Option<Lsn>,
}

impl Caller {
    /// Nobody but the request with this id.
    pub(crate) fn new(request_id: impl Into<String>) -> Self {
        Self {
            request_id: request_id.into(),
            traceparent: None,
            authorization: None,
            positions: Mutex::default(),
        }
    }

    /// A client that asks for everything up to `minimum`.
    pub(crate) fn asking_for(self, minimum: Option<Lsn>) -> Self {
        self.change(|positions| positions.minimum = minimum);
        self
    }

    pub(crate) fn minimum(&self) -> Option<Lsn> {
        self.change(|positions| positions.minimum)
    }

    /// The client has been shown something of `position`: what it reads from now on has it.
    pub(crate) fn sees(&self, position: Lsn) {
        self.change(|positions| positions.minimum = positions.minimum.max(Some(position)));
    }

    /// A write stands at `position`: what is read from now on has it.
    pub(crate) fn wrote(&self, position: Lsn) {
        self.change(|positions| {
            positions.minimum = positions.minimum.max(Some(position));
            positions.written = positions.written.max(Some(position));
        });
    }

    /// Where the last write stands, if there was one.
    pub(crate) fn written(&self) -> Option<Lsn> {
        self.change(|positions| positions.written)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Positions) -> T) -> T {
        // Two numbers are whole at any moment.
        change(
            &mut self
                .positions
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
