use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context, Result};
use camino::Utf8Path;
use e2e_support::Cancel;
use testbed::fakes::Play;
use xtask::trials::Purpose;

use crate::support::{Stage, interrupt};

const REVISION: &str = "0123456789ab";

/// A stage with a trial that counts, one that is too long for a sample, and a measurement.
fn with_trials(verdict: &str) -> Result<Stage> {
    let stage = Stage::bare()?;
    stage.fake.on("git", "rev-parse *", Play::says(REVISION))?;
    let listing = "[ \"$1\" != --list ] || { printf -- '-\\t20\\none\\t60\\ntwo\\t60\\nthree\\t60\\n'; exit; }\n";
    let record =
        format!("echo \"counts $*\"; for each; do printf '%s\\t{verdict}\\tfound %s\\n' \"$each\" \"$each\"; done");
    let counts = format!(
        "#!/usr/bin/env bash\n# Trial: counts\n{listing}({record}) | while read -r line; do\ncase $line in counts*) echo \"$line\" ;; \
         *) echo \"$line\" >>target/trials/counts-{REVISION}.tsv ;; esac; done\n[ {verdict} = passed ]\n"
    );
    stage.write("scripts/counts.sh", &counts)?;
    let long = format!("#!/usr/bin/env bash\n# Trial: takes hours\n# Not sampled: it takes hours\n{listing}exit 1\n");
    stage.write("scripts/long.sh", &long)?;
    stage.write("scripts/race.sh", "#!/usr/bin/env bash\n# Measures: who is first\nexit 1\n")?;
    stage.write("scripts/help.sh", "# Sourced.\nexit 1\n")?;
    Ok(stage)
}

#[test]
fn what_there_is_is_listed_and_nothing_is_run() -> Result<()> {
    let stage = with_trials("passed")?;
    let ran = stage.xtask(&["trials", "--list"])?;
    ran.must(0, &["counts", "(3 cases, about 3 min)", "long", "race", "no trial: it measures who is first"]);
    assert!(!ran.text.contains("help") && !stage.paths.root.join("target/trials").exists(), "{}", ran.text);
    Ok(())
}

#[test]
fn a_sample_tells_what_it_did_not_run_and_why() -> Result<()> {
    let stage = with_trials("passed")?;
    let ran = stage.xtask(&["trials", "--sample", "--seed", "7"])?;
    let rest = "not run: the rest of counts: a sample of 90 s, seed 7";
    let race = "not run: race: no trial, it measures who is first";
    ran.must(0, &[rest, "not run: long: it takes hours", race, "1 passed, 0 failed; trials passed in"]);
    let same = stage.xtask(&["trials", "--sample", "--seed", "7"])?;
    let line = |text: &str| text.lines().find(|line| line.starts_with("counts ")).map(str::to_owned);
    assert_eq!(line(&same.text), line(&ran.text), "the same seed chooses the same");
    Ok(())
}

#[test]
fn one_that_fails_or_says_nothing_is_red_and_named() -> Result<()> {
    let stage = with_trials("failed")?;
    let words = ["failed: counts one: found one", "0 passed, 3 failed; trials failed in"];
    stage.xtask(&["trials", "counts"])?.must(1, &words);
    let stage = with_trials("passed")?;
    let words = ["3 passed, 3 failed; trials failed in", "failed: long one: it did not end", "failed: scripts/long.sh"];
    stage.xtask(&["trials"])?.must(1, &words);
    stage.xtask(&["trials", "cuonts"])?.must(2, &["no trial of the name cuonts", "did you mean `counts`?"]);
    stage.xtask(&["trials", "race"])?.must(2, &["race is no trial"]);
    Ok(())
}

#[test]
fn an_interrupted_trial_removes_what_it_made() -> Result<()> {
    let stage = with_trials("passed")?;
    let long = "#!/usr/bin/env bash\n# Trial: waits\n[ $1 != --list ] || { printf 'one\\t9\\n'; exit; }\n\
                trap 'exit 130' TERM\ntrap 'rm made' EXIT\necho >made\nsleep 1000\n";
    stage.write("scripts/counts.sh", long)?;
    let (log, made) = (stage.paths.root.with_file_name("said"), stage.paths.root.join("made"));
    let mut run = stage.start(&["trials"], &log)?;
    run.wait_until("the trial", Duration::from_secs(60), || made.exists())?;
    let ended = interrupt(run)?;
    let said = std::fs::read_to_string(&log)?;
    assert!(ended.contains("exit code 130") && !made.exists(), "{ended}\n{said}");
    assert!(said.contains("failed: counts one: it did not end") && said.contains("interrupted by SIGINT"), "{said}");
    assert!(said.contains("not run: long: stopped before it began"), "{said}");
    Ok(())
}

#[test]
fn every_script_of_this_workspace_says_what_it_is_for() -> Result<()> {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
    let scripts = xtask::trials::scripts(root)?;
    assert!(scripts.iter().any(|script| script.purpose == Purpose::Trial));
    for script in &scripts {
        if script.purpose == Purpose::Trial {
            let cases = script.cases(root, &Cancel::new())?;
            assert!(cases.cases.iter().all(|(_, seconds)| *seconds > 0.0), "{}: {cases:?}", script.name);
        }
    }
    // What can be started is one or the other.
    for entry in root.join(xtask::trials::FOLDER).read_dir_utf8()? {
        let entry = entry?;
        let starts = entry.file_type()?.is_file() && entry.metadata()?.permissions().mode() & 0o111 != 0;
        let known = scripts.iter().any(|script| entry.path().ends_with(script.path().file_name().unwrap_or_default()));
        assert_eq!(starts, known, "{}", entry.path());
    }
    Ok(())
}
