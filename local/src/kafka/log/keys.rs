//! The newest offset of each key in a part of the log, as many keys as memory is set aside for.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};

/// Keys of one pass of compaction: about 50 bytes each, so 90 MB at most, while it runs. With more
/// keys a pass ends earlier in the log and the next one goes on there, as with Kafka's
/// `log.cleaner.dedupe.buffer.size`.
pub(super) const KEYS_MAX: usize = 1_800_000;

/// Read of a key at one time.
const CHUNK: u64 = 256;

/// Stands for a key: 128 bits under a secret that is new with each pass, so that nobody can choose
/// two keys which are taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyHash(u64, u64);

#[derive(Debug, Clone)]
pub(super) struct KeyHasher([RandomState; 2]);

impl KeyHasher {
    /// Reads a key to its end; a key may be long, and none is held.
    pub(super) fn hash(&self, key: &mut impl Read) -> io::Result<KeyHash> {
        let [mut first, mut second] = self.0.each_ref().map(RandomState::build_hasher);
        let mut chunk = Vec::new();
        // Hashers may tell bytes from the same bytes in other parts. So all parts but the last are full.
        while key.by_ref().take(CHUNK).read_to_end(&mut chunk)? > 0 {
            first.write(&chunk);
            second.write(&chunk);
            chunk.clear();
        }
        Ok(KeyHash(first.finish(), second.finish()))
    }
}

#[derive(Debug)]
pub(super) struct Keys {
    offsets: HashMap<KeyHash, i64>,
    hasher: KeyHasher,
    limit: usize,
}

impl Keys {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self {
            offsets: HashMap::new(),
            hasher: KeyHasher([RandomState::new(), RandomState::new()]),
            limit,
        }
    }

    pub(super) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    pub(super) fn is_full(&self) -> bool {
        self.offsets.len() >= self.limit
    }

    /// Notes a record; they come by rising offset.
    pub(super) fn note(&mut self, key: KeyHash, offset: i64) {
        self.offsets.insert(key, offset);
    }

    pub(super) fn newest(&self, key: KeyHash) -> Option<i64> {
        self.offsets.get(&key).copied()
    }
}
