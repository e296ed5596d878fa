//! `check`: its formats, comments that allow something, edits in place, and looking again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;

use crate::support::{Stage, interrupt};

const SUITE: &str = "\
name: shop
phases: [all]
cluster: {name: shop, config: kind.yaml, node: node, phase: all}
manifests: [{name: shop, files: [shop.yaml], phase: all}]
";
const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  automountServiceAccountToken: false
  containers:
    - name: shop
      image: r.example/shop:1
      imagePullPolcy: Always  # as the registry has it
      securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true}
      env:
        - {name: LEVEL, value: 1}
        - {name: STORE, value: \"http://stor\"}
";

fn stage() -> Result<Stage> {
    let stage = Stage::bare()?;
    stage.write("manifests/suites/shop.yaml", SUITE)?;
    stage.write("shop.yaml", POD)?;
    Ok(stage)
}

#[test]
fn what_has_one_right_answer_is_mended_and_nothing_else_is_changed() -> Result<()> {
    let stage = stage()?;
    stage.xtask(&["check"])?.must(2, &["error[schema]: shop.yaml:9:7:", "check found 3 errors, 0 warnings"]);
    let ran = stage.xtask(&["check", "--fix"])?;
    ran.must(
        2,
        &["shop.yaml:9: imagePullPolcy → imagePullPolicy", "shop.yaml:12: 1 → \"1\"", "error[service]", "1 error"],
    );
    let mended = POD.replace("PullPolcy", "PullPolicy").replace("value: 1", "value: \"1\"");
    assert_eq!(std::fs::read_to_string(stage.paths.root.join("shop.yaml"))?, mended);
    Ok(())
}

#[test]
fn comments_allow_what_is_meant() -> Result<()> {
    let stage = stage()?;
    let allowed = |comment: &str| {
        POD.replace("PullPolcy", "PullPolicy")
            .replace("value: 1", "value: '1'")
            .replace("        - {name: STORE", &format!("{comment}        - {{name: STORE"))
    };
    for (comment, code, expected) in [
        ("        # check: allow service another team brings it\n", 0, "shop: nothing that would go wrong"),
        ("        # check: allow service\n", 0, "warning[allow]: shop.yaml:13:9: it says no reason"),
        (
            "        # check: allow servce it is there\n",
            2,
            "warning[allow]: shop.yaml:13:9: no class of mistakes has the id `servce` (did you mean",
        ),
        (
            "        # check: allow port it is there\n",
            2,
            "warning[allow]: shop.yaml:13:9: nothing of `port` is found in line 14",
        ),
    ] {
        stage.write("shop.yaml", &allowed(comment))?;
        stage.xtask(&["check"])?.must(code, &[expected]);
    }
    // What a named suite does not use another one may.
    stage.write("shop.yaml", &allowed("        # check: allow port it is there\n"))?;
    let ran = stage.xtask(&["check", "shop"])?;
    assert!(!ran.text.contains("[allow]"), "{}", ran.text);
    Ok(())
}

#[test]
fn findings_for_other_programs() -> Result<()> {
    let stage = stage()?;
    let ran = stage.xtask(&["check", "--format", "sarif"])?;
    let text = ran.text.split("\nerror: ").next().unwrap_or_default();
    let sarif: serde_json::Value = serde_json::from_str(text).with_context(|| ran.text.clone())?;
    assert_eq!((&sarif["version"], sarif["runs"][0]["results"].as_array().map(Vec::len)), (&"2.1.0".into(), Some(3)));
    stage.xtask(&["check", "--format", "github"])?.must(2, &["::error file=shop.yaml,line=9,col=7,title=schema::"]);
    Ok(())
}

#[test]
fn it_looks_again_when_a_file_changes() -> Result<()> {
    let stage = stage()?;
    let log = stage.paths.root.parent().context("a folder")?.join("watched");
    let run = stage.start(&["check", "--watch"], &log)?;
    wait_for(&log, "[schema]: shop.yaml:9:7:")?;
    stage.write(
        "shop.yaml",
        &POD.replace("PullPolcy", "PullPolicy").replace("value: 1", "value: '1'").replace("http://stor", ""),
    )?;
    wait_for(&log, "nothing that would go wrong was found")?;
    interrupt(run)?;
    Ok(())
}

/// Waits until a running command has said this.
fn wait_for(log: &Utf8Path, text: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if std::fs::read_to_string(log).unwrap_or_default().contains(text) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{text:?} is not said within a minute: {}", std::fs::read_to_string(log).unwrap_or_default())
}
