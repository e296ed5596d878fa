//! `--root`: another workspace than the one that the program was built in.

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::{Ended, Job};
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
    // Without `--root` it is the one that one stands in, also in a subfolder.
    let folder = root.join("shop/src");
    std::fs::create_dir_all(&folder)?;
    sh.change_dir(&folder);
    let out = Job::new(cmd!(sh, "{program} plan shop").env("HOME", root)).output()?;
    assert!(!out.success() && out.tail.contains("manifests/suites/shop.yaml"), "{}", out.tail);
    let out = Job::new(cmd!(sh, "{program} --root {root}/none plan shop").env("HOME", root)).output()?;
    let message = format!("--root {root}/none: there is no such folder");
    assert!(out.ended == Ended::Exited(2) && out.tail.contains(&message), "{}", out.tail);
    let out =
        Job::new(cmd!(sh, "{program} --root {root}/manifests/suites/shop.yaml check").env("HOME", root)).output()?;
    assert!(out.ended == Ended::Exited(2) && out.tail.contains("there is no such folder"), "{}", out.tail);
    Ok(())
}

#[test]
fn a_project_without_a_suite_is_scanned_where_that_is_asked_for() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = Utf8Path::from_path(dir.path()).context("a folder in UTF-8")?;
    for (file, text) in [(".git/HEAD", ""), ("shop/Dockerfile", "FROM a\nCOPY srcc /src\n"), ("shop/src/a", "")] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, text)?;
    }
    let sh = Shell::new()?;
    sh.change_dir(root.join("shop/src"));
    let program = env!("CARGO_BIN_EXE_xtask");
    let out = Job::new(cmd!(sh, "{program} check").env("HOME", root)).output()?;
    assert!(out.ended == Ended::Exited(2) && out.tail.contains("`check --scan` looks at"), "{}", out.tail);
    std::fs::create_dir_all(root.join("manifests"))?;
    std::fs::write(root.join("manifests/suites"), "")?;
    let out = Job::new(cmd!(sh, "{program} check").env("HOME", root)).output()?;
    assert!(out.ended == Ended::Exited(2) && out.tail.contains("Not a directory"), "{}", out.tail);
    std::fs::remove_file(root.join("manifests/suites"))?;
    std::fs::create_dir_all(root.join("manifests/suites"))?;
    std::fs::write(root.join("manifests/suites/kind.yml"), "kind: Cluster\n")?;
    std::fs::write(root.join("manifests/suites/shop.yml"), "name: shop\ncluster: {}\n")?;
    let out = Job::new(cmd!(sh, "{program} check").env("HOME", root)).output()?;
    let found = "manifests/suites/shop.yml: this suite is not read: its file has to end in .yaml";
    assert!(out.ended == Ended::Exited(2) && out.stdout.contains(found), "{}", out.stdout);
    assert!(!out.stdout.contains("kind.yml"), "{}", out.stdout);
    std::fs::remove_file(root.join("manifests/suites/shop.yml"))?;
    let out = Job::new(cmd!(sh, "{program} status shpo").env("HOME", root)).output()?;
    assert!(out.ended == Ended::Exited(2) && out.tail.contains("no suite of the name `shpo`"), "{}", out.tail);
    let out = Job::new(cmd!(sh, "{program} check --scan").env("HOME", root)).output()?;
    let (taken, found) = ("shop/Dockerfile: Dockerfile, context shop", "shop/Dockerfile:2:1: COPY srcc");
    assert!(
        out.ended == Ended::Exited(2) && out.stdout.contains(taken) && out.stdout.contains(found),
        "{}",
        out.stdout
    );
    let out = Job::new(cmd!(sh, "{program} check --scan --format json").env("HOME", root)).output()?;
    let told: serde_json::Value = serde_json::from_str(&out.stdout)?;
    assert_eq!(
        (&told["findings"][0]["id"], &told["taken"][0]["path"]),
        (&"copy-source".into(), &"shop/Dockerfile".into())
    );
    Ok(())
}
