//! The newest offset of each key in a part of the log, as many keys as memory is set aside for.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Keys of one pass of compaction: about 50 bytes each, so 90 MB at most, while it runs. With more
/// keys a pass ends earlier in the log and the next one goes on there, as with Kafka's
/// `log.cleaner.dedupe.buffer.size`.
pub(super) const KEYS_MAX: usize = 1_800_000;

/// In place of the keys there are hashes of 128 bits under a secret that is new with each pass, so
/// that nobody can choose two keys which are taken for one.
#[derive(Debug)]
pub(super) struct Keys {
    offsets: HashMap<(u64, u64), i64>,
    hashers: [RandomState; 2],
    limit: usize,
}

impl Keys {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self {
            offsets: HashMap::new(),
            hashers: [RandomState::new(), RandomState::new()],
            limit,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.offsets.len() >= self.limit
    }

    /// Notes a record; they come by rising offset.
    pub(super) fn note(&mut self, key: &[u8], offset: i64) {
        self.offsets.insert(self.hash(key), offset);
    }

    pub(super) fn newest(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(&self.hash(key)).copied()
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let [first, second] = &self.hashers;
        (first.hash_one(key), second.hash_one(key))
    }
}
