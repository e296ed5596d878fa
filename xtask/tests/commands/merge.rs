//! `e2e --partition`, `merge` and `times`: a suite in shards, from its runs to one verdict.

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;

use crate::e2e::with_program;
use crate::support::Stage;

const LIST: &str = "one: test\ntwo: test\n[alone] three: test\n[alone] four: test";
/// A program that runs what it is not told to skip. In the file `$red` of its folder are those that fail.
const OBEDIENT: &str = r#"
code=0
for spec in one two three four; do
  case " $* " in *" --skip $spec "*) continue ;; esac
  case " $(cat "$home/red" 2>/dev/null) " in *" $spec "*) end $spec failed; code=101 ;; *) end $spec passed ;; esac
done
exit $code
"#;

fn shards() -> Result<Stage> {
    with_program(LIST, OBEDIENT)
}

/// Runs a shard, and puts a copy of its run's folder where an artifact would be unpacked.
fn shard(stage: &Stage, partition: &str, more: &[&str], code: i32) -> Result<Utf8PathBuf> {
    let words = ["e2e", "shop", "--yes", "--partition", partition];
    stage.xtask(&[&words[..], more].concat())?.must(code, &[]);
    let latest = stage.paths.root.join("target/e2e/shop/latest").canonicalize_utf8()?;
    let copy = stage.paths.root.join("shards").join(partition.replace('/', "-of-"));
    std::fs::create_dir_all(&copy)?;
    for file in latest.read_dir_utf8()? {
        let file = file?;
        if file.file_type()?.is_file() {
            std::fs::copy(file.path(), copy.join(file.file_name()))?;
        }
    }
    // Each began on a machine of its own.
    std::fs::remove_dir_all(latest.parent().context("a folder in a folder")?)?;
    Ok(copy)
}

/// Which specs have run.
fn ran(stage: &Stage) -> Result<Vec<String>> {
    let calls = stage.fake.calls_of("specs")?;
    Ok(calls.into_iter().filter(|call| !call.starts_with("--list")).collect())
}

#[test]
fn two_shards_run_each_spec_once_and_are_one_verdict() -> Result<()> {
    let stage = shards()?;
    let one = shard(&stage, "1/2", &[], 0)?;
    let two = shard(&stage, "2/2", &["--jobs", "2", "--retries", "1"], 0)?;
    // Those that run alone are spread.
    let calls = ran(&stage)?;
    assert_eq!(calls.iter().filter(|call| call.contains("--skip three")).count(), 1, "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.contains("--skip four")).count(), 1, "{calls:?}");
    let junit = stage.paths.root.join("out/junit.xml");
    let merge = stage.xtask(&["merge", one.as_str(), two.as_str(), "--junit", junit.as_str()])?;
    merge.must(
        0,
        &["shard 1/2  passed in", "shard 2/2  passed in", "4 passed; passed", "target/e2e/shop/merged/report.html"],
    );
    let xml = std::fs::read_to_string(&junit)?;
    assert_eq!((xml.matches("classname=\"shop.specs\"").count(), xml.matches("<error").count()), (4, 0), "{xml}");
    let merged = stage.paths.root.join("target/e2e/shop/merged");
    assert_eq!(std::fs::read_to_string(merged.join("junit.xml"))?, xml);
    assert!(std::fs::read_to_string(merged.join("report.html"))?.contains("shop, 2 shards: 4 passed; passed"));
    // What was merged is no run of the suite.
    stage.xtask(&["status"])?.must(0, &["nothing has run yet"]);

    let alone = stage.xtask(&["merge", two.as_str(), "--to", "elsewhere"]);
    alone?.must(4, &["shard 1/2: its run is not among the folders", "specs did not run:", "elsewhere/report.html"]);
    let _ = std::fs::remove_dir_all("elsewhere");
    let twice = stage.xtask(&["merge", one.as_str(), two.as_str(), one.as_str(), "--junit", junit.as_str()])?;
    twice.must(2, &["shard 1/2 is there twice"]);
    assert!(std::fs::read_to_string(&junit)?.contains("shard 1/2 is there twice"));
    stage.xtask(&["merge", stage.paths.root.as_str()])?.must(2, &["it is no run's folder"]);
    stage.xtask(&["merge"])?.must(2, &["<DIR>..."]);
    Ok(())
}

#[test]
fn a_red_shard_and_one_that_was_killed_make_a_red_whole() -> Result<()> {
    let stage = shards()?;
    std::fs::write(stage.fake.dir().join("red"), "four")?;
    let calls = ["1/2", "2/2"].map(|partition| {
        let words = ["e2e", "shop", "--yes", "--partition", partition];
        stage.xtask(&words).map(|ran| ran.text.contains("spec four failed: because"))
    });
    let red: Vec<bool> = calls.into_iter().collect::<Result<_>>()?;
    assert_eq!(red.iter().filter(|red| **red).count(), 1);
    let (one, two) = match red[0] {
        true => (shard(&stage, "1/2", &[], 4)?, shard(&stage, "2/2", &[], 0)?),
        false => (shard(&stage, "1/2", &[], 0)?, shard(&stage, "2/2", &[], 4)?),
    };
    let merge = || stage.xtask(&["merge", one.as_str(), two.as_str()]);
    merge()?.must(4, &["spec four failed: because", "3 passed, 1 failed; specs failed"]);
    // The last events of one get lost with its machine.
    for folder in [&one, &two] {
        let events = folder.join("events.jsonl");
        let text = std::fs::read_to_string(&events)?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("run-finished")).collect();
        std::fs::write(&events, lines[..lines.len() - 1].join("\n") + "\n")?;
    }
    merge()?.must(4, &["shard 1/2: its run was killed", "shard 2/2: its run was killed", "specs failed"]);
    Ok(())
}

#[test]
fn shards_are_split_by_a_file_of_times_that_runs_are_written_into() -> Result<()> {
    let stage = shards()?;
    stage.xtask(&["times", "shop"])?.must(2, &["names no file of times", "--to FILE"]);
    let suite = std::fs::read_to_string(stage.paths.root.join("manifests/suites/shop.yaml"))?;
    stage.write("manifests/suites/shop.yaml", &suite.replace("binary: specs,", "binary: specs, times: times.yaml,"))?;
    stage.xtask(&["times", "shop"])?.must(1, &["no spec passed in the 0 runs of suite shop"]);
    let shard_of = |partition: &str| stage.xtask(&["e2e", "shop", "--yes", "--partition", partition]);
    shard_of("1/2")?
        .must(2, &["specs.times of the suite: times.yaml: cannot read it", "`cargo xtask times shop` writes it"]);
    stage.xtask(&["e2e", "shop", "--yes"])?.must(0, &["4 passed"]);
    stage.xtask(&["times", "shop"])?.must(0, &["times.yaml: 4 specs, 2 of them alone, from 1 runs"]);
    let times = std::fs::read_to_string(stage.paths.root.join("times.yaml"))?;
    assert!(
        times.contains("  \"four\": { ms: 50, alone: true }") || times.contains("  \"four\": { ms: 100, alone: true }"),
        "{times}"
    );

    // Those that run alone first, one for each; then the others, the longest first.
    let one = "specs:\n  one: { ms: 60000 }\n  two: { ms: 1000 }\n  three: { ms: 1000, alone: true }\n  four: { ms: 1000, alone: true }\n";
    stage.write("times.yaml", one)?;
    let first = shard(&stage, "1/2", &[], 0)?;
    let second = shard(&stage, "2/2", &[], 0)?;
    assert_eq!(ran(&stage)?[1..], ["--exact --skip two --skip three", "--exact --skip one --skip four"]);
    // The same specs, by another file.
    stage.write("other.yaml", &one.replace("60000", "61000"))?;
    let other = stage.paths.root.join("other.yaml");
    let third = shard(&stage, "2/2", &["--times", other.as_str()], 0)?;
    assert_eq!(second, third);
    let merge = stage.xtask(&["merge", first.as_str(), second.as_str()])?;
    merge.must(4, &["it was split by another file of times than other shards"]);
    // Shards tell their times, too, and a whole run is no part of any.
    stage
        .xtask(&["times", "shop", first.as_str(), second.as_str()])?
        .must(0, &["4 specs, 2 of them alone, from 2 runs"]);
    stage.write("times.yaml", "specs: [one]\n")?;
    shard_of("1/2")?.must(2, &["times.yaml:1:8"]);
    Ok(())
}

#[test]
fn a_wrong_partition_ends_with_2_and_says_what_is_right() -> Result<()> {
    let stage = shards()?;
    for (partition, told) in [
        ("0/2", "invalid value '0/2' for '--partition <K/N>': shards are counted from 1"),
        ("3/2", "the last one of 2 shards is 2/2"),
        ("a/b", "which shard of how many is two numbers, as in 1/2"),
        ("1/0", "there have to be shards"),
    ] {
        stage.xtask(&["e2e", "shop", "--partition", partition])?.must(2, &[told]);
    }
    stage.xtask(&["e2e", "shop", "--times", "times.yaml"])?.must(2, &["--partition <K/N>"]);
    let missing = ["e2e", "shop", "--partition", "1/2", "--times", "/none.yaml"];
    stage.xtask(&missing)?.must(2, &["--times: /none.yaml: cannot read it"]);
    assert!(stage.fake.calls_of("kind")?.is_empty() && ran(&stage)?.is_empty());
    let bare = Stage::new()?;
    bare.xtask(&["e2e", "shop", "--partition", "1/2"])?.must(2, &["the suite shop has no specs"]);
    Ok(())
}

#[test]
fn what_a_shard_takes_is_expected_of_no_other_run() -> Result<()> {
    let stage = shards()?;
    let expected = || -> Result<serde_json::Value> {
        let plan = stage.xtask(&["plan", "shop", "--format", "json"])?;
        let plan: serde_json::Value = serde_json::from_str(&plan.text)?;
        let steps = plan["steps"].as_array().context("steps")?;
        let specs = steps.iter().find(|step| step["id"] == "specs").context("the specs")?;
        Ok(specs["expected"]["source"].clone())
    };
    let before = expected()?;
    stage
        .xtask(&["e2e", "shop", "--yes", "--partition", "1/2"])?
        .must(0, &["shop, shard 1/2: schedule", "shard 1/2 has"]);
    assert_eq!(expected()?, before);
    stage.xtask(&["status", "shop"])?.must(0, &["shop, shard 1/2 (dag), run"]);
    let status: serde_json::Value = serde_json::from_str(&stage.xtask(&["status", "--format", "json"])?.text)?;
    assert_eq!((&status["suite"], &status["shard"]), (&"shop".into(), &"1/2".into()));
    stage.xtask(&["e2e", "shop", "--yes"])?.must(0, &["4 passed"]);
    assert_ne!(expected()?, before, "of a whole run it is");
    Ok(())
}
