//! The replication connection to the source.
//!
//! ```text
//! Session::connect ─▶ Session ── identify_system, create_slot, drop_slot
//!                        │ start_replication
//!                        ▼
//!                     ReplicationStream ── next, status, finish
//! ```
//!
//! A walsender either takes commands or streams, so each state has its own type. What the messages
//! mean is [`crate::wire`]'s affair; this module moves bytes, authenticates and says what a failure
//! asks of the caller ([`SourceError`]).

mod slot;
pub use slot::{CreatedSlot, SlotLife, SlotName, SlotNameError};

mod settled;
pub use settled::has_settled;

mod session;
pub use session::{Session, SystemIdentity};

mod startup;

mod command;

mod stream;
pub use stream::{Event, ReplicationStream, XLogMessage};

mod connection;

mod refusal;

mod error;
pub use error::{AuthenticationFault, ServerError, SourceError};
