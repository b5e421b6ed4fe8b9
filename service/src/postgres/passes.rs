//! Which failures of a statement pass by themselves.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Whether the same statement can succeed later without anybody mending anything.
pub fn passes(error: &Error) -> bool {
    let Some(code) = error.code() else {
        // The connection broke. What it was that we sent is not at fault: the server would have said
        // so.
        return true;
    };
    // Classes and codes of the manual, Appendix A: connection exception, transaction rollback
    // (serialization failure, deadlock), insufficient resources (disk full, out of memory, too many
    // connections), operator intervention (shutdown, cancelled), system error.
    let class = ["08", "40", "53", "57", "58"];
    let codes = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::OBJECT_IN_USE,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    class.iter().any(|class| code.code().starts_with(class)) || codes.contains(code)
}
