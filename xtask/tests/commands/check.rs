//! `check`: its formats, comments that allow something, edits in place, and looking again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;

use crate::support::{Stage, interrupt};
use testbed::fakes::Play;

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
    stage
        .xtask(&["check"])?
        .must(2, &["error[schema]: shop.yaml:9:7:", "check found 3 errors, 0 warnings; `--fix` mends 2 of them"]);
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
fn paths_stages_and_pull_policies_are_mended() -> Result<()> {
    let stage = Stage::bare()?;
    let suite = "images:\n  - {name: shop, dockerfile: Dockerfile, reference: localhost/shop, phase: all}\n";
    stage.write("manifests/suites/shop.yaml", &format!("{SUITE}{suite}"))?;
    for file in ["policies/routing.rego", "aa.txt", "ab.txt"] {
        stage.write(file, "")?;
    }
    let pod = |container: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: shop}}\nspec:\n  automountServiceAccountToken: false\n  \
             securityContext: {{runAsNonRoot: true}}\n  containers:\n{container}"
        )
    };
    let (with, rest) = ("imagePullPolicy: IfNotPresent", "securityContext: {readOnlyRootFilesystem: true}");
    for (dockerfile, container, right_dockerfile, right_container) in [
        // One path is near, and two are.
        (
            "FROM b AS build\nFROM b\nCOPY ./polices/routing.rego /etc/\nCOPY --from=biuld /x /x\nCOPY ac.txt /etc/\n",
            format!("    - name: a\n      image: localhost/shop  # ours\n      {rest}\n"),
            "FROM b AS build\nFROM b\nCOPY ./policies/routing.rego /etc/\nCOPY --from=build /x /x\nCOPY ac.txt /etc/\n",
            format!("    - name: a\n      {with}\n      image: localhost/shop  # ours\n      {rest}\n"),
        ),
        (
            "FROM b\nCOPY polices /polices\n",
            format!("    - image: \"localhost/shop:latest\"\n      name: a\n      {rest}\n"),
            "FROM b\nCOPY polices /polices\n",
            format!("    - {with}\n      image: \"localhost/shop:latest\"\n      name: a\n      {rest}\n"),
        ),
        (
            "FROM b\nCOPY policies/ruoting.rego /\n",
            format!(
                "    - {{name: a, image: localhost/shop, {rest}}}\n    - {{name: b, image: localhost/shop, imagePullPolicy: 'Always', {rest}}}\n"
            ),
            "FROM b\nCOPY policies/routing.rego /\n",
            format!(
                "    - {{name: a, {with}, image: localhost/shop, {rest}}}\n    - {{name: b, image: localhost/shop, imagePullPolicy: 'IfNotPresent', {rest}}}\n"
            ),
        ),
    ] {
        stage.write("Dockerfile", dockerfile)?;
        stage.write("shop.yaml", &pod(&container))?;
        let code = if right_dockerfile.contains("ac.txt") || right_dockerfile.contains("polices") { 2 } else { 0 };
        stage.xtask(&["check", "--fix"])?.must(code, &[with]);
        assert_eq!(std::fs::read_to_string(stage.paths.root.join("Dockerfile"))?, right_dockerfile);
        assert_eq!(std::fs::read_to_string(stage.paths.root.join("shop.yaml"))?, pod(&right_container));
    }
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

#[test]
fn a_scan_renders_with_the_tools_that_are_there_and_traces_back_to_the_files() -> Result<()> {
    let stage = Stage::bare()?;
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: shop}}\n";
    let template = "  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: shop, image: shop}]}}\n";
    stage.write("base/kustomization.yaml", "resources: [shop.yaml]\n")?;
    stage.write("base/shop.yaml", &format!("# The shop.\n{deployment}{template}"))?;
    stage.write("prod/kustomization.yaml", "resources: [../base]\npatches: [{path: patch.yaml}]\n")?;
    stage.write(
        "prod/patch.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec: {replicas: many}\n",
    )?;
    stage.write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n")?;
    stage.write("chart/templates/a.yaml", "apiVersion: v1\nkind: {{ .Values.kind }}\n")?;
    stage.fake.remove("kubectl")?;
    let told = stage.xtask(&["check", "--scan"])?;
    assert!(!told.text.contains("note:"), "{}", told.text);
    told.must(
        0,
        &["prod: kustomization, not rendered: neither kustomize", "chart: chart, not rendered: helm is not installed"],
    );
    stage.fake.add("kustomize")?;
    stage.fake.add("helm")?;
    let rendered = format!("{}{template}", deployment.replace("replicas: 1", "replicas: many"));
    stage.fake.on("kustomize", "build */prod", Play::says(rendered))?;
    let service = "---\n# Source: chart/templates/a.yaml\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n";
    stage.fake.on("helm", "template release */chart", Play::says(service))?;
    stage.xtask(&["check", "--scan"])?.must(
        2,
        &[
            "prod: kustomization, rendered: 1 object",
            "chart: chart, rendered: 1 object",
            "error[schema]: base/shop.yaml:6:13: `spec.replicas`",
            ", as prod is rendered",
            "error[schema]: chart/templates/a.yaml",
        ],
    );
    stage.fake.on("kustomize", "build */prod", Play::fails(1, "Error: no matches for Id x"))?;
    stage.xtask(&["check", "--scan"])?.must(2, &["prod: kustomization, not rendered: kustomize: no matches for Id x"]);
    Ok(())
}

#[test]
fn classes_are_listed_and_explained() -> Result<()> {
    let stage = stage()?;
    stage.xtask(&["check", "--explain"])?.must(0, &["suite           A key, a name", "security        A warning: "]);
    stage.xtask(&["check", "--explain", "port"])?.must(0, &["## port\n"]);
    stage.xtask(&["check", "--explain", "unused"])?.must(
        2,
        &["no class of mistakes has the id `unused` (did you mean `image-unused` or `volume-unused` or `rights-unused`?)"],
    );
    stage.xtask(&["check", "--explain", "shcema"])?.must(2, &["did you mean `schema`?"]);
    stage.xtask(&["check", "--explain", "what"])?.must(2, &["`check --explain` lists all"]);
    Ok(())
}
