//! Why PostgreSQL did not take an event: because of the event, or for a reason that passes.

use std::fmt;

/// A write, or a read, that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// One of the events is to blame; to try again cannot help.
    Event(String),
    /// The server works, and refuses. That may heal if somebody mends the database, or never.
    Refused(String),
    /// The server cannot be used. The events may have been written all the same, if only the answer was lost.
    Outage(String),
    /// The server works, but it had no connection free, or no time. Nothing was written.
    Busy(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Event(reason) | Failure::Refused(reason) | Failure::Outage(reason) | Failure::Busy(reason)) =
            self;
        f.write_str(reason)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        let reason = error.to_string();
        match &error {
            sqlx::Error::Database(refusal) if !lacks_partition(&error) => {
                of_code(refusal.code().as_deref().unwrap_or_default())(reason)
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Failure::Busy(reason),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Failure::Outage(reason)
            }
            _ => Failure::Refused(reason),
        }
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_code(code: &str) -> fn(String) -> Failure {
    let is_one_of = |beginnings: &[&str]| beginnings.iter().any(|beginning| code.starts_with(beginning));
    // Data exceptions, violated constraints, limits such as the size of an index row, and what triggers raise.
    if is_one_of(&["22", "23", "44", "54", "P0"]) {
        Failure::Event
    // A deadlock or another conflict, a lock that others hold, a statement that took too long.
    } else if is_one_of(&["40", "55P03", "57014"]) {
        Failure::Busy
    // Connection, login, no disk or memory, starting or stopping, its disk's errors, a stand-by that only reads.
    } else if is_one_of(&["08", "28", "3D", "53", "57", "58", "25006"]) {
        Failure::Outage
    } else {
        Failure::Refused
    }
}

/// Whether the event's values are what PostgreSQL refused.
pub(super) fn blames_the_event(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    !lacks_partition(error) && code.is_some_and(|code| matches!(of_code(&code)(String::new()), Failure::Event(_)))
}

/// Whether there was no partition for a row: it has the code of a violated check, but no constraint.
pub(super) fn lacks_partition(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some("23514") && error.constraint().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_code_says() {
        for (code, expected) in [
            ("22P05", "Event"),
            ("23505", "Event"),
            ("54000", "Event"),
            ("P0001", "Event"),
            ("40P01", "Busy"),
            ("55P03", "Busy"),
            ("57014", "Busy"),
            ("57P01", "Outage"),
            ("57P03", "Outage"),
            ("53100", "Outage"),
            ("08006", "Outage"),
            ("25006", "Outage"),
            ("42P01", "Refused"),
            ("42501", "Refused"),
            ("25P02", "Refused"),
            ("XX000", "Refused"),
            ("", "Refused"),
        ] {
            let found = format!("{:?}", of_code(code)(String::new()));
            assert!(found.starts_with(expected), "{code}: {found}");
        }
    }
}
