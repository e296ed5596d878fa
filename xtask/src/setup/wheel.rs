//! Wheels, the packages of Python's index: zips, of which some have nothing but a program inside. Nothing of Python is
//! needed for them; where pip is there, it gets them by the index, the proxies and the certificates that it is set up
//! with. Their content is pinned either way.

use std::time::Duration;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Cancel, Job};
use xshell::{Shell, cmd};

use super::catalog::Source;
use super::make::go_on;

/// A download with all its tries.
const DOWNLOAD: Duration = Duration::from_secs(600);
const UNZIP: Duration = Duration::from_secs(300);
/// What pip is called.
const PIP: [&str; 2] = ["pip3", "pip"];

fn pip() -> Option<&'static str> {
    PIP.into_iter().find(|name| which::which(name).is_ok())
}

/// Whether there is a pip that may get the file.
pub(super) fn pip_has(source: &Source) -> bool {
    source.pip.is_some() && pip().is_some()
}

/// Has pip get the file into the folder `to`; none where there is no pip, or it does not get it: that is in the log.
/// Neither the system nor its cache of packages is changed.
///
/// # Errors
/// When the work was told to stop, or the folder cannot be written to.
pub(super) fn by_pip(source: &Source, to: &Utf8Path, log: &Utf8Path, cancel: &Cancel) -> Result<Option<Utf8PathBuf>> {
    let (Some(wanted), Some(pip)) = (&source.pip, pip()) else { return Ok(None) };
    let requirement = to.join("requirement.txt");
    crate::disk::write(&requirement, format!("{wanted} --hash=sha256:{}\n", source.sha256))?;
    let options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir"];
    let exactly = ["--no-deps", "--only-binary", ":all:", "--require-hashes"];
    let sh = Shell::new()?;
    let words = ["--requirement", requirement.as_str(), "--dest", to.as_str()];
    let download = cmd!(sh, "{pip} download").args(options).args(exactly).args(words);
    let downloaded = Job::new(download).deadline(DOWNLOAD).log(log).cancel(cancel).run();
    go_on(cancel)?;
    if downloaded.is_err() {
        return Ok(None);
    }
    for entry in to.read_dir_utf8().with_context(|| format!("listing {to}"))? {
        let path = entry.with_context(|| format!("listing {to}"))?.into_path();
        if path.extension() == Some("whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Unpacks a zip into a folder.
///
/// # Errors
/// When it cannot be read, or the folder cannot be written to.
pub(super) fn unzip(zip: &Utf8Path, to: &Utf8Path, log: &Utf8Path, cancel: &Cancel) -> Result<()> {
    let sh = Shell::new()?;
    let unzip = cmd!(sh, "unzip -q -o {zip} -d {to}");
    Job::new(unzip).deadline(UNZIP).log(log).cancel(cancel).run().with_context(|| format!("unpacking {zip}"))
}
