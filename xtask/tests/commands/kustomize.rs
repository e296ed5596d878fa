//! Groups of manifests that kustomize makes: with the kubectl of the set-up, with none, and where they are wrong.

use anyhow::Result;
use testbed::fakes::Play;

use crate::support::Stage;

const SUITE: &str = "\
name: shop
phases: [all]
cluster: { name: shop, config: kind.yaml, node: node, phase: all }
manifests:
  - { name: web, kustomize: deploy/e2e, phase: all }
";
const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      automountServiceAccountToken: false
      containers:
        - name: web
          image: registry.example/web:1
";

/// A project whose one group is made by kustomize, on a machine with no kubectl at all.
fn project() -> Result<Stage> {
    let stage = Stage::bare()?;
    stage.fake.remove("kubectl")?;
    stage.write("manifests/suites/shop.yaml", SUITE)?;
    stage.write("deploy/e2e/kustomization.yaml", "namePrefix: e2e-\nresources: [../base]\n")?;
    stage.write("deploy/base/kustomization.yaml", "resources:\n  - web.yaml\n")?;
    stage.write("deploy/base/web.yaml", WEB)?;
    Ok(stage)
}

/// The same with the kubectl of the set-up, which plays kustomize.
fn rendered_as(play: Play) -> Result<Stage> {
    let stage = project()?;
    stage.put_tool("kubectl")?;
    stage.fake.on("kubectl", "kustomize *", play)?;
    Ok(stage)
}

#[test]
fn what_kustomize_makes_is_planned_and_looked_at() -> Result<()> {
    let stage = rendered_as(Play::says(WEB.replace("name: web\nspec", "name: e2e-web\nspec")))?;
    stage.xtask(&["plan", "shop"])?.must(0, &["apply:web", "ready:e2e-web"]);
    let folder = stage.paths.root.join("deploy/e2e");
    assert_eq!(stage.fake.calls_of("kubectl")?, [format!("kustomize {folder}")]);
    let ran = stage.xtask(&["check"])?;
    // In the file that the object stands in, whatever it is called when it is rendered.
    ran.must(
        0,
        &[
            "warning[security]: deploy/base/web.yaml:12:17:",
            "Deployment default/e2e-web, container web may run as root",
        ],
    );
    // An image that is not built, as an overlay has it.
    let other = WEB.replace("registry.example/web:1", "localhost/web:1");
    let stage = rendered_as(Play::says(other))?;
    stage.xtask(&["check"])?.must(2, &["error[image-unknown]: deploy/base/web.yaml:13:", "localhost/web:1"]);
    // An object that no file has, as a generator makes it, stands in the kustomization.
    let other = format!("{WEB}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: no_name}}\n");
    let stage = rendered_as(Play::says(other))?;
    stage.xtask(&["check"])?.must(2, &["deploy/e2e/kustomization.yaml:1:", "no_name"]);
    Ok(())
}

#[test]
fn where_nothing_renders_that_is_said_and_the_rest_is_done() -> Result<()> {
    let stage = project()?;
    let said = "manifests/suites/shop.yaml:5:29: `deploy/e2e` is not rendered: neither kubectl nor kustomize is here yet \
                (`setup shop` puts kubectl in place)";
    let ran = stage.xtask(&["plan", "shop"])?;
    ran.must(0, &[&format!("note: {said}"), "apply:web"]);
    assert!(!ran.text.contains("ready:"), "{}", ran.text);
    stage.xtask(&["check"])?.must(0, &[&format!("warning[not-rendered]: {said}")]);
    // What the files alone tell is an error all the same.
    stage.write("deploy/e2e/kustomization.yaml", "resources: [../bsae]\n")?;
    let said =
        "deploy/e2e/kustomization.yaml:1:13: `../bsae`: there is no such file or folder (did you mean `deploy/base`?)";
    stage.xtask(&["check"])?.must(2, &[said]);
    stage.fake.add("kubectl")?;
    stage.fake.on("kubectl", "kustomize *", Play::says(WEB))?;
    stage.write("deploy/e2e/kustomization.yaml", "resources: [../base]\n")?;
    stage.xtask(&["plan", "shop"])?.must(0, &["ready:web"]);
    Ok(())
}

#[test]
fn a_kustomization_that_is_wrong_is_told_once() -> Result<()> {
    let stage = rendered_as(Play::fails(1, "error: no matches for Id Deployment.v1.apps/wbe.[noNs]"))?;
    let said =
        "manifests/suites/shop.yaml:5:29: `deploy/e2e` cannot be rendered: kubectl: no matches for Id Deployment";
    for command in [&["check"][..], &["plan", "shop"]] {
        stage.xtask(command)?.must(2, &[said]);
    }
    stage.write("deploy/base/kustomization.yaml", "resources:\n  - wbe.yaml\n")?;
    let ran = stage.xtask(&["check"])?;
    ran.must(2, &["deploy/base/kustomization.yaml:2:5: `wbe.yaml`: there is no such file or folder", "1 error"]);
    assert!(!ran.text.contains("cannot be rendered"), "{}", ran.text);
    for (folder, said) in [
        ("deploy/e2", "`deploy/e2`: there is no such folder (did you mean `deploy/e2e`?)"),
        ("manifests/suites", "`manifests/suites`: it has no kustomization.yaml"),
    ] {
        stage.write("manifests/suites/shop.yaml", &SUITE.replace("deploy/e2e", folder))?;
        stage.xtask(&["plan", "shop"])?.must(2, &["manifests/suites/shop.yaml:5:29: ", said]);
    }
    Ok(())
}
