//! Doing the jobs: statements with a row's values as parameters, and COPY.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::{Client, CopyInSink};

use super::flight::{Failed, Flight, Purpose};
use super::image::Image;
use super::job::{Job, JobRow, Way, copy_to_stage};
use super::statements::{Statements, Work};
use crate::decode::Value;
use crate::statement::{Columns, TableStatement};

/// Sends what one stage needs.
pub(super) async fn send<'a>(
    flight: &mut Flight<'a>,
    client: &'a Client,
    statements: &'a Statements,
    work: &'a Work<'a>,
) -> Result<(), Failed<'a>> {
    match work {
        Work::Truncate { first, sql } => {
            let truncate = async move { client.batch_execute(sql).await.map(|()| 1) };
            flight.send(Purpose::Change(first), truncate).await?;
        }
        Work::Jobs(jobs) => {
            for job in jobs {
                send_job(flight, client, statements, job).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn send_job<'a>(
    flight: &mut Flight<'a>,
    client: &'a Client,
    statements: &'a Statements,
    job: &'a Job<'a>,
) -> Result<(), Failed<'a>> {
    let Some(first) = job.rows.first() else {
        return Ok(());
    };
    match &job.way {
        Way::Each(statement) => {
            let prepared = statements.get(job.plan, statement.clone());
            for row in &job.rows {
                for _ in 0..row.times {
                    let images = parameters(job, statement, row);
                    let execute = client.execute_raw(prepared, images);
                    flight.send(job.purpose(row, 1), execute).await?;
                }
            }
        }
        Way::Copy => {
            let purpose = Purpose::Change(first.change);
            // What failed before is the cause, not that COPY is refused after it.
            flight.land().await?;
            let copied = copy(client, statements, job, TableStatement::Copy, None).await;
            copied.map_err(|error| Failed { purpose, error })?;
        }
        Way::Stage { columns, then } => {
            let total = job.rows.iter().map(|row| row.times).sum();
            let purpose = job.purpose(first, total);
            let columns = columns.as_ref();
            flight.land().await?;
            let copied = copy(client, statements, job, copy_to_stage(columns), columns).await;
            copied.map_err(|error| Failed { purpose, error })?;
            for (purpose, statement) in [
                (purpose, then.clone()),
                (Purpose::Change(first.change), TableStatement::ClearStage),
            ] {
                let prepared = statements.get(job.plan, statement);
                let execute = client.execute_raw(prepared, [] as [Image<'_>; 0]);
                flight.send(purpose, execute).await?;
            }
        }
    }
    Ok(())
}

impl<'a> Job<'a> {
    fn purpose(&self, row: &JobRow<'a>, rows: u64) -> Purpose<'a> {
        match self.of_rows_there {
            true => Purpose::RowsThere {
                change: row.change,
                rows,
            },
            false => Purpose::Change(row.change),
        }
    }
}

fn parameters<'a>(job: &Job<'a>, statement: &TableStatement, row: &JobRow<'a>) -> Vec<Image<'a>> {
    let TableStatement::Patch(marked) = statement else {
        return row.row.values().map(Image::from).collect();
    };
    let set = row.row.values().zip(marked).filter(|(_, set)| **set);
    let mut images: Vec<Image<'a>> = set.map(|(value, _)| Image::from(value)).collect();
    match row.key {
        Some(key) => images.extend(key.values().map(Image::from)),
        None => {
            let columns = job.plan.relation.columns.iter().zip(row.row.values());
            let key = columns.filter(|(column, _)| column.in_key);
            images.extend(key.map(|(_, value)| Image::from(value)));
        }
    }
    images
}

/// Signature, flags and header extension (manual, "COPY", "Binary Format").
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COPY_TRAILER: i16 = -1;
/// Large enough that the cost of a message does not show.
const COPY_MESSAGE_BYTES: usize = 64 * 1024;

/// Copies the rows of `job`: all that they have, or the marked columns of it.
async fn copy<'a>(
    client: &'a Client,
    statements: &'a Statements,
    job: &Job<'a>,
    statement: TableStatement,
    columns: Option<&Columns>,
) -> Result<(), tokio_postgres::Error> {
    let is_counted = statement == TableStatement::CopyCounted;
    let prepared = statements.get(job.plan, statement);
    let sink = client.copy_in(prepared).await?;
    let mut copy = CopyIn {
        sink: Box::pin(sink),
        out: BytesMut::with_capacity(COPY_MESSAGE_BYTES * 2),
    };
    let fields = job.rows.first().map_or(0, |row| row.row.values().count());
    // Of a deleted row only the key is known, and it is copied as it is.
    let marked = columns.filter(|columns| columns.len() == fields && columns.contains(&false));
    copy.out.put_slice(COPY_HEADER);
    for (number, row) in (0..).zip(&job.rows) {
        if is_counted {
            copy.counted(fields, row, number).await?;
        } else {
            for _ in 0..row.times {
                copy.tuple(fields, row, marked).await?;
            }
        }
    }
    copy.out.put_i16(COPY_TRAILER);
    copy.flush().await?;
    copy.sink.as_mut().finish().await?;
    Ok(())
}

/// Rows on their way in messages of bounded size, however long the rows are.
struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    out: BytesMut,
}

impl CopyIn {
    async fn tuple(
        &mut self,
        fields: usize,
        row: &JobRow<'_>,
        marked: Option<&Columns>,
    ) -> Result<(), tokio_postgres::Error> {
        let Some(marked) = marked else {
            self.out.put_i16(field_count(fields));
            return self.put(row.row.fields()).await;
        };
        let count = marked.iter().filter(|marked| **marked).count();
        self.out.put_i16(field_count(count));
        let values = row.row.values().zip(marked);
        for (value, _) in values.filter(|(_, marked)| **marked) {
            match value {
                Value::Image(image) => {
                    let length = i32::try_from(image.len()).expect("no image is longer than 2 GB");
                    self.out.put_i32(length);
                    self.put(image).await?;
                }
                Value::Null | Value::Unchanged => self.out.put_i32(-1),
            }
        }
        Ok(())
    }

    /// A whole row, a number that tells it from others, and how many of it.
    async fn counted(
        &mut self,
        fields: usize,
        row: &JobRow<'_>,
        number: i64,
    ) -> Result<(), tokio_postgres::Error> {
        self.out.put_i16(field_count(fields + 2));
        self.put(row.row.fields()).await?;
        let times = i64::try_from(row.times).unwrap_or(i64::MAX);
        for long in [number, times] {
            self.out.put_i32(8);
            self.out.put_i64(long);
        }
        Ok(())
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), tokio_postgres::Error> {
        for piece in bytes.chunks(COPY_MESSAGE_BYTES) {
            self.out.put_slice(piece);
            if self.out.len() >= COPY_MESSAGE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), tokio_postgres::Error> {
        self.sink.send(self.out.split().freeze()).await
    }
}

fn field_count(columns: usize) -> i16 {
    i16::try_from(columns).expect("a table has at most 1600 columns")
}
