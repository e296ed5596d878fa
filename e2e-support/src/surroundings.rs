//! What of the surroundings of this process its children do not get, and where they leave what is read back.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Which repository and index git works on, as git tells its hooks (`git rev-parse --local-env-vars`). A git that is
/// started in a folder is to find that folder's.
const GIT: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// How docker builds and pulls where no flag says so: images of another architecture, a builder without build contexts,
/// output that nobody can read.
const DOCKER: [&str; 3] = ["BUILDKIT_PROGRESS", "DOCKER_BUILDKIT", "DOCKER_DEFAULT_PLATFORM"];

/// The folder for temporary files.
const TEMPORARY: &str = "TMPDIR";

/// Takes these out of the environment of `command`, save where it sets one itself, and a folder for temporary files that
/// is not there.
pub(crate) fn keep_out(command: &mut Command) {
    for name in GIT.into_iter().chain(DOCKER) {
        if !sets(command, name) {
            command.env_remove(name);
        }
    }
    // The tools have a folder for temporary files of their own where none is named.
    let is_missing = std::env::var_os(TEMPORARY).is_some_and(|folder| !Path::new(&folder).is_dir());
    if is_missing && !sets(command, TEMPORARY) {
        command.env_remove(TEMPORARY);
    }
}

/// Lets `command` speak English, save where it chooses itself: its words are read by a program.
pub(crate) fn speak_english(command: &mut Command) {
    if !sets(command, "LC_ALL") {
        command.env("LC_ALL", "C");
    }
}

fn sets(command: &Command, name: &str) -> bool {
    command.get_envs().any(|(key, _)| key == name)
}

/// A file without a name for what a child prints; in memory where the system has such files, so that a missing or full
/// folder for temporary files loses no error.
///
/// # Errors
/// Where it cannot be made, with the folder and the variable that names it.
pub(crate) fn spool() -> Result<File> {
    #[cfg(target_os = "linux")]
    if let Ok(file) = rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC) {
        return Ok(file.into());
    }
    tempfile::tempfile().with_context(|| {
        format!("making a temporary file in {} (TMPDIR names the folder)", std::env::temp_dir().display())
    })
}
