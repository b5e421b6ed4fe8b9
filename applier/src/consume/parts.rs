//! Joins the parts of a record that was longer than its topic takes.
//!
//! They come one after the other: the merge gives out records by their positions, and those of parts
//! follow each other. What is held is the one record that is being joined.

use change::Position;
use change::envelope::Part;

use crate::kafka::Fetched;

#[derive(Default)]
pub(super) struct Parts {
    open: Option<Open>,
}

struct Open {
    /// Where the first part stands; apply knows the whole by it.
    offset: i64,
    position: Position,
    parts: u32,
    /// The part that belongs next.
    next: u32,
    value: Vec<u8>,
}

/// A part that does not belong where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("part {part} of {parts} stands where part {next} of {expected} belongs")]
pub struct PartError {
    /// From 1, as all of these.
    part: u32,
    parts: u32,
    next: u32,
    expected: u32,
}

/// More than a value of Postgres can have need not be expected.
const ROOM_MAX: usize = 1 << 30;

impl Parts {
    /// Takes the next part; the whole record with its last.
    ///
    /// # Errors
    /// When another one belongs here.
    pub(super) fn join(
        &mut self,
        offset: i64,
        part: &Part<'_>,
    ) -> Result<Option<Fetched>, PartError> {
        let position = part.head.position;
        let open = self.open.get_or_insert_with(|| Open {
            offset,
            position,
            parts: part.parts,
            next: 0,
            // All parts but the last are as long as the first.
            value: Vec::with_capacity(
                part.data
                    .len()
                    .saturating_mul(part.parts as usize)
                    .min(ROOM_MAX),
            ),
        });
        let place = Position {
            ordinal: open.position.ordinal + u64::from(open.next),
            ..open.position
        };
        if (part.part, part.parts, position) != (open.next, open.parts, place)
            || part.part >= part.parts
        {
            return Err(PartError {
                part: part.part.saturating_add(1),
                parts: part.parts,
                next: open.next + 1,
                expected: open.parts,
            });
        }
        open.value.extend_from_slice(part.data);
        open.next += 1;
        if open.next < open.parts {
            return Ok(None);
        }
        let whole = self.open.take().map(|open| Fetched {
            offset: open.offset,
            value: Some(open.value.into_boxed_slice()),
        });
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use change::Lsn;
    use change::envelope::Head;

    use super::*;

    fn part(ordinal: u64, part: u32, parts: u32, data: &[u8]) -> Part<'_> {
        let head = Head {
            epoch: 1,
            position: Position {
                commit_lsn: Lsn::new(9),
                ordinal,
            },
        };
        Part {
            head,
            part,
            parts,
            data,
        }
    }

    #[test]
    fn the_whole_stands_where_its_first_part_does() {
        let mut parts = Parts::default();
        for offset in [3, 20] {
            assert_eq!(parts.join(offset, &part(5, 0, 3, b"ab")), Ok(None));
            assert_eq!(parts.join(offset + 4, &part(6, 1, 3, b"c")), Ok(None));
            let whole = parts
                .join(offset + 5, &part(7, 2, 3, b"d"))
                .unwrap()
                .unwrap();
            assert_eq!(whole.offset, offset);
            assert_eq!(whole.value.as_deref(), Some(&b"abcd"[..]));
        }
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let followers = [
            part(6, 2, 3, b""),
            part(6, 1, 4, b""),
            part(7, 1, 3, b""),
            part(5, 0, 3, b""),
        ];
        for follower in followers {
            let mut parts = Parts::default();
            assert_eq!(parts.join(0, &part(5, 0, 3, b"ab")), Ok(None));
            assert!(parts.join(1, &follower).is_err());
        }
        assert!(Parts::default().join(0, &part(5, 1, 3, b"")).is_err());
        assert!(Parts::default().join(0, &part(5, 0, 0, b"")).is_err());
    }
}
