//! The states of all transactional ids, in a journal.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::transaction::Transaction;
use crate::kafka::journal::{Journal, Sync};

/// Changes after which the journal is rewritten, if it is also several times what it describes.
const REWRITE_AFTER: u64 = 20_000;

#[derive(Debug)]
pub(super) struct Store {
    journal: Journal,
    by_id: HashMap<String, Transaction>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Set { id: String, state: Transaction },
    Forget { id: String },
}

impl Store {
    pub(super) fn open(data_dir: &Path, sync: Sync) -> io::Result<Self> {
        let (journal, records) = Journal::open(&data_dir.join("transactions.journal"), sync)?;
        let mut by_id = HashMap::new();
        for record in records {
            match serde_json::from_slice(&record)? {
                Change::Set { id, state } => {
                    by_id.insert(id, state);
                }
                Change::Forget { id } => {
                    by_id.remove(&id);
                }
            }
        }
        Ok(Self { journal, by_id })
    }

    /// Every id with its state as it was kept last.
    pub(super) fn all(&self) -> &HashMap<String, Transaction> {
        &self.by_id
    }

    pub(super) fn set(&mut self, id: &str, state: &Transaction) -> io::Result<()> {
        self.append(&Change::Set {
            id: id.to_owned(),
            state: state.clone(),
        })?;
        self.by_id.insert(id.to_owned(), state.clone());
        self.shorten();
        Ok(())
    }

    pub(super) fn forget(&mut self, id: &str) -> io::Result<()> {
        self.append(&Change::Forget { id: id.to_owned() })?;
        self.by_id.remove(id);
        self.shorten();
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.journal.sync()
    }

    fn append(&mut self, change: &Change) -> io::Result<()> {
        self.journal.append(&serde_json::to_vec(change)?)
    }

    /// A journal that is not shortened is only long.
    fn shorten(&mut self) {
        if let Err(cause) = self.rewrite_when_long() {
            warn!(%cause, "shorten the journal of transactions");
        }
    }

    fn rewrite_when_long(&mut self) -> io::Result<()> {
        let described = u64::try_from(self.by_id.len()).unwrap_or(u64::MAX);
        if self.journal.records() < REWRITE_AFTER.max(described.saturating_mul(4)) {
            return Ok(());
        }
        let records = self.by_id.iter().map(|(id, state)| {
            serde_json::to_vec(&Change::Set {
                id: id.clone(),
                state: state.clone(),
            })
        });
        let records = records.collect::<Result<Vec<_>, _>>()?;
        self.journal.rewrite(&records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_being_opened_again_and_a_rewrite() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path(), Sync::Never).unwrap();
        let mut state = Transaction::unused(1);
        for round in 0..25_000 {
            state = state.with(&[("t".to_owned(), round % 3)], None, i64::from(round));
            store.set("a", &state).unwrap();
        }
        store.set("b", &state).unwrap();
        store.forget("b").unwrap();
        let length = std::fs::metadata(directory.path().join("transactions.journal"));
        assert!(length.unwrap().len() < 6_000 * 400);
        drop(store);
        let store = Store::open(directory.path(), Sync::Never).unwrap();
        assert_eq!(store.all().len(), 1);
        assert_eq!(store.all().get("a"), Some(&state));
    }
}
