//! What a partition remembers of idempotent producers (KIP-98): their epoch and last batches, by
//! which a batch that is sent again is recognised and one that overtook another is refused.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::kafka::batch::{BatchHeader, advance_sequence};

/// As many batches as a client may have in flight, so that any of them can be recognised.
const REMEMBERED: usize = 5;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    /// Oldest first. None of this epoch when it began with a marker.
    batches: VecDeque<Remembered>,
    last_append_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
    timestamp: i64,
}

/// A producer that has appended to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct ActiveProducer {
    pub(in crate::kafka) producer_id: i64,
    pub(in crate::kafka) epoch: i16,
    pub(in crate::kafka) last_sequence: Option<i32>,
    pub(in crate::kafka) last_append_ms: i64,
    /// The first offset of its open transaction.
    pub(in crate::kafka) transaction_from: Option<i64>,
}

/// What to do with a batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Append,
    /// It is in the log since before, at this offset and with this timestamp.
    Duplicate {
        base_offset: i64,
        timestamp: i64,
    },
    OutOfOrder {
        expected: i32,
    },
    StaleEpoch {
        current: i16,
    },
}

impl Producers {
    pub(super) fn judge(&self, batch: &BatchHeader) -> Verdict {
        // A producer that is not known may start anywhere: its earlier records may have expired.
        let Some(known) = self.by_id.get(&batch.producer_id) else {
            return Verdict::Append;
        };
        if batch.producer_epoch < known.epoch {
            return Verdict::StaleEpoch {
                current: known.epoch,
            };
        }
        if batch.producer_epoch > known.epoch {
            return match batch.base_sequence {
                0 => Verdict::Append,
                _ => Verdict::OutOfOrder { expected: 0 },
            };
        }
        let same = known.batches.iter().find(|remembered| {
            remembered.base_sequence == batch.base_sequence
                && remembered.last_sequence == batch.last_sequence()
        });
        if let Some(first) = same {
            let Remembered {
                base_offset,
                timestamp,
                ..
            } = *first;
            return Verdict::Duplicate {
                base_offset,
                timestamp,
            };
        }
        match known.batches.back() {
            Some(last) => {
                let expected = advance_sequence(last.last_sequence, 1);
                if batch.base_sequence == expected {
                    Verdict::Append
                } else {
                    Verdict::OutOfOrder { expected }
                }
            }
            None => Verdict::Append,
        }
    }

    /// Remembers a batch that is in the log.
    pub(super) fn record(&mut self, batch: &BatchHeader, now_ms: i64) {
        if !batch.is_idempotent() {
            return;
        }
        let producer = self
            .by_id
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                batches: VecDeque::with_capacity(REMEMBERED),
                last_append_ms: now_ms,
            });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        producer.last_append_ms = now_ms;
        if batch.is_control() {
            return;
        }
        if producer.batches.len() == REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            base_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
            last_offset: batch.last_offset(),
            timestamp: batch.max_timestamp,
        });
    }

    /// Every producer that is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = ActiveProducer> {
        self.by_id.iter().map(|(id, producer)| ActiveProducer {
            producer_id: *id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map(|batch| batch.last_sequence),
            last_append_ms: producer.last_append_ms,
            transaction_from: None,
        })
    }

    /// Forgets batches at and after an offset, before they are read again or because they are cut.
    pub(super) fn forget_from(&mut self, offset: i64) {
        self.by_id.retain(|_, producer| {
            producer
                .batches
                .retain(|remembered| remembered.last_offset < offset);
            !producer.batches.is_empty()
        });
    }

    /// The last offset of each producer's last batch.
    pub(super) fn last_offsets(&self) -> HashMap<i64, i64> {
        let last = |(id, producer): (&i64, &Producer)| {
            producer
                .batches
                .back()
                .map(|batch| (*id, batch.last_offset))
        };
        self.by_id.iter().filter_map(last).collect()
    }

    /// Forgets producers that have not appended since a time.
    pub(super) fn expire(&mut self, before_ms: i64) {
        self.by_id
            .retain(|_, producer| producer.last_append_ms >= before_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            size: 100,
            leader_epoch: 0,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 5,
            max_timestamp: 5,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
            record_count: count,
        }
    }

    #[track_caller]
    fn check(producers: &Producers, batch: &BatchHeader, expected: Verdict) {
        assert_eq!(producers.judge(batch), expected);
    }

    #[test]
    fn a_batch_sent_again_is_a_duplicate_for_as_long_as_five_follow() {
        let mut producers = Producers::default();
        for number in 0..6 {
            check(&producers, &batch(0, number * 10, 10, 0), Verdict::Append);
            producers.record(&batch(0, number * 10, 10, i64::from(number) * 10), 0);
        }
        for number in 1..6 {
            let base_offset = i64::from(number) * 10;
            let expected = Verdict::Duplicate {
                base_offset,
                timestamp: 5,
            };
            check(&producers, &batch(0, number * 10, 10, 0), expected);
        }
        check(
            &producers,
            &batch(0, 0, 10, 0),
            Verdict::OutOfOrder { expected: 60 },
        );
    }

    #[test]
    fn a_gap_is_out_of_order() {
        let mut producers = Producers::default();
        producers.record(&batch(0, 0, 10, 0), 0);
        check(
            &producers,
            &batch(0, 11, 1, 0),
            Verdict::OutOfOrder { expected: 10 },
        );
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old() {
        let mut producers = Producers::default();
        producers.record(&batch(3, 0, 10, 0), 0);
        check(
            &producers,
            &batch(4, 10, 1, 0),
            Verdict::OutOfOrder { expected: 0 },
        );
        check(&producers, &batch(4, 0, 1, 0), Verdict::Append);
        producers.record(&batch(4, 0, 1, 10), 0);
        check(
            &producers,
            &batch(3, 10, 1, 0),
            Verdict::StaleEpoch { current: 4 },
        );
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::default();
        producers.record(&batch(0, i32::MAX - 1, 2, 0), 0);
        check(&producers, &batch(0, 0, 3, 0), Verdict::Append);
        producers.record(&batch(0, i32::MAX, 3, 2), 0);
        check(&producers, &batch(0, 2, 1, 0), Verdict::Append);
    }

    #[test]
    fn batches_that_were_cut_are_forgotten() {
        let mut producers = Producers::default();
        producers.record(&batch(0, 0, 10, 0), 0);
        producers.record(&batch(0, 10, 10, 10), 0);
        producers.forget_from(10);
        check(&producers, &batch(0, 10, 10, 0), Verdict::Append);
        producers.forget_from(0);
        check(&producers, &batch(0, 99, 1, 0), Verdict::Append);
    }
}
