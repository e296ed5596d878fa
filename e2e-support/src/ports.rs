//! Ports of this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Ports are chosen from here on…
const FIRST: u32 = 15_000;
/// …so many: below the NodePorts, and below those that systems give to outgoing connections (Linux from 32768 on, macOS
/// from 49152 on), of which one would take a port that was free a moment ago.
const COUNT: u32 = 15_000;

/// How many have been looked at by this process: no port is chosen twice.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

/// A listener on a port of 127.0.0.1 that nobody else has, and that this process has not had before.
///
/// # Errors
/// When the system has none.
pub fn listen() -> Result<TcpListener> {
    // Processes that choose at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(97) % COUNT;
    for _ in 0..COUNT {
        let number = FIRST + (begin + LOOKED_AT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let port = u16::try_from(number).context("choosing a port")?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port on 127.0.0.1")
}

/// A port of 127.0.0.1 that nobody listens on at the moment. Another process may take it before it is used.
///
/// # Errors
/// As [`listen`].
pub fn free() -> Result<u16> {
    Ok(listen()?.local_addr().context("asking a listener for its port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_chosen_once_and_no_outgoing_connection_gets_it() {
        let ports: std::collections::BTreeSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|port| (15_000..30_000).contains(port)), "{ports:?}");
    }
}
