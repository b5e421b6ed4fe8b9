//! The marks that the reading of a chunk leaves in the source's log.

use std::str::{self, FromStr, SplitAsciiWhitespace};

use crate::source::SlotName;
use crate::wire::Oid;

/// The prefix of the messages.
pub(crate) const PREFIX: &str = "lockstep.watermark";

/// Names one reading of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Of the capture that reads: what an earlier one has begun is of no use.
    pub epoch: i64,
    pub request: i64,
    /// Rises with every reading.
    pub reading: u64,
}

/// Of which rows the topics may not have every value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    AllRows,
    /// Those that the stream's side knows of.
    KnownRows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watermark {
    /// The chunk is read after this.
    Low {
        token: Token,
        table: Oid,
        doubt: Doubt,
    },
    /// The chunk was read before this.
    High { token: Token },
}

impl Watermark {
    /// The content of its message.
    pub(crate) fn text(self, slot: &SlotName) -> String {
        match self {
            Self::Low {
                token,
                table,
                doubt,
            } => format!("{slot} low {} {table} {}", token.text(), doubt.name()),
            Self::High { token } => format!("{slot} high {}", token.text()),
        }
    }

    /// None for what another capture, or somebody else, has written.
    pub(crate) fn read(content: &[u8], slot: &SlotName) -> Option<Self> {
        let mut words = str::from_utf8(content).ok()?.split_ascii_whitespace();
        if words.next()? != slot.as_str() {
            return None;
        }
        let kind = words.next()?;
        let token = Token {
            epoch: number(&mut words)?,
            request: number(&mut words)?,
            reading: number(&mut words)?,
        };
        match kind {
            "low" => Some(Self::Low {
                token,
                table: number(&mut words)?,
                doubt: Doubt::of(words.next()?)?,
            }),
            "high" => Some(Self::High { token }),
            _ => None,
        }
    }
}

impl Doubt {
    fn name(self) -> &'static str {
        match self {
            Self::AllRows => "all",
            Self::KnownRows => "known",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let both = [Self::AllRows, Self::KnownRows];
        both.into_iter().find(|doubt| doubt.name() == name)
    }
}

impl Token {
    fn text(self) -> String {
        format!("{} {} {}", self.epoch, self.request, self.reading)
    }
}

fn number<N: FromStr>(words: &mut SplitAsciiWhitespace<'_>) -> Option<N> {
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_its_slot_only() {
        let (ours, other) = ("ours".parse().unwrap(), "other".parse().unwrap());
        let token = Token {
            epoch: 3,
            request: 12,
            reading: 1,
        };
        let low = |doubt| Watermark::Low {
            token,
            table: 16_384,
            doubt,
        };
        for mark in [
            low(Doubt::AllRows),
            low(Doubt::KnownRows),
            Watermark::High { token },
        ] {
            let text = mark.text(&ours);
            assert_eq!(Watermark::read(text.as_bytes(), &ours), Some(mark));
            assert_eq!(Watermark::read(text.as_bytes(), &other), None);
        }
        for text in [
            "",
            "ours",
            "ours low 1 2",
            "ours low 1 2 3 4 some",
            "ours mid 1 2 3",
            "ours high 1 x 3",
        ] {
            assert_eq!(Watermark::read(text.as_bytes(), &ours), None, "{text}");
        }
        assert_eq!(Watermark::read(b"ours high 1 2 \xff", &ours), None);
    }
}
