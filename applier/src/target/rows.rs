//! Doing the jobs: statements with a row's values as parameters, and COPY.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Client;

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
        Work::Truncate { first, tables } => {
            let sql = format!("truncate {}", tables.join(", "));
            let truncate = async move { client.batch_execute(&sql).await.map(|()| 1) };
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
    let mut sink = std::pin::pin!(sink);
    let fields = job.rows.first().map_or(0, |row| row.row.values().count());
    // Of a deleted row only the key is known, and it is copied as it is.
    let marked = columns.filter(|columns| columns.len() == fields && columns.contains(&false));
    let mut out = BytesMut::with_capacity(COPY_MESSAGE_BYTES * 2);
    out.put_slice(COPY_HEADER);
    for (number, row) in (0..).zip(&job.rows) {
        if is_counted {
            put_counted(&mut out, fields, row, number);
        } else {
            for _ in 0..row.times {
                put_tuple(&mut out, fields, row, marked);
            }
        }
        if out.len() >= COPY_MESSAGE_BYTES {
            sink.send(out.split().freeze()).await?;
        }
    }
    out.put_i16(COPY_TRAILER);
    let last: Bytes = out.freeze();
    sink.send(last).await?;
    sink.finish().await?;
    Ok(())
}

fn put_tuple(out: &mut BytesMut, fields: usize, row: &JobRow<'_>, marked: Option<&Columns>) {
    let Some(marked) = marked else {
        out.put_i16(field_count(fields));
        out.put_slice(row.row.fields());
        return;
    };
    out.put_i16(field_count(marked.iter().filter(|marked| **marked).count()));
    let values = row.row.values().zip(marked);
    for (value, _) in values.filter(|(_, marked)| **marked) {
        match value {
            Value::Image(image) => {
                out.put_i32(i32::try_from(image.len()).expect("no image is longer than 2 GB"));
                out.put_slice(image);
            }
            Value::Null | Value::Unchanged => out.put_i32(-1),
        }
    }
}

/// A whole row, a number that tells it from others, and how many of it.
fn put_counted(out: &mut BytesMut, fields: usize, row: &JobRow<'_>, number: i64) {
    out.put_i16(field_count(fields + 2));
    out.put_slice(row.row.fields());
    let times = i64::try_from(row.times).unwrap_or(i64::MAX);
    for long in [number, times] {
        out.put_i32(8);
        out.put_i64(long);
    }
}

fn field_count(columns: usize) -> i16 {
    i16::try_from(columns).expect("a table has at most 1600 columns")
}
