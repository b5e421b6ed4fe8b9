//! What a failed statement may tell a log.

use std::fmt::Write;

use tokio_postgres::Error;

/// Describes an error without row values. The server's own message and detail quote them
/// ("Key (email)=(…) already exists"), and so does the library's text of the error: this names
/// SQLSTATE, table, column and constraint instead.
pub fn describe(error: &Error) -> String {
    let Some(server) = error.as_db_error() else {
        return crate::chain(error);
    };
    let mut text = format!("SQLSTATE {}", server.code().code());
    for (kind, name) in [
        ("table", server.table()),
        ("column", server.column()),
        ("constraint", server.constraint()),
    ] {
        if let Some(name) = name {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {kind} {name}");
        }
    }
    // The C function that raised it tells errors with one SQLSTATE apart.
    if let Some(routine) = server.routine() {
        let _ = write!(text, ", raised by {routine}");
    }
    text
}
