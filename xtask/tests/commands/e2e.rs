use std::time::Duration;

use anyhow::Result;
use testbed::fakes::Play;

use crate::support::{Stage, interrupt};

const E2E: [&str; 3] = ["e2e", "shop", "--yes"];
/// What the specs' program does: tells of each spec, as far as its other lines let it.
const TELL: &str = r#"
tell() { printf '{"event":"%s","spec":"%s","outcome":"%s","message":"because"}\n' "$1" "$2" "$3" >>"$E2E_EVENTS"; }
end() { tell spec_started "$1" ''; tell spec_finished "$1" "$2"; }
"#;

/// A stage whose suite has two specs, which do that.
fn with_specs(body: &str) -> Result<Stage> {
    let list = r#"echo '{"event":"specs_listed","specs":["one","two"]}' >>"$E2E_EVENTS""#;
    with_program("one: test\ntwo: test", &format!("{list}\n{body}"))
}

/// A stage whose suite has a program of specs that lists these and, called to run them, does that.
pub(crate) fn with_program(list: &str, body: &str) -> Result<Stage> {
    let stage = Stage::new()?;
    let suite = std::fs::read_to_string(stage.paths.root.join("manifests/suites/shop.yaml"))?;
    let specs =
        "build: { packages: [shop-specs] }\nspecs: { package: shop-specs, binary: specs, needs: [], phase: all }\n";
    stage.write("manifests/suites/shop.yaml", &(suite + specs))?;
    // What is staged is a copy: it has to find the fake from anywhere.
    let program = stage.paths.root.with_file_name("specs");
    stage.write_program(&program, &format!("#!/bin/sh\nexec {} \"$@\"\n", stage.fake.program("specs")))?;
    stage.fake.on("specs", "*", Play::script(format!("{TELL}{body}")))?;
    stage.fake.on("specs", "--list", Play::says(list))?;
    stage.fake.on("specs", "--list --ignored", Play::says(""))?;
    let artifact = format!(
        r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/shop-specs#0.1.0","target":{{"kind":["bin"],"name":"specs"}},"executable":"{program}"}}"#
    );
    stage.fake.on("cargo", "build *", Play::says(artifact))?;
    stage.fake.on("cargo", "metadata *", Play::says(r#"{"packages": []}"#))?;
    Ok(stage)
}

#[test]
fn a_green_run_leaves_a_report_and_no_cluster() -> Result<()> {
    let stage = with_specs("end one passed; end two passed")?;
    stage.xtask(&E2E)?.must(0, &["2 passed; passed in"]);
    assert!(stage.fake.containers("podman").is_empty() && stage.fake.networks("podman").is_empty());
    for file in ["report.html", "events.jsonl", "junit.xml", "trace.json"] {
        assert!(stage.paths.root.join("target/e2e/shop/latest").join(file).is_file(), "{file}");
    }
    assert!(!stage.instance()?.files.dir.exists());
    Ok(())
}

#[test]
fn specs_that_fail_are_named_and_end_with_4() -> Result<()> {
    let stage = with_specs("end one passed; end two failed; exit 101")?;
    stage.xtask(&E2E)?.must(4, &["two", "because", "1 passed, 1 failed"]);
    assert!(stage.fake.containers("podman").is_empty());
    Ok(())
}

#[test]
fn specs_that_do_not_end_are_named_and_end_with_4() -> Result<()> {
    let stage = with_specs("end one passed; tell spec_started two ''; exit 0")?;
    let why = "did not end: the specs' program ended with exit code 0";
    stage.xtask(&E2E)?.must(4, &[&format!("spec two {why}"), "1 passed, 1 did not end; specs failed in"]);
    let stage = with_specs("end one passed; kill -s KILL $$")?;
    stage.xtask(&E2E)?.must(4, &["1 specs did not run: two", "ended with signal 9", "1 passed, 1 not run"]);
    Ok(())
}

#[test]
fn a_filter_that_lets_no_spec_through_ends_with_2_before_there_is_a_cluster() -> Result<()> {
    let stage = with_specs("end one passed; end two passed")?;
    stage.fake.on("kind", "create cluster *", Play::hangs())?;
    let words = ["--filter", "tow", "--reuse"];
    let ran = stage.xtask(&[&E2E[..], &words].concat())?;
    ran.must(2, &["wrong usage: --filter tow: none of the 2 specs has this in its name", "the nearest: two"]);
    assert!(!ran.text.contains("stays"), "{}", ran.text);
    assert!(stage.fake.containers("podman").is_empty());
    assert!(stage.fake.calls_of("specs")?.iter().all(|call| call.starts_with("--list")));
    Ok(())
}

#[test]
fn a_compile_error_leaves_no_half_made_cluster_whatever_was_to_be_kept() -> Result<()> {
    for option in ["--keep", "--reuse"] {
        let stage = with_specs("")?;
        stage.fake.on("kind", "create cluster *", Play::hangs())?;
        stage.fake.on("cargo", "build *", Play::fails(101, "error: no"))?;
        let ran = stage.xtask(&[&E2E[..], &[option]].concat())?;
        ran.must(3, &["step compile failed: error: no"]);
        assert!(!ran.text.contains("stays"), "{option}: {}", ran.text);
        assert!(!stage.instance()?.files.dir.exists(), "{option}");
    }
    Ok(())
}

#[test]
fn a_junit_report_is_written_however_the_run_ends_or_refused_before_it() -> Result<()> {
    let stage = with_specs("end one passed; end two passed")?;
    let path = stage.paths.root.join("not/there/junit.xml");
    let e2e = || stage.xtask(&[&E2E[..], &["--junit", path.as_str()]].concat());
    let report = || std::fs::read_to_string(&path);
    e2e()?.must(0, &["2 passed"]);
    assert_eq!(report()?.matches("<testcase").count(), 2 + 1 + 2, "{}", report()?);
    stage.fake.on("kind", "create cluster *", Play::fails(1, "no <space> left"))?;
    e2e()?.must(3, &["step cluster failed"]);
    assert!(report()?.contains("<error message=") && report()?.contains("no &lt;space&gt; left"), "{}", report()?);
    let latest = stage.paths.root.join("target/e2e/shop/latest").canonicalize_utf8()?;
    // Nor does it say anything of an older run where none could begin.
    stage.fake.remove("podman")?;
    stage.fake.remove("docker")?;
    e2e()?.must(3, &["the set-up failed: this machine cannot be set up"]);
    assert!(report()?.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{}", report()?);
    assert!(report()?.contains("podman: not on PATH"), "{}", report()?);
    assert_eq!(stage.paths.root.join("target/e2e/shop/latest").canonicalize_utf8()?, latest);
    let folder = stage.xtask(&[&E2E[..], &["--junit", stage.paths.root.as_str()]].concat())?;
    folder.must(2, &["the report cannot be written there"]);
    Ok(())
}

#[test]
fn a_run_whose_time_is_over_has_failed_and_was_not_interrupted() -> Result<()> {
    let stage = with_specs("end one passed; end two passed")?;
    stage.fake.on("kind", "create cluster *", Play::hangs())?;
    stage.xtask(&[&E2E[..], &["--timeout", "0"]].concat())?.must(3, &["the run's --timeout of 0 min has passed"]);
    Ok(())
}

#[test]
fn a_set_up_that_fails_ends_with_3_and_no_spec_runs() -> Result<()> {
    let stage = with_specs("end one passed; end two passed")?;
    stage.fake.on("kind", "create cluster *", Play::fails(1, "ERROR: failed to create cluster: no space left"))?;
    stage.xtask(&E2E)?.must(3, &["step cluster failed", "no space left"]);
    assert!(stage.fake.calls_of("specs")?.iter().all(|call| call.starts_with("--list")));
    // Nor where the machine is not fit.
    stage.fake.remove("podman")?;
    stage.fake.remove("docker")?;
    stage.xtask(&E2E)?.must(3, &["this machine cannot be set up", "podman: not on PATH"]);
    Ok(())
}

#[test]
fn a_compile_error_is_told_by_the_compilers_words() -> Result<()> {
    let stage = with_specs("")?;
    let said = "error[E0308]: mismatched types\n  --> shop/src/main.rs:67:21\nerror: could not compile `shop`";
    stage.fake.on("cargo", "build *", Play::fails(101, said))?;
    stage.xtask(&E2E)?.must(3, &["step compile failed: shop/src/main.rs:67:21: error[E0308]: mismatched types"]);
    assert!(stage.fake.containers("podman").is_empty());
    Ok(())
}

#[test]
fn a_deletion_that_fails_is_told_and_hides_no_verdict() -> Result<()> {
    for (body, code) in [("end one passed; end two passed", 1), ("end one passed; end two failed; exit 101", 4)] {
        let stage = with_specs(body)?;
        let name = format!("*{}", stage.instance()?.node());
        stage.fake.on("podman", &format!("rm {name}"), Play::fails(125, "Error: device or resource busy"))?;
        stage.xtask(&E2E)?.must(code, &["device or resource busy", "deleting the cluster"]);
        assert_eq!(stage.fake.containers("podman").len(), 1);
    }
    Ok(())
}

#[test]
fn a_cluster_that_is_kept_is_used_again() -> Result<()> {
    let stage = with_specs("end one passed; end two passed")?;
    stage.xtask(&["e2e", "shop", "--yes", "--reuse"])?.must(0, &["2 passed", "cargo xtask down shop"]);
    stage.xtask(&["e2e", "shop", "--yes", "--reuse"])?.must(0, &["2 passed"]);
    assert_eq!(stage.fake.calls_of("kind")?.len(), 1);
    // Without the option each run begins with a new one.
    stage.xtask(&E2E)?.must(0, &["replacing the cluster", "2 passed"]);
    assert!(stage.fake.containers("podman").is_empty());
    Ok(())
}

#[test]
fn an_interrupted_run_deletes_its_cluster_and_ends_with_130() -> Result<()> {
    let stage = with_specs("end one passed; exec sleep 1000")?;
    let log = stage.paths.root.with_file_name("said");
    let mut run = stage.start(&E2E, &log)?;
    let begun = || stage.fake.calls_of("specs").is_ok_and(|calls| calls.iter().any(|call| !call.starts_with("--list")));
    run.wait_until("the specs", Duration::from_secs(60), begun)?;
    let ended = interrupt(run)?;
    let said = std::fs::read_to_string(&log)?;
    assert!(ended.contains("exit code 130"), "{ended}\n{said}");
    assert!(said.contains("interrupted by SIGINT"), "{said}");
    assert!(stage.fake.containers("podman").is_empty(), "{said}");
    Ok(())
}

#[test]
fn what_cannot_run_as_processes_is_told_before_anything_is_done() -> Result<()> {
    let stage = with_specs("end one passed; end two passed")?;
    let on = ["e2e", "shop", "--yes", "--on", "processes"];
    stage.xtask(&[&on[..], &["--reuse"]].concat())?.must(2, &["--reuse: processes do not outlive the command"]);
    stage.xtask(&on)?.must(2, &["manifests/suites/shop.yaml:2:1: ", "the suite has no section `processes`"]);
    assert!(stage.fake.calls_of("kind")?.is_empty());
    Ok(())
}
