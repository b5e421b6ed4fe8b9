//! From the messages of the stream to batches.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use change::Lsn;
use change::commit::CommitKind;
use change::envelope::{Head, Op, is_own_message};
use change::schema_change;
use service::Shutdown;
use service::postgres::Connection;

use crate::catalog::Shape;
use crate::encode::{self, Encoder, Record, Step, TablePlan};
use crate::error::Error;
use crate::goal::Goal;
use crate::horizon::Horizon;
use crate::kafka::{Kafka, Queued};
use crate::link::Link;
use crate::messages::Messages;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::publish::Batch;
use crate::resnapshot::{
    self, Chunk, Outcome, Resnapshot, Strays, Touch, Watermark, Window, answer,
};
use crate::schema_changes::SchemaChanges;
use crate::source::SlotName;
use crate::spool::Spool;
use crate::tables::{Acceptance, Tables};
use crate::transaction::{Collection, Novelty, OpenTransaction};
use crate::wire::copy::CopyDecoder;
use crate::wire::pgoutput::{self, Framing, Message, Timing};
use crate::wire::{Oid, PgTimestamp, Xid};

/// The prefix of the messages by which an idle source shows that it lives.
pub(crate) const HEARTBEAT_PREFIX: &str = "lockstep.heartbeat";

/// Everything that the messages of one stream change.
pub(crate) struct Capture {
    pub slot: SlotName,
    pub epoch: i64,
    pub kafka: Arc<Kafka>,
    pub encoder: Arc<Encoder>,
    pub tables: Tables,
    pub client: Connection,
    pub link: Link,
    pub spool: Spool,
    pub shutdown: Shutdown,
    pub metrics: Metrics,
    pub progress: Progress,
    /// Up to where everything counts already, or was handed over.
    pub published: Lsn,
    /// The batch that is being filled.
    pub batch: Batch,
    /// Up to where everything was received, be it anything or not.
    pub horizon: Horizon,
    /// The transaction that is open in the stream.
    pub transaction: Option<OpenTransaction>,
    /// The transaction in progress whose part is arriving.
    pub segment: Option<Xid>,
    pub schema_changes: SchemaChanges,
    pub messages: Messages,
    /// Tables that are read once more.
    pub resnapshot: Resnapshot,
    /// Where the stream ends, if it does.
    pub goal: Goal,
}

impl Capture {
    /// The batch to hand over now, if there is one: it has only whole transactions.
    pub(crate) fn take_batch(&mut self, now: Instant) -> Option<Batch> {
        if self.transaction.is_some() {
            return None;
        }
        let batch = match self.batch.is_empty() {
            true => {
                let batch = heartbeat(self.horizon.take(self.published, now)?);
                self.metrics
                    .received_commit_time
                    .set_time(batch.commit_time);
                batch
            }
            false => {
                self.horizon.stir(now);
                std::mem::replace(&mut self.batch, Batch::new(CommitKind::Stream))
            }
        };
        self.published = batch.commit_lsn;
        Some(batch)
    }

    /// When a heartbeat is due, if the source has sent more than what is published.
    pub(crate) fn heartbeat_due(&self) -> Option<Instant> {
        let waits = self.transaction.is_none() && self.batch.is_empty();
        self.horizon.due(self.published).filter(|_| waits)
    }

    /// The source has sent everything before `sent_lsn`, and would have sent what committed there.
    pub(crate) fn quiet(&mut self, sent_lsn: Lsn) {
        let sent_lsn = self.goal.within(sent_lsn);
        self.progress.quiet(sent_lsn);
        if self.transaction.is_none() {
            self.passed(sent_lsn);
        }
    }

    /// All that committed before `lsn` has come.
    fn passed(&mut self, lsn: Lsn) {
        self.goal.passed(lsn);
        self.horizon.rise(self.goal.within(lsn).just_before());
    }

    /// Whether the stream has come to its end, and all of it counts or is on its way.
    pub(crate) fn has_ended(&self) -> bool {
        self.goal.is_reached() && self.batch.is_empty()
    }

    /// Takes one message of the stream, which the source sent at `sent_at`.
    pub(crate) async fn handle(&mut self, data: &[u8], sent_at: PgTimestamp) -> Result<(), Error> {
        if self.goal.is_reached() {
            // The next stream brings it.
            return Ok(());
        }
        let framing = match self.segment {
            Some(_) => Framing::InStream,
            None => Framing::Plain,
        };
        let framed = pgoutput::decode(data, framing)?;
        match (self.segment, framed.message) {
            (Some(_), Message::StreamStop) => self.segment = None,
            (Some(xid), message) => {
                let writer = writer_of(&message).or(framed.xid).unwrap_or(xid);
                self.spool.append(xid, writer, data).await?;
            }
            (None, message) => self.control(message, sent_at).await?,
        }
        Ok(())
    }

    /// Takes a message from outside of streamed parts.
    async fn control(&mut self, message: Message<'_>, sent_at: PgTimestamp) -> Result<(), Error> {
        match message {
            Message::Begin(begin) if self.goal.passed(begin.final_lsn) => {}
            Message::StreamCommit(commit) if self.goal.passed(commit.commit_lsn) => {}
            Message::Begin(begin) => self.begin(begin.xid, begin.final_lsn, begin.commit_time),
            Message::Commit(commit) => self.commit(commit.end_lsn),
            Message::StreamStart(start) => self.segment = Some(start.xid),
            Message::StreamAbort(abort) => self.spool.abort(abort.xid, abort.subxid)?,
            Message::StreamCommit(commit) => {
                self.begin(commit.xid, commit.commit_lsn, commit.commit_time);
                self.replay(commit.xid).await?;
                self.commit(commit.end_lsn);
            }
            Message::LogicalMessage(message) if message.timing == Timing::Immediate => {
                match message.prefix {
                    // The message's LSN is its end, where the next record may be a commit.
                    HEARTBEAT_PREFIX => self.passed(message.lsn),
                    prefix if is_own_message(prefix) => {}
                    _ if self.goal.passed(message.lsn.just_before()) => {}
                    _ => self.message_alone(&message, sent_at).await?,
                }
            }
            Message::StreamStop => return Err(self.out_of_order("StreamStop")),
            Message::BeginPrepare(_)
            | Message::Prepare(_)
            | Message::CommitPrepared(_)
            | Message::RollbackPrepared(_)
            | Message::StreamPrepare(_) => return Err(Error::TwoPhase),
            change => self.change(change).await?,
        }
        Ok(())
    }

    /// Takes again, now that it has committed, what came while the transaction was in progress.
    async fn replay(&mut self, xid: Xid) -> Result<(), Error> {
        let mut messages = self.spool.commit(xid)?;
        while let Some(data) = messages.next().await? {
            let framed = pgoutput::decode(&data, Framing::InStream)?;
            self.change(framed.message).await?;
            self.link.keep_alive(self.progress.flush_lsn()).await?;
        }
        Ok(())
    }

    /// Takes a message that describes or changes data.
    async fn change(&mut self, message: Message<'_>) -> Result<(), Error> {
        match message {
            Message::Relation(relation) => {
                let shape = Shape::from(&relation);
                match shape.table.is_bookkeeping() {
                    true => self.tables.pass_over(shape.oid),
                    false => self.described(shape).await?,
                }
            }
            Message::Insert(insert) => {
                if let Some(plan) = self.tables.plan_of(insert.relation)? {
                    let step = encode::inserted(&insert.new);
                    if step.op == Op::Update {
                        let why = "a row came into the filter without its large values";
                        self.read_again(insert.relation, why, Strays::Stay, None)
                            .await?;
                    }
                    self.publish(insert.relation, &plan, &step).await?;
                }
            }
            Message::Update(update) => {
                if let Some(plan) = self.tables.plan_of(update.relation)? {
                    let (first, second) = encode::update(&plan, update.old.as_ref(), &update.new);
                    self.publish(update.relation, &plan, &first).await?;
                    if let Some(second) = second {
                        self.publish(update.relation, &plan, &second).await?;
                    }
                }
            }
            Message::Delete(delete) => {
                if let Some(plan) = self.tables.plan_of(delete.relation)? {
                    let step = encode::delete(&delete.old);
                    self.publish(delete.relation, &plan, &step).await?;
                }
            }
            Message::Truncate(truncate) => {
                for oid in truncate.relations {
                    if let Some(plan) = self.tables.plan_of(oid)? {
                        let step = encode::truncation();
                        self.publish(oid, &plan, &step).await?;
                    }
                }
            }
            Message::LogicalMessage(message) if message.prefix == resnapshot::PREFIX => {
                self.watermark(message.content).await?;
            }
            Message::LogicalMessage(message) if message.prefix == schema_change::MESSAGE_PREFIX => {
                self.schema_change(message.content).await?;
            }
            Message::LogicalMessage(message) if !is_own_message(message.prefix) => {
                self.message(&message).await?;
            }
            // Types are looked up in the catalog; where a change came from first is not replicated.
            Message::Type(_) | Message::Origin(_) | Message::LogicalMessage(_) => {}
            Message::Begin(_)
            | Message::Commit(_)
            | Message::StreamStart(_)
            | Message::StreamStop
            | Message::StreamCommit(_)
            | Message::StreamAbort(_)
            | Message::BeginPrepare(_)
            | Message::Prepare(_)
            | Message::CommitPrepared(_)
            | Message::RollbackPrepared(_)
            | Message::StreamPrepare(_) => return Err(self.out_of_order("control message")),
        }
        Ok(())
    }

    fn begin(&mut self, xid: Xid, commit_lsn: Lsn, commit_time: PgTimestamp) {
        self.resnapshot.begun(xid);
        self.open(Some(xid), commit_lsn, commit_time);
    }

    /// What is published from here to [`Self::commit`] belongs together.
    pub(crate) fn open(&mut self, xid: Option<Xid>, commit_lsn: Lsn, commit_time: PgTimestamp) {
        self.progress.begun();
        let transaction =
            OpenTransaction::new(xid, commit_lsn, commit_time, self.published, now_ms());
        self.transaction = Some(transaction);
    }

    pub(crate) fn commit(&mut self, end_lsn: Lsn) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        // Commits come in their order. A keepalive says the same, but need not come: the source sends
        // none to who has just reported that it received this.
        self.horizon.rise(end_lsn.just_before());
        let time = transaction.commit_time();
        self.metrics.received_commit_time.set_time(time);
        if transaction.is_empty() {
            self.progress.skipped(end_lsn);
        } else {
            self.batch.committed(transaction.summary(), end_lsn);
        }
    }

    /// Takes note of how a table looks from here on.
    pub(crate) async fn described(&mut self, shape: Shape) -> Result<(), Error> {
        let shape = self.tables.by_present_name(shape);
        if self.tables.is_news(&shape) {
            self.resnapshot.altered(shape.oid);
        }
        let (oid, table) = (shape.oid, shape.table.clone());
        if let Some(reason) = self.tables.refusal_of(&table) {
            self.tables.leave_out(oid);
            return self.tell_refusal(&table, reason).await;
        }
        match self.learn(shape, Acceptance::Compatible).await? {
            Ok(learned) => self.observe(oid, learned).await,
            Err(reason) => self.refuse(oid, table, reason).await,
        }
    }

    /// Takes a mark of a table that is read once more.
    async fn watermark(&mut self, content: &[u8]) -> Result<(), Error> {
        match Watermark::read(content, &self.slot) {
            Some(Watermark::Low {
                token,
                table,
                doubt,
            }) => self.resnapshot.open(token, table, doubt),
            Some(Watermark::High { token }) => {
                if let Some((window, chunk)) = self.resnapshot.close(token) {
                    self.chunk(&window, chunk).await?;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Publishes the rows of a chunk that are not older than what the stream has brought, as changes
    /// of the transaction that is open.
    async fn chunk(&mut self, window: &Window, chunk: Chunk) -> Result<(), Error> {
        if let Some(why) = window.refuses(&chunk) {
            answer(chunk.outcome, why.into());
            return Ok(());
        }
        let Some(transaction) = &self.transaction else {
            return Err(self.out_of_order("watermark"));
        };
        let commit_lsn = transaction.commit_lsn();
        let table = chunk.shape.table.clone();
        let oid = chunk.shape.oid;
        if self.tables.refusal_of(&table).is_some() || chunk.strays == Strays::Go {
            return self.accept(chunk).await;
        }
        let plan = match self.learn(chunk.shape, Acceptance::Asked).await? {
            Ok(learned) => learned.plan,
            Err(reason) => {
                answer(chunk.outcome, Outcome::Refused(reason.clone()));
                return self.refuse(oid, table, reason).await;
            }
        };
        let mut rows = CopyDecoder::default();
        for part in &chunk.data {
            rows.push(part);
            loop {
                let row = rows.next_tuple().map_err(|source| Error::Chunk {
                    table: table.clone(),
                    source,
                })?;
                let Some(row) = row else { break };
                let mut step = encode::insert(Op::Read, &row);
                if !window.is_untouched() && !merge(window, &plan, &mut step, commit_lsn)? {
                    continue;
                }
                self.publish(oid, &plan, &step).await?;
            }
        }
        let word = Outcome::Published {
            owing: self.resnapshot.owes(chunk.is_last),
        };
        match self
            .transaction
            .as_ref()
            .is_some_and(OpenTransaction::is_empty)
        {
            true => answer(chunk.outcome, word),
            false => self.resnapshot.sent(commit_lsn, word, chunk.outcome),
        }
        Ok(())
    }

    pub(crate) async fn publish(
        &mut self,
        oid: Oid,
        plan: &Arc<TablePlan>,
        step: &Step<'_>,
    ) -> Result<(), Error> {
        let Some(transaction) = &mut self.transaction else {
            return Err(self.out_of_order("change"));
        };
        if transaction.novelty() == Novelty::Repeated {
            return Ok(());
        }
        let commit_lsn = transaction.commit_lsn();
        let meta = transaction.next_record(self.epoch, Collection::Table(oid));
        let time_ms = transaction.commit_time_ms();
        let encode_error = |source| Error::Encode { commit_lsn, source };
        let prepared = encode::prepare(plan, step).map_err(encode_error)?;
        self.resnapshot.touch(oid, prepared.key(), step);
        if self.resnapshot.heeds_moves(oid)
            && let (Some(before), Some(to)) = (resnapshot::left_behind(step), prepared.key())
        {
            let from = encode::key(plan, before).map_err(encode_error)?;
            self.resnapshot.moved(&from, to);
        }
        let record = self
            .encoder
            .encode(&prepared, &meta)
            .map_err(encode_error)?;
        self.send(&plan.topic, &record, meta.head(), time_ms).await
    }

    /// Sends a record whose place is `head`, in parts where it is longer than one may be.
    pub(crate) async fn send(
        &mut self,
        topic: &str,
        record: &Record<'_>,
        head: Head,
        time_ms: i64,
    ) -> Result<(), Error> {
        let commit_lsn = head.position.commit_lsn;
        let encode_error = |source| Error::Encode { commit_lsn, source };
        let cut = self.encoder.limit.cut(record, head).map_err(encode_error)?;
        let Some(cut) = cut else {
            return self.queue(topic, record, time_ms).await;
        };
        if let Some(transaction) = &mut self.transaction {
            transaction.prolong(cut.parts() - 1);
        }
        for part in cut {
            self.queue(topic, &part.map_err(encode_error)?, time_ms)
                .await?;
        }
        Ok(())
    }

    /// Queues a record. While Kafka does not take it the source hears from us all the same.
    pub(crate) async fn queue(
        &mut self,
        topic: &str,
        record: &Record<'_>,
        time_ms: i64,
    ) -> Result<(), Error> {
        loop {
            let queued = self
                .kafka
                .records
                .send(topic, record, time_ms, &self.batch.tracker);
            if queued.map_err(Error::Send)? == Queued::Yes {
                break;
            }
            if self.shutdown.is_requested() {
                return Err(Error::Stopped);
            }
            self.kafka.space().await;
            self.link.keep_alive(self.progress.flush_lsn()).await?;
        }
        self.batch.records += 1;
        Ok(())
    }

    pub(crate) fn out_of_order(&self, message: &'static str) -> Error {
        Error::OutOfOrder {
            slot: self.slot.clone(),
            message,
        }
    }
}

/// Who wrote a message that says so itself. Of those that `pg_logical_emit_message` writes, pgoutput
/// names the transaction only, and not the subtransaction that may be rolled back.
fn writer_of(message: &Message<'_>) -> Option<Xid> {
    match message {
        Message::LogicalMessage(message) if message.prefix == schema_change::MESSAGE_PREFIX => {
            schema_change::writer(message.content).map(Xid)
        }
        _ => None,
    }
}

/// Sets a row that was read against what the stream has brought of it. False: the stream has it.
fn merge<'a>(
    window: &'a Window,
    plan: &TablePlan,
    read: &mut Step<'a>,
    commit_lsn: Lsn,
) -> Result<bool, Error> {
    let Some(row) = &mut read.after else {
        return Ok(false);
    };
    let key = encode::key(plan, row).map_err(|source| Error::Encode { commit_lsn, source })?;
    match window.touch_of(&key) {
        None => Ok(true),
        Some(Touch::Whole) => Ok(false),
        Some(Touch::Part(values)) => {
            for (column, value) in row.iter_mut().zip(values) {
                *column = value.over(*column);
            }
            Ok(true)
        }
    }
}

/// Nothing but that everything up to `lsn` is there.
fn heartbeat(lsn: Lsn) -> Batch {
    Batch {
        commit_lsn: lsn,
        commit_time: now_ms().saturating_mul(1000),
        end_lsn: lsn,
        ..Batch::new(CommitKind::Heartbeat)
    }
}

/// Milliseconds since 1970-01-01 UTC, by our clock.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
