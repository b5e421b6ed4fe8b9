//! The commits record: what makes a batch of transactions count.
//!
//! After Kafka has acknowledged every data record of a batch, capture writes one of these to the
//! commits topic. A data record counts only when a commits record covers it, so a half-published
//! batch is never seen, without Kafka transactions. The records form a chain by
//! `previous_commit_lsn`, and are the index by which replay finds an LSN.

use crate::Lsn;
use crate::avro::{DatumError, Reader, write_long, write_str};

/// The Avro schema of [`CommitRecord`].
pub const SCHEMA: &str = r#"{"type":"record","name":"Commit","namespace":"lockstep","fields":[{"name":"pipeline","type":"string"},{"name":"epoch","type":"long"},{"name":"system_id","type":"string"},{"name":"timeline","type":"long"},{"name":"slot","type":"string"},{"name":"previous_commit_lsn","type":"long"},{"name":"commit_lsn","type":"long"},{"name":"commit_time","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"kind","type":"string"},{"name":"transactions","type":{"type":"array","items":{"type":"record","name":"CommittedTransaction","fields":[{"name":"xid","type":"long"},{"name":"commit_lsn","type":"long"},{"name":"commit_time","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"changes","type":"long"}]}}},{"name":"partitions","type":{"type":"array","items":{"type":"record","name":"PartitionRange","fields":[{"name":"topic","type":"string"},{"name":"partition","type":"int"},{"name":"first_offset","type":"long"},{"name":"end_offset","type":"long"},{"name":"records","type":"long"}]}}},{"name":"sequences","type":{"type":"array","items":{"type":"record","name":"SequenceState","fields":[{"name":"schema","type":"string"},{"name":"name","type":"string"},{"name":"last_value","type":"long"}]}},"default":[]}]}"#;

/// One published batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    pub pipeline: String,
    /// Rises by one at every start of capture; a lower one is that of a dead writer.
    pub epoch: i64,
    /// `system_identifier` of the source: tells another cluster from this one.
    pub system_id: String,
    pub timeline: u32,
    pub slot: String,
    /// `commit_lsn` of the record before; [`Lsn::ZERO`] in the first.
    pub previous_commit_lsn: Lsn,
    /// Everything that committed up to here is in this record or in one before it. For a snapshot,
    /// the byte before the slot's consistent point.
    pub commit_lsn: Lsn,
    /// Microseconds since 1970-01-01 UTC, by the source's clock.
    pub commit_time: i64,
    pub kind: CommitKind,
    pub transactions: Vec<Transaction>,
    pub partitions: Vec<PartitionRange>,
    /// The sequences that have moved on since the record before, with what they had handed out when
    /// everything in this record had committed, or more.
    pub sequences: Vec<SequenceState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitKind {
    /// Whole transactions.
    Stream,
    /// Rows that the first snapshot read.
    SnapshotChunk,
    /// The snapshot's last record: from here on the target shows only states that the source had.
    SnapshotComplete,
    /// Nothing changed up to `commit_lsn`.
    Heartbeat,
}

/// A transaction of a batch, in commit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Zero for a message that is of no transaction: it counts as one of its own.
    pub xid: u32,
    pub commit_lsn: Lsn,
    /// Microseconds since 1970-01-01 UTC, by the source's clock.
    pub commit_time: i64,
    /// Records in the data topics.
    pub changes: u64,
}

/// Where a batch's records stand in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    pub topic: String,
    pub partition: i32,
    pub first_offset: i64,
    /// One past the last record's offset.
    pub end_offset: i64,
    /// How many records of the range are the batch's: a dead writer's may stand between them.
    pub records: u64,
}

/// How far a sequence is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceState {
    pub schema: String,
    pub name: String,
    pub last_value: i64,
}

/// Why a commits record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("read commits record")]
    Datum(#[from] DatumError),
    #[error("unknown kind of commits record {0:?}: it was written by a newer version")]
    Kind(String),
    #[error("{0} is out of range in a commits record")]
    Range(&'static str),
}

impl CommitKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::SnapshotChunk => "snapshot-chunk",
            Self::SnapshotComplete => "snapshot-complete",
            Self::Heartbeat => "heartbeat",
        }
    }

    fn parse(name: &str) -> Result<Self, CommitError> {
        [
            Self::Stream,
            Self::SnapshotChunk,
            Self::SnapshotComplete,
            Self::Heartbeat,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| CommitError::Kind(name.to_owned()))
    }
}

impl CommitRecord {
    /// Appends the datum.
    ///
    /// # Errors
    /// When a number does not fit Avro's 64-bit signed integers; no real log gets there.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), CommitError> {
        write_str(out, &self.pipeline);
        write_long(out, self.epoch);
        write_str(out, &self.system_id);
        write_long(out, self.timeline.into());
        write_str(out, &self.slot);
        write_lsn(out, self.previous_commit_lsn)?;
        write_lsn(out, self.commit_lsn)?;
        write_long(out, self.commit_time);
        write_str(out, self.kind.name());
        write_block(out, self.transactions.len())?;
        for transaction in &self.transactions {
            write_long(out, transaction.xid.into());
            write_lsn(out, transaction.commit_lsn)?;
            write_long(out, transaction.commit_time);
            write_long(out, signed(transaction.changes, "changes")?);
        }
        if !self.transactions.is_empty() {
            write_long(out, 0);
        }
        write_block(out, self.partitions.len())?;
        for range in &self.partitions {
            write_str(out, &range.topic);
            write_long(out, range.partition.into());
            write_long(out, range.first_offset);
            write_long(out, range.end_offset);
            write_long(out, signed(range.records, "records")?);
        }
        if !self.partitions.is_empty() {
            write_long(out, 0);
        }
        write_block(out, self.sequences.len())?;
        for sequence in &self.sequences {
            write_str(out, &sequence.schema);
            write_str(out, &sequence.name);
            write_long(out, sequence.last_value);
        }
        if !self.sequences.is_empty() {
            write_long(out, 0);
        }
        Ok(())
    }

    /// Reads a datum written with [`SCHEMA`], or with the one before it, which had no sequences.
    ///
    /// # Errors
    /// When the bytes are not such a datum.
    pub fn decode(datum: &[u8]) -> Result<Self, CommitError> {
        let mut reader = Reader::new(datum);
        let record = Self {
            pipeline: reader.str()?.to_owned(),
            epoch: reader.long()?,
            system_id: reader.str()?.to_owned(),
            timeline: narrow(reader.long()?, "timeline")?,
            slot: reader.str()?.to_owned(),
            previous_commit_lsn: read_lsn(&mut reader)?,
            commit_lsn: read_lsn(&mut reader)?,
            commit_time: reader.long()?,
            kind: CommitKind::parse(reader.str()?)?,
            transactions: read_array(&mut reader, read_transaction)?,
            partitions: read_array(&mut reader, read_range)?,
            sequences: match reader.is_at_end() {
                true => Vec::new(),
                false => read_array(&mut reader, read_sequence)?,
            },
        };
        reader.finish()?;
        Ok(record)
    }

    /// Records in the data topics that this record covers.
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(|range| range.records).sum()
    }
}

/// An array's item count; an empty array is the end mark alone.
fn write_block(out: &mut Vec<u8>, items: usize) -> Result<(), CommitError> {
    write_long(
        out,
        i64::try_from(items).map_err(|_| CommitError::Range("array length"))?,
    );
    Ok(())
}

fn write_lsn(out: &mut Vec<u8>, lsn: Lsn) -> Result<(), CommitError> {
    write_long(out, signed(lsn.as_u64(), "LSN")?);
    Ok(())
}

fn signed(number: u64, name: &'static str) -> Result<i64, CommitError> {
    i64::try_from(number).map_err(|_| CommitError::Range(name))
}

fn narrow<T: TryFrom<i64>>(number: i64, name: &'static str) -> Result<T, CommitError> {
    T::try_from(number).map_err(|_| CommitError::Range(name))
}

fn read_lsn(reader: &mut Reader<'_>) -> Result<Lsn, CommitError> {
    narrow(reader.long()?, "LSN").map(Lsn::new)
}

fn read_array<T>(
    reader: &mut Reader<'_>,
    item: impl Fn(&mut Reader<'_>) -> Result<T, CommitError>,
) -> Result<Vec<T>, CommitError> {
    let mut items = Vec::new();
    loop {
        let count = reader.block()?;
        if count == 0 {
            return Ok(items);
        }
        for _ in 0..count {
            items.push(item(reader)?);
        }
    }
}

fn read_transaction(reader: &mut Reader<'_>) -> Result<Transaction, CommitError> {
    Ok(Transaction {
        xid: narrow(reader.long()?, "xid")?,
        commit_lsn: read_lsn(reader)?,
        commit_time: reader.long()?,
        changes: narrow(reader.long()?, "changes")?,
    })
}

fn read_sequence(reader: &mut Reader<'_>) -> Result<SequenceState, CommitError> {
    Ok(SequenceState {
        schema: reader.str()?.to_owned(),
        name: reader.str()?.to_owned(),
        last_value: reader.long()?,
    })
}

fn read_range(reader: &mut Reader<'_>) -> Result<PartitionRange, CommitError> {
    Ok(PartitionRange {
        topic: reader.str()?.to_owned(),
        partition: narrow(reader.long()?, "partition")?,
        first_offset: reader.long()?,
        end_offset: reader.long()?,
        records: narrow(reader.long()?, "records")?,
    })
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::writer::datum::GenericDatumWriter;

    use super::*;

    fn record(transactions: u32, partitions: i32) -> CommitRecord {
        CommitRecord {
            pipeline: "lockstep".into(),
            epoch: 3,
            system_id: "7000000000000000001".into(),
            timeline: 1,
            slot: "lockstep".into(),
            previous_commit_lsn: Lsn::new(0x1000),
            commit_lsn: Lsn::new(0x2_0000_0000),
            commit_time: 1_700_000_000_000_000,
            kind: CommitKind::Stream,
            transactions: (0..transactions)
                .map(|xid| Transaction {
                    xid,
                    commit_lsn: Lsn::new(u64::from(xid) + 0x1001),
                    commit_time: 5,
                    changes: 2,
                })
                .collect(),
            partitions: (0..partitions)
                .map(|partition| PartitionRange {
                    topic: "lockstep.public.articles".into(),
                    partition,
                    first_offset: 10,
                    end_offset: 20,
                    records: 9,
                })
                .collect(),
            sequences: (0..partitions)
                .map(|number| SequenceState {
                    schema: "public".into(),
                    name: format!("s{number}"),
                    last_value: i64::MIN + i64::from(number),
                })
                .collect(),
        }
    }

    #[test]
    fn datums_are_those_of_the_reference_implementation() {
        let schema = Schema::parse_str(SCHEMA).unwrap();
        for record in [record(0, 0), record(1, 2), record(200, 3)] {
            let mut datum = Vec::new();
            record.encode(&mut datum).unwrap();
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            let value = reader.read_value(&mut &datum[..]).unwrap();
            let writer = GenericDatumWriter::builder(&schema).build().unwrap();
            assert_eq!(writer.write_value_to_vec(value).unwrap(), datum);
            assert_eq!(CommitRecord::decode(&datum).unwrap(), record);
        }
    }

    #[test]
    fn records_from_before_there_were_sequences_are_read() {
        let mut datum = Vec::new();
        record(1, 0).encode(&mut datum).unwrap();
        // The end mark of the sequences, of which there are none.
        assert_eq!(datum.pop(), Some(0));
        assert_eq!(CommitRecord::decode(&datum).unwrap(), record(1, 0));
    }

    #[test]
    fn leftover_bytes_are_an_error() {
        let mut datum = Vec::new();
        record(1, 1).encode(&mut datum).unwrap();
        datum.push(0);
        assert!(matches!(
            CommitRecord::decode(&datum),
            Err(CommitError::Datum(_))
        ));
    }
}
