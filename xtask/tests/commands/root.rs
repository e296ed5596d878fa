//! `--root`: another workspace than the one that the program was built in.

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::Job;
use xshell::{Shell, cmd};

#[test]
fn another_workspace_is_worked_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = Utf8Path::from_path(dir.path()).context("a folder in UTF-8")?;
    std::fs::create_dir_all(root.join("manifests/suites"))?;
    std::fs::write(root.join("manifests/suites/shop.yaml"), "name: store\n")?;
    let sh = Shell::new()?;
    let program = env!("CARGO_BIN_EXE_xtask");
    for at in [cmd!(sh, "{program} --root {root} plan shop"), cmd!(sh, "{program} plan shop --root {root}")] {
        let out = Job::new(at.env("HOME", root)).output()?;
        assert!(!out.success() && out.tail.contains("manifests/suites/shop.yaml"), "{}", out.tail);
    }
    let out = Job::new(cmd!(sh, "{program} --root {root}/none plan shop").env("HOME", root)).output()?;
    assert!(out.tail.contains(&format!("looking for the workspace {root}/none")), "{}", out.tail);
    Ok(())
}
