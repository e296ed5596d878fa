//! Bad input of a run on a cluster that is there: one line each, before anything is made.

use std::net::TcpListener;

use anyhow::Result;
use testbed::fakes::Play;

use crate::support::Stage;

const MANIFESTS: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: clerks}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: shop}, spec: {storageClassName: ''}}
";
const SERVER: &str = "https://192.0.2.1:6443";

/// A machine whose kubectl reaches a cluster that is fit for a run, and a registry's address.
struct There {
    stage: Stage,
    registry: TcpListener,
}

impl There {
    fn new() -> Result<There> {
        let stage = Stage::new()?;
        let suite = std::fs::read_to_string(stage.paths.root.join("manifests/suites/shop.yaml"))?;
        stage.write(
            "manifests/suites/shop.yaml",
            &(suite + "manifests: [{ name: all, files: [m.yaml], phase: all }]\n"),
        )?;
        stage.write("m.yaml", MANIFESTS)?;
        let config = format!(r#"{{"clusters": [{{"cluster": {{"server": "{SERVER}"}}}}]}}"#);
        let version = r#"{"clientVersion": {"minor": "34", "gitVersion": "v1.34.3"},
            "serverVersion": {"minor": "35+", "gitVersion": "v1.35.1-gke"}}"#;
        for (pattern, answer) in [
            ("config view *", config.as_str()),
            ("* version *", version),
            ("* create --validate=false *", r#"{"status": {"allowed": true}}"#),
            ("* get --ignore-not-found *", ""),
            ("* get storageclasses *", r#"{"items": []}"#),
        ] {
            stage.fake.on("kubectl", pattern, Play::script(format!("cat >/dev/null; echo '{answer}'")))?;
        }
        Ok(There { stage, registry: TcpListener::bind("127.0.0.1:0")? })
    }

    /// Runs the suite there; it must end with `code` and these words, and nothing must have been made.
    fn must_refuse(&self, code: i32, words: &[&str]) -> Result<()> {
        let registry = format!("{}/e2e", self.registry.local_addr()?);
        self.must_refuse_with(&["--on", "context:there", "--registry", &registry], code, words)
    }

    fn must_refuse_with(&self, options: &[&str], code: i32, words: &[&str]) -> Result<()> {
        let ran = self.stage.xtask(&[&["e2e", "shop", "--yes"], options].concat())?;
        ran.must(code, words);
        let made = |call: &String| call.contains("apply") || call.contains("delete") || call.contains(" create --f");
        let calls = self.stage.fake.calls_of("kubectl")?;
        assert!(!calls.iter().any(made), "{calls:?}");
        assert!(self.stage.fake.containers("podman").is_empty());
        Ok(())
    }
}

#[test]
fn a_target_that_there_is_not_is_named_with_those_that_there_are() -> Result<()> {
    There::new()?.must_refuse_with(
        &["--on", "contxt:there"],
        2,
        &["--on contxt:there", "kind, processes and context:NAME"],
    )?;
    There::new()?.must_refuse_with(&["--on", "context:"], 2, &["context:NAME"])
}

#[test]
fn without_a_registry_nodes_have_nowhere_to_pull_from() -> Result<()> {
    let there = There::new()?;
    there.must_refuse_with(&["--on", "context:there"], 2, &["--on context:… needs --registry HOST/PREFIX"])?;
    let options = ["--on", "context:there", "--registry", "team/shop"];
    there.must_refuse_with(&options, 2, &["--registry team/shop: not HOST/PREFIX"])
}

#[test]
fn a_context_that_there_is_not_is_told_with_those_that_there_are() -> Result<()> {
    let there = There::new()?;
    there.stage.fake.on("kubectl", "config view *", Play::fails(1, "error: context \"there\" does not exist"))?;
    there.stage.fake.on("kubectl", "config get-contexts *", Play::says("one\ntwo"))?;
    there.must_refuse(2, &["your kubeconfig has no context there: one, two"])
}

#[test]
fn a_registry_that_does_not_answer_is_told_before_the_cluster_is_asked() -> Result<()> {
    let there = There::new()?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let options = ["--on", "context:there", "--registry", &closed];
    there.must_refuse_with(&options, 3, &[&format!("the registry {closed} does not answer"), "refused"])?;
    assert!(there.stage.fake.calls_of("kubectl")?.is_empty());
    Ok(())
}

#[test]
fn an_api_server_that_does_not_answer_is_told_with_its_address() -> Result<()> {
    let there = There::new()?;
    let silent = "echo '{\"clientVersion\": {\"minor\": \"34\"}}'; echo 'Unable to connect to the server: dial tcp: i/o timeout' >&2; exit 1";
    there.stage.fake.on("kubectl", "* version *", Play::script(silent))?;
    let expected =
        format!("the API server of the context there ({SERVER}) does not answer: Unable to connect to the server");
    there.must_refuse(3, &[&expected])
}

#[test]
fn an_api_server_of_a_version_too_far_away_is_told_with_both() -> Result<()> {
    let there = There::new()?;
    let old = r#"{"clientVersion": {"minor": "34", "gitVersion": "v1.34.3"}, "serverVersion": {"minor": "31", "gitVersion": "v1.31.0"}}"#;
    there.stage.fake.on("kubectl", "* version *", Play::says(old))?;
    there.must_refuse(3, &["is of Kubernetes v1.31.0, and kubectl of v1.34.3", "--kubernetes 1.31"])
}

#[test]
fn rights_that_are_lacking_are_named() -> Result<()> {
    let there = There::new()?;
    // All but one: who may not do everything is asked about each thing.
    let answer = "input=$(cat); IFS='}'; for part in $input; do case $part in
        *'\"resourceAttributes\"'*) case $part in
            *'\"resource\":\"*\"'* | *'\"resource\":\"namespaces\"'*'\"verb\":\"create\"'*) echo '{\"status\": {\"allowed\": false}}' ;;
            *) echo '{\"status\": {\"allowed\": true}}' ;;
        esac ;; esac; done";
    there.stage.fake.on("kubectl", "* create --validate=false *", Play::script(answer))?;
    let expected =
        "the user of the context there lacks rights that the run needs: create namespaces in the whole cluster";
    there.must_refuse(3, &[expected])
}

#[test]
fn a_cluster_without_storage_is_told_with_the_classes_it_has() -> Result<()> {
    There::new()?.must_refuse(3, &["has no storage for 1 claim(s)", "--storage-class", "it has none"])
}

#[test]
fn what_is_there_and_differs_is_somebody_elses() -> Result<()> {
    let there = There::new()?;
    let class = r#"{"items": [{"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}]}"#;
    there.stage.fake.on("kubectl", "* get storageclasses *", Play::says(class))?;
    let role = r#"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "clerks"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}"#;
    there.stage.fake.on(
        "kubectl",
        "* get --ignore-not-found *",
        Play::script(format!("cat >/dev/null; echo '{role}'")),
    )?;
    there.must_refuse(
        3,
        &["ClusterRole clerks is on the cluster, differs from the manifests' (m.yaml)", "it stays as it is"],
    )
}
