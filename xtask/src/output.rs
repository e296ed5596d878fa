//! What commands print. Nothing here fails or panics: a terminal that was closed or a reader that has gone must not keep
//! a command from cleaning up.
//!
//! The library's own `print!`, `println!`, `eprint!` and `eprintln!` lead here (`lib.rs`).

use std::fmt;
use std::io::{self, Write as _};
use std::sync::OnceLock;

/// Why standard output could not be written to, the first time.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes to standard output.
pub fn out(text: fmt::Arguments<'_>) {
    keep(io::stdout().lock().write_fmt(text));
}

/// Writes to standard output, and sees to it that it gets there.
pub fn out_bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    keep(stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// Writes to standard error. Where that cannot be written to nobody is left to be told.
pub fn err(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Whether whoever read standard output has gone away (`… | head`): what only prints has no reason to go on.
pub fn reader_is_gone() -> bool {
    LOST.get().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Why some of what was printed is lost, a reader that has gone aside: a full disk, say.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get().filter(|_| !reader_is_gone())
}

fn keep(written: io::Result<()>) {
    if let Err(error) = written {
        let _ = LOST.set(error);
    }
}
