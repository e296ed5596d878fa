//! Why PostgreSQL did not take an event: because of the event, or for a reason that passes.

use std::fmt;

/// A write that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// One of the events is to blame; to try again cannot help.
    Event(String),
    /// Nothing is known to be wrong with the events. They may have been written all the same, if only
    /// the answer was lost.
    Outage(String),
    /// No connection was free in time; nothing was written.
    Busy,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Event(reason) | Failure::Outage(reason) => f.write_str(reason),
            Failure::Busy => f.write_str("no connection to PostgreSQL was free in time"),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        if blames_the_event(&error) { Failure::Event(error.to_string()) } else { Failure::Outage(error.to_string()) }
    }
}

/// Whether the event's values are what PostgreSQL refused: data exceptions (class 22), violated
/// constraints (23), and limits such as the size of an index row (54).
pub(super) fn blames_the_event(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    !lacks_partition(error) && code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

/// Whether there was no partition for a row: it has the code of a violated check, but no constraint.
pub(super) fn lacks_partition(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some("23514") && error.constraint().is_none())
}
