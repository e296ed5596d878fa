//! Ports of this machine.

use std::net::TcpListener;

use anyhow::{Context, Result};

/// A port of 127.0.0.1 that nobody listens on at the moment. Another process may take it before it is used.
///
/// # Errors
/// When the system has none.
pub fn free() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port on 127.0.0.1")?;
    Ok(listener.local_addr().context("asking a listener for its port")?.port())
}
