//! A certificate for 127.0.0.1, which a server shows where a test wants TLS. Its authority signs nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const CA: &str = include_str!("../tls/ca.pem");
const CERTIFICATE: &str = include_str!("../tls/server.pem");
const KEY: &str = include_str!("../tls/server.key");

/// The files that a server and its clients read.
pub struct Tls {
    /// The authority's certificate: what a client has to trust.
    pub ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Tls {
    /// Writes them into a folder, for a user and a group where they are not to be this process's own.
    pub(crate) fn write(dir: &Path, owner: Option<(u32, u32)>) -> Result<Tls> {
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            let shown = || format!("writing {}", path.display());
            std::fs::write(&path, text).with_context(shown)?;
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).with_context(shown)?;
            if let Some((uid, gid)) = owner {
                std::os::unix::fs::chown(&path, Some(uid), Some(gid)).with_context(shown)?;
            }
            Ok::<_, anyhow::Error>(path)
        };
        Ok(Tls {
            ca: write("ca.pem", CA)?,
            certificate: write("server.pem", CERTIFICATE)?,
            key: write("server.key", KEY)?,
        })
    }
}
