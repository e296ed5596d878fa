//! The CRD files and the Rust types say the same.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use camino::{Utf8Path, Utf8PathBuf};
use e2e_support::{Ended, Finished, Job};
use xshell::{Shell, cmd};

const FILE: &str = "kubernaut.ai_remediationrequests.yaml";

fn crds(args: &[&str]) -> Finished {
    let (shell, program) = (Shell::new().unwrap(), env!("CARGO_BIN_EXE_crds"));
    Job::new(cmd!(shell, "{program} {args...}")).output().unwrap()
}

#[test]
fn the_committed_files_are_what_the_types_say() {
    let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/crds");
    let finished = crds(&["--out", folder.as_str(), "--check"]);
    assert!(finished.success(), "{}", finished.tail);
}

#[test]
fn a_drifted_file_is_named_with_its_first_differing_line() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Utf8PathBuf::from_path_buf(dir.path().join("crds")).unwrap();
    let missing = crds(&["--check", "--out", folder.as_str()]);
    assert_eq!(missing.ended, Ended::Exited(1));
    assert!(missing.tail.contains(FILE) && missing.tail.contains("cargo xtask crds"), "{}", missing.tail);
    assert!(crds(&["--out", folder.as_str()]).success());
    assert!(crds(&["--out", folder.as_str(), "--check"]).success(), "what it writes is what it wants");
    let text = std::fs::read_to_string(folder.join(FILE)).unwrap();
    let line = text.lines().position(|line| line.ends_with("- rr")).unwrap() + 1;
    for changed in [text.replace("- rr\n", "- rq\n"), text.lines().take(line - 1).collect::<Vec<_>>().join("\n")] {
        std::fs::write(folder.join(FILE), &changed).unwrap();
        let finished = crds(&["--out", folder.as_str(), "--check"]);
        assert_eq!(finished.ended, Ended::Exited(1));
        assert!(finished.tail.contains(&format!("{FILE}:{line}: differs")), "{}", finished.tail);
        assert_eq!(std::fs::read_to_string(folder.join(FILE)).unwrap(), changed, "a check changes nothing");
    }
}

#[test]
fn what_it_does_not_know_is_refused() {
    for args in [&["--outt", "x"][..], &["--out"][..]] {
        let finished = crds(args);
        assert_eq!(finished.ended, Ended::Exited(1));
        assert!(finished.tail.contains("usage:"), "{}", finished.tail);
    }
}
