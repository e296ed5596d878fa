//! From a suite's name to a session whose workloads are processes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::clock::Instant;
use e2e_support::{Cancel, process};
use sha2::{Digest, Sha256};

use super::control::{self, Control};
use super::launch::{Launch, find_program, launches};
use super::local::Local;
use super::shared::{Folders, make_folder};
use super::supervisor::Supervisor;
use crate::build_mode::{Building, Choice};
use crate::error::WrongUsage;
use crate::hash::hex;
use crate::instance::{Files, Instance};
use crate::paths::Paths;
use crate::plan::{BuildMode, Manifests};
use crate::provision::Request;
use crate::setup::catalog::Catalog;
use crate::setup::host::Host;
use crate::setup::make::Workshop;
use crate::setup::piece;
use crate::setup::run::{Consent, ensure};
use crate::setup::survey::Wanted;
use crate::suite::Suite;
use crate::target::session::Session;

/// The pieces that a cluster's node is made of. Where they are there, they need not be made once more.
const OF_NODE: [&str; 2] = ["kubernetes", "etcd"];
/// The piece that has etcd, kube-apiserver and kubectl for this machine alone.
const CONTROL_PLANE: &str = "control-plane";
/// How long what was killed may take to let go of its files.
const LET_GO: Duration = Duration::from_secs(5);
/// How long the end of all processes may take.
const END: Duration = Duration::from_secs(60);

/// Sets the machine up if need be, and makes ready what the steps of `suite` work with. The caller holds the instance's
/// lock.
///
/// # Errors
/// When the machine cannot be set up, or the suite cannot run as processes.
pub fn open(paths: &Paths, suite: Suite, request: &Request, run_dir: Utf8PathBuf, cancel: &Cancel) -> Result<Session> {
    let manifests = Manifests::read(&paths.root, &suite)?;
    let launches = launches(&paths.root, &suite, &manifests)?;
    let workshop = set_up(paths, &suite, request, cancel)?;
    let programs = Programs::of(&workshop)?;
    let mut instance = Instance::of(paths, &suite)?;
    instance.files = files(&instance);
    remove_leftovers(&instance.files)?;
    let name = run_dir.file_name().context("the run's folder has no name")?;
    let work = folder_for(&launches, instance.files.dir.join(name), &format!("e2e-{}-{name}", instance.id()))?;
    process::remove_dir_at_exit(&work);
    let (logs, stage) = (run_dir.join("pods"), run_dir.join("stage/images"));
    let supervisor = Supervisor::new(launches, Folders { work: work.clone(), logs, stage })?;
    let control = Control::open(&work.join("control.sock"), &supervisor.shared)?;
    let ports = supervisor.node_ports();
    let kubectl = programs.kubectl.clone();
    let local = Local {
        supervisor,
        socket: control.path().to_owned(),
        control: Mutex::new(Some(control)),
        control_plane: Mutex::new(None),
        fingerprint: hex(&Sha256::digest(format!("{}\0{}", programs.etcd, programs.api_server))),
        etcd: programs.etcd,
        api_server: programs.api_server,
        ports,
        work,
    };
    let building = Building { mode: BuildMode::Host, zig: None };
    let session = Session::new(paths, suite, (workshop, building), instance, run_dir, Arc::new(local))?;
    Ok(Session { kubectl, ..session })
}

/// Puts in place what a run of `suite` as processes needs.
///
/// # Errors
/// When something that is needed is missing, and cannot or may not be put in place.
pub fn set_up(paths: &Paths, suite: &Suite, request: &Request, cancel: &Cancel) -> Result<Workshop> {
    if request.build == Choice::Container {
        let message = "--build container: what runs as processes is compiled on the host";
        return Err(WrongUsage(message.to_owned()).into());
    }
    ensure(paths, &wanted(paths, suite, request)?, Consent::of(request.yes), cancel)
}

/// What that is: no engine and no image.
///
/// # Errors
/// When the catalog cannot be read.
pub fn wanted(paths: &Paths, suite: &Suite, request: &Request) -> Result<Wanted> {
    let kubernetes = request.kubernetes.clone();
    let catalog = Catalog::read_for(&paths.root, kubernetes.as_deref())?;
    let host = Host::look();
    let keys = piece::keys(&paths.root, &catalog, host.arch)?;
    let is_there = |name: &str| -> Result<bool> {
        // Another project's catalog may know no node.
        let Ok(piece) = catalog.piece(name) else { return Ok(false) };
        Ok(piece::state(&paths.cache, None, piece, &keys[name], host.arch)?.is_there())
    };
    // Those are Linux' own.
    let has_node = cfg!(target_os = "linux") && is_there(OF_NODE[0])? && is_there(OF_NODE[1])?;
    let pieces: &[&str] = if has_node && !is_there(CONTROL_PLANE)? { &OF_NODE } else { &[CONTROL_PLANE] };
    let mut packages = BTreeMap::new();
    for (name, program) in suite.processes.iter().flat_map(|processes| &processes.programs) {
        if find_program(name, &program.folders).is_none() {
            packages.insert(program.debian.clone(), format!("the program {name}"));
        }
    }
    let pieces: BTreeSet<String> = pieces.iter().map(|name| (*name).to_owned()).collect();
    Ok(Wanted { engine: None, any_engine: false, pieces, packages, kubernetes })
}

/// The programs of an API server.
struct Programs {
    etcd: Utf8PathBuf,
    api_server: Utf8PathBuf,
    kubectl: Utf8PathBuf,
}

impl Programs {
    /// Those that the set-up has put in place.
    fn of(workshop: &Workshop) -> Result<Programs> {
        let own = workshop.folder(CONTROL_PLANE)?;
        let [kubernetes, etcd] = match own.exists() {
            true => [own.clone(), own],
            false => [workshop.folder(OF_NODE[0])?, workshop.folder(OF_NODE[1])?],
        };
        let program = |folder: &Utf8Path, name: &str| folder.join("bin").join(name);
        Ok(Programs {
            etcd: program(&etcd, "etcd"),
            api_server: program(&kubernetes, "kube-apiserver"),
            kubectl: program(&kubernetes, "kubectl"),
        })
    }
}

/// Where the files of an instance's processes are: a cluster of the instance, where there is one, keeps its own.
fn files(instance: &Instance) -> Files {
    Files { dir: instance.files.dir.with_file_name("processes") }
}

/// Has the command that keeps the instance's processes running end them, and waits until they are gone; returns whether
/// there is one.
///
/// # Errors
/// When they are still there after a minute.
pub fn end(instance: &Instance) -> Result<bool> {
    let files = files(instance);
    let Some(socket) = files.read().and_then(|run| run.control) else { return Ok(false) };
    if !control::tell_to_end(&socket) {
        return Ok(false);
    }
    let end = Instant::now() + END;
    while files.run_file().exists() {
        ensure!(Instant::now() < end, "the processes in {} are still there after {} s", files.dir, END.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

/// Removes what a command that was killed has left of the instance's processes; returns whether there was any of it. The
/// caller holds the instance's lock.
///
/// # Errors
/// When something of it stays.
pub fn forget(instance: &Instance) -> Result<bool> {
    let files = files(instance);
    let was_there = files.dir.exists();
    remove_leftovers(&files)?;
    Ok(was_there)
}

/// Removes what a run that was killed has left. Its processes have ended or end just now.
fn remove_leftovers(files: &Files) -> Result<()> {
    let end = Instant::now() + LET_GO;
    loop {
        match files.remove() {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(100)),
            removed => return removed,
        }
    }
}

/// Makes a folder that every process can get at: `wanted`, or, where one runs as another user who is kept out of the
/// folders above it, one of that name among the temporary files.
fn folder_for(launches: &[Launch], wanted: Utf8PathBuf, name: &str) -> Result<Utf8PathBuf> {
    let others = rustix::process::getuid().is_root() && launches.iter().any(|launch| launch.user.is_some());
    let is_open = |folder: &Utf8Path| folder.metadata().map_or(true, |meta| meta.permissions().mode() & 0o001 != 0);
    let folder = if others && !wanted.ancestors().all(is_open) {
        let temporary =
            Utf8PathBuf::try_from(std::env::temp_dir()).context("the folder for temporary files is not UTF-8")?;
        temporary.join(name)
    } else {
        wanted
    };
    make_folder(&folder)?;
    Ok(folder)
}
