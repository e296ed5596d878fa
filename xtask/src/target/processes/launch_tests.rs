use std::collections::BTreeMap;

use super::*;
use crate::suite::yaml::Source;

const SUITE: &str = "\
name: one
phases: [ground]
cluster: {name: c, config: kind.yaml, node: node, phase: ground}
build: {packages: [app]}
processes:
  programs: {db: {debian: database}}
  workloads:
    - workload: db
      program: db
      prepare: [{program: db, args: ['{data}'], stdin: 'CREATE {{}}'}]
      files: [{path: password, secret: auth, key: word}]
      ports: [{name: db}]
      ready: {port: db}
      stop: INT
    - workload: app
      package: app
      files:
        - {path: c.yaml, config_map: app, key: c.yaml, replace: {/etc/app: '{folder}'}}
        - {path: rules/a, file: a}
      ports: [{name: http}]
      ready: {port: http, http: /readyz}
";

const MANIFESTS: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: auth, namespace: shop}
stringData: {word: secret}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: shop}
data: {c.yaml: 'rules: /etc/app/rules, keys: {/etc/app}'}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {template: {spec: {containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: shop}
spec:
  replicas: 2
  template: {spec: {serviceAccountName: clerk, terminationGracePeriodSeconds: 45, containers: []}}
";

fn all(suite: &str, manifests: &str) -> Result<Vec<Launch>, Problems> {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    std::fs::write(root.join("a"), "{plain}").unwrap();
    let suite = Suite::parse(Source::new("s.yaml", suite)).unwrap();
    let manifests = Manifests::new(BTreeMap::from([("m.yaml".into(), Source::new("m.yaml", manifests))])).unwrap();
    launches(root, &suite, &manifests)
}

#[test]
fn what_a_manifest_says_of_a_workload_holds_for_its_process() {
    let launches = all(SUITE, MANIFESTS).unwrap();
    let [db, app] = &launches[..] else { panic!("{launches:?}") };
    assert_eq!((db.order, db.replicas, db.grace), (Replacement::OldFirst, 1, Duration::from_secs(30)));
    assert_eq!((app.order, app.replicas, app.grace), (Replacement::NewFirst, 2, Duration::from_secs(45)));
    assert_eq!((db.account.as_str(), app.account.as_str()), ("default", "clerk"));
    assert_eq!((db.stop, app.stop), (Signal::INT, Signal::TERM));
    assert_eq!(app.namespace, "shop");
    assert_eq!(app.program, Program::Package("app".to_owned()));
    let text = |text: &str| Piece::Text(text.to_owned());
    assert_eq!(db.files[0].text, [text("secret")]);
    let config = [text("rules: "), Piece::Folder, text("/rules, keys: {"), Piece::Folder, text("}")];
    assert_eq!(app.files[0].text, config);
    assert_eq!(app.files[1].text, [text("{plain}")], "a file of the workspace has no placeholders");
    assert_eq!(db.prepare[0].stdin, Some(vec![text("CREATE {}")]));
}

#[test]
fn a_deployment_that_may_have_no_pod_more_than_its_replicas_ends_the_old_one_first() {
    let order = |strategy: &str| {
        let manifests = MANIFESTS.replace("  replicas: 2\n", &format!("  replicas: 2\n  strategy: {strategy}\n"));
        all(SUITE, &manifests).unwrap()[1].order
    };
    for (strategy, expected) in [
        ("{type: Recreate}", Replacement::OldFirst),
        ("{rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}", Replacement::OldFirst),
        ("{rollingUpdate: {maxSurge: 0%, maxUnavailable: 1}}", Replacement::OldFirst),
        ("{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", Replacement::NewFirst),
        ("{rollingUpdate: {maxSurge: 25%}}", Replacement::NewFirst),
        ("{type: RollingUpdate}", Replacement::NewFirst),
    ] {
        assert_eq!(order(strategy), expected, "{strategy}");
    }
}

#[test]
fn what_the_manifests_do_not_have_is_told_with_its_line() {
    for (from, to, line, expected) in [
        ("workload: db", "workload: bd", 8, "no manifest of the suite has a workload `bd`"),
        ("secret: auth", "secret: auht", 11, "has a Secret `auht` in shop"),
        ("key: word", "key: wrod", 11, "Secret shop/auth has no `wrod` in its stringData"),
        ("config_map: app", "config_map: ap", 18, "has a ConfigMap `ap` in shop"),
        ("/etc/app: ", "/opt: ", 18, "`/opt` does not stand in it"),
        ("file: a}", "file: b}", 19, "`b`: No such file"),
    ] {
        assert_eq!(SUITE.matches(from).count(), 1, "{from}");
        let problems = all(&SUITE.replacen(from, to, 1), MANIFESTS).unwrap_err();
        let found: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        let is_it = |text: &String| text.starts_with(&format!("s.yaml:{line}:")) && text.contains(expected);
        assert!(found.iter().any(is_it), "{to}: {found:?}");
    }
    let jobs = MANIFESTS.replace("StatefulSet", "DaemonSet");
    assert!(all(SUITE, &jobs).unwrap_err().to_string().contains("`db` is a DaemonSet"));
    let another = format!("{MANIFESTS}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: lonely}}\nspec: {{}}\n");
    let error = all(SUITE, &another).unwrap_err().to_string();
    assert!(error.contains("Pod default/lonely has no entry in `processes.workloads`"), "{error}");
}

#[test]
fn a_program_is_found_in_the_folder_of_the_largest_number() {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    for version in ["9", "15", "other"] {
        std::fs::create_dir_all(root.join(version).join("bin")).unwrap();
        std::fs::write(root.join(version).join("bin/no-such-database"), "").unwrap();
    }
    std::fs::create_dir_all(root.join("17/bin")).unwrap();
    let folders = [root.join("*/bin")];
    assert_eq!(find_program("no-such-database", &folders), Some(root.join("15/bin/no-such-database")));
    assert_eq!(find_program("no-such-program", &folders), None);
    assert!(find_program("sh", &[]).is_some());
}

#[test]
fn every_suite_of_the_workspace_that_has_processes_fits_its_manifests() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = 0;
    for name in Suite::names(root) {
        let suite = Suite::load(root, &name).unwrap_or_else(|problems| panic!("{problems}"));
        if suite.processes.is_some() {
            let manifests = Manifests::read(root, &suite).unwrap_or_else(|problems| panic!("{problems}"));
            found += launches(root, &suite, &manifests).unwrap_or_else(|problems| panic!("{problems}")).len();
        }
    }
    assert!(found > 0, "no suite has any");
}
