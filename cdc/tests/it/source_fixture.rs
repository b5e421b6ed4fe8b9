//! A database with a publication, and what reads from it.

use std::time::Duration;

use cdc::source::{
    Event, ReplicationStream, Session, SlotLife, SlotName, SourceError, XLogMessage,
};
use cdc::wire::pgoutput::{Framed, Framing, Message, decode};
use change::Lsn;
use service::postgres::Dsn;
use testkit::postgres::{Connection, Database};

/// Longer than any answer of a server on this machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Fixture {
    pub(crate) database: Database,
    pub(crate) client: Connection,
    pub(crate) slot: SlotName,
}

impl Fixture {
    /// On the shared server; `sql` makes the tables, all of which are published.
    pub(crate) async fn new(sql: &str) -> Self {
        Self::on(testkit::postgres::database().await, sql).await
    }

    pub(crate) async fn on(database: Database, sql: &str) -> Self {
        let client = database.client().await;
        client.batch_execute(sql).await.unwrap();
        let publication = "create publication everything for all tables";
        client.batch_execute(publication).await.unwrap();
        Self {
            slot: testkit::name::unique().parse().unwrap(),
            database,
            client,
        }
    }

    pub(crate) fn dsn(&self) -> Dsn {
        self.database.dsn().parse().unwrap()
    }

    pub(crate) async fn session(&self) -> Session {
        within(Session::connect(&self.dsn())).await.unwrap()
    }

    pub(crate) async fn create_slot(&self) {
        let mut session = self.session().await;
        within(session.create_slot(&self.slot, SlotLife::Permanent))
            .await
            .unwrap();
    }

    /// Streams from the slot's confirmed position.
    pub(crate) async fn stream(&self) -> ReplicationStream {
        let session = self.session().await;
        self.start(session).await.unwrap()
    }

    pub(crate) async fn start(&self, session: Session) -> Result<ReplicationStream, SourceError> {
        within(session.start_replication(&self.slot, Lsn::ZERO, &["everything".to_owned()])).await
    }
}

/// The next message of the output plugin.
pub(crate) async fn next_message(
    stream: &mut ReplicationStream,
) -> Result<XLogMessage, SourceError> {
    loop {
        match within(stream.next()).await? {
            Event::XLogMessage(message) => return Ok(message),
            Event::Keepalive(_) => {}
        }
    }
}

/// Decodes messages and knows which of them stand in a stream.
pub(crate) struct Decoder {
    framing: Framing,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            framing: Framing::Plain,
        }
    }
}

impl Decoder {
    pub(crate) fn decode<'a>(&mut self, message: &'a XLogMessage) -> Framed<'a> {
        let framed = decode(&message.data, self.framing).unwrap();
        match framed.message {
            Message::StreamStart(_) => self.framing = Framing::InStream,
            Message::StreamStop => self.framing = Framing::Plain,
            _ => {}
        }
        framed
    }
}

/// Fails rather than hangs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("an answer in time")
}
