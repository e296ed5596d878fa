//! The suite's own part: the cluster, and what is not there at all.

use super::{Project, assert_found, image_suite, manifest_suite};

#[test]
fn the_clusters_part_names_what_there_is() {
    let suite = image_suite("");
    for (from, to, expected) in [
        ("", "", &[][..]),
        (
            "kind.yaml",
            "kid.yaml",
            &[
                "manifests/suites/s.yaml:3:28: `kid.yaml`: cannot read it: No such file or directory (os error 2) (did you mean `kind.yaml`?)",
            ],
        ),
        (
            "node: node",
            "node: nod",
            &["manifests/suites/s.yaml:3: images/setup.yaml lists no image `nod` (did you mean `node`?)"],
        ),
        (
            "phase: c}",
            "preload: [nodee], phase: c}",
            &["manifests/suites/s.yaml:3: lists no image `nodee` (did you mean `node`?)"],
        ),
        ("config: kind.yaml", "config: bad.yaml", &["bad.yaml:2:1: did not find expected"]),
        (
            "dockerfile: Dockerfile",
            "dockerfile: Dockrfile",
            &[
                "manifests/suites/s.yaml:5: `Dockrfile`: cannot read it: No such file or directory (os error 2) (did you mean `Dockerfile`?)",
            ],
        ),
        (
            ", phase: b}",
            ", phase: b, context: imagse}",
            &["manifests/suites/s.yaml:5: `imagse`: there is no such folder (did you mean `images`?)"],
        ),
        (
            ", phase: b}",
            ", phase: b, context: nowhere}",
            &["manifests/suites/s.yaml:5: `nowhere`: there is no such folder"],
        ),
    ] {
        let project = Project::new(&[("Dockerfile", "FROM a\n"), ("bad.yaml", "a: [\n")]);
        project.write("manifests/suites/s.yaml", &suite.replacen(from, to, 1));
        assert_found(to, &project.findings(), expected);
    }
}

#[test]
fn a_project_without_rust_and_without_a_setup_is_one_too() {
    let project = Project::new(&[("Dockerfile", "FROM a\n")]);
    std::fs::remove_dir_all(project.root.join("images")).unwrap();
    project.write("manifests/suites/s.yaml", &image_suite(""));
    assert_found("", &project.findings(), &[]);
    assert_eq!(project.plan()["steps"].as_array().unwrap().len(), 4);
    project.write("images/setup.yaml", "pieces: 1\n");
    let found = project.findings();
    assert!(found[0].starts_with("images/setup.yaml: "), "{found:#?}");
}

#[test]
fn what_is_no_file_is_told_and_not_read() {
    let suite = manifest_suite(&["a"]);
    let project = Project::new(&[("manifests/suites/s.yaml", &suite)]);
    project.pipe("Dockerfile");
    project.pipe("a.yaml");
    project.pipe(".dockerignore");
    let found = project.findings();
    let told = |file: &str| found.iter().any(|one| one.contains(&format!("`{file}`: cannot read it: it is no file")));
    assert!(told("Dockerfile") && told("a.yaml"), "{found:#?}");
    assert!(!found.iter().any(|one| one.contains("did you mean")), "{found:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_told_as_one() {
    let project = Project::new(&[("Dockerfile", "FROM a\n"), ("manifests/suites/t.yaml", "")]);
    std::os::unix::fs::symlink("nowhere.yaml", project.root.join("manifests/suites/s.yaml")).unwrap();
    let expected = ["manifests/suites/s.yaml: cannot read it: it is a link to `nowhere.yaml`: No such file"];
    assert_found("the suite", &project.findings(), &expected);
    std::fs::remove_file(project.root.join("manifests/suites/s.yaml")).unwrap();
    project.write("manifests/suites/s.yaml", &image_suite("").replace("kind.yaml", "link.yaml"));
    std::os::unix::fs::symlink("kid.yaml", project.root.join("link.yaml")).unwrap();
    let expected = ["manifests/suites/s.yaml:3:28: `link.yaml`: cannot read it: it is a link to `kid.yaml`: No such"];
    assert_found("kind's configuration", &project.findings(), &expected);
}

#[test]
fn two_suites_have_two_clusters() {
    let project = Project::new(&[("Dockerfile", "FROM a\n"), ("manifests/suites/s.yaml", &image_suite(""))]);
    project.write("manifests/suites/broken.yaml", "cluster: [");
    let other = image_suite("").replacen("name: s\n", "name: t\n", 1);
    project.write("manifests/suites/t.yaml", &other.replace("{name: s,", "{name: t,"));
    assert_found("two", &project.findings(), &[]);
    project.write("manifests/suites/t.yaml", &other);
    let expected =
        ["manifests/suites/s.yaml:3:17: the cluster of the suite `t` has the name `s`, too (give each suite"];
    assert_found("one", &project.findings(), &expected);
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    let suite = manifest_suite(&["a"]);
    let kind = "\u{feff}kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n";
    let pod = "\u{feff}apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: 'r.example/shop:1'}]}\n";
    let project = Project::new(&[("Dockerfile", "\u{feff}FROM a\n"), ("kind.yaml", kind), ("a.yaml", pod)]);
    project.write("manifests/suites/s.yaml", &format!("\u{feff}{suite}"));
    assert_found("", &project.findings(), &[]);
}

#[test]
fn where_the_parser_is_lost_the_layout_is_looked_at() {
    for (suite, expected) in [
        ("name: s\n\tphases: [c]\n", "manifests/suites/s.yaml:2:1: (indent the line with spaces: YAML takes no tabs"),
        ("name: s\nphases:\n  - a\n - b\n", "manifests/suites/s.yaml:4:2: (look at the indentation from line "),
        ("name: s\n  phases: [c]\n", "manifests/suites/s.yaml:2:9: (look at the indentation of this line and the one"),
        (
            "name: s\nphases: [c\ncluster: a\n",
            "manifests/suites/s.yaml:3:8: (look for the end of the bracket in line 2)",
        ),
    ] {
        let project = Project::new(&[("manifests/suites/s.yaml", suite)]);
        assert_found(suite, &project.findings(), &[expected]);
    }
}

#[test]
fn what_is_no_utf_8_is_told_with_its_line() {
    let project = Project::new(&[("Dockerfile", "FROM a\n"), ("manifests/suites/s.yaml", &manifest_suite(&["a"]))]);
    std::fs::write(project.root.join("a.yaml"), b"a: 1\n# caf\xe9\n").unwrap();
    let found = project.findings();
    assert!(found.iter().any(|one| one.contains("`a.yaml`: cannot read it: its line 2 is no UTF-8")), "{found:#?}");
}

#[test]
fn kinds_configuration_is_one_that_kind_takes() {
    const HEAD: &str = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n";
    for (text, expected) in [
        ("networking: {podSubnet: 10.1.0.0/16, ipFamily: ipv4, apiServerPort: -1}", &[][..]),
        ("networking: {ipFamily: dual, podSubnet: '10.1.0.0/16,fd00::/56', kubeProxyMode: none}", &[]),
        ("name: 7\nnodes: [{role: worker}, {}]\nfeatureGates: {A: yes, B: true}", &[]),
        ("kubeadmConfigPatches:\n- |\n  kind: ClusterConfiguration\n  metadata: {name: config}\n", &[]),
        (
            "networking: {podSubnet: 10.1.0.0}",
            &["kind.yaml:3:25: is not what kind takes of ipv4 (an IPv4 subnet, as in"],
        ),
        ("networking: {serviceSubnet: 'fd00::/112'}", &["kind.yaml:3:29: `fd00::/112` is not what kind takes of ipv4"]),
        ("networking: {podSubnet: 10.1.0.0/33}", &["kind.yaml:3:25: `10.1.0.0/33`"]),
        (
            "networking: {ipFamily: dual, podSubnet: '10.1.0.0/16,10.2.0.0/16'}",
            &["kind.yaml:3:41: is not what kind takes of dual (one or two subnets"],
        ),
        ("networking: {ipFamily: IPv4}", &["kind.yaml:3:24: did you mean `ipv4`?"]),
        ("networking: {apiServerPort: 66000}", &["kind.yaml:3:29: no port has the number 66000"]),
        ("nodes: [{role: controlplane}]", &["kind.yaml:3:16: did you mean `control-plane`?"]),
        ("nodes: [{role: worker}]", &["kind.yaml:3:8: no node has the role `control-plane`"]),
        ("nodes: {role: worker}", &["kind.yaml:3:8: `nodes` of Cluster s is an object, and a list is wanted"]),
        (
            "nodes: [{extraPortMappings: [{containerPort: 1, hostPort: -2, listenAddress: local, protocol: tpc}]}]",
            &[
                "kind.yaml:3:59: no port has the number -2",
                "kind.yaml:3:78: `local` is no address of a host",
                "kind.yaml:3:95: kind maps no ports of `tpc` (there are: TCP, UDP, SCTP)",
            ],
        ),
        ("nodes: [{extraMounts: [{hostPath: /a}]}]", &["kind.yaml:3:24: lacks the field `containerPath`"]),
        // Patches, in the cluster and in a node.
        (
            "kubeadmConfigPatches:\n- |\n  kind: InitConfiguration\n  nodeRegistration: {kubeletExtraArgs: {v: 4}}\n",
            &["kind.yaml:6:44: is the number 4, and a text is wanted (write \"4\")"],
        ),
        (
            "kubeadmConfigPatches:\n- |\n  kind: InitConfiguration\n  nodeRegistraton: {}\n",
            &["kind.yaml:6:3: InitConfiguration s has no field `nodeRegistraton` (did you mean `nodeRegistration`?)"],
        ),
        (
            "nodes:\n- kubeadmConfigPatches:\n    - |\n\n      kind: JoinConfiguration\n      apiVersion: kubeadm.k8s.oi/v1beta3\n",
            &["kind.yaml:8:19: the group `kubeadm.k8s.oi` (did you mean `kubeadm.k8s.io`?)"],
        ),
        ("kubeadmConfigPatches:\n- |\n  knd: x\n", &["kind.yaml:4:3: it does not say its `kind`"]),
        ("kubeadmConfigPatches:\n- |\n  kind: [\n", &["kind.yaml:6:1: did not find expected"]),
        (
            "kubeadmConfigPatches: ['kind: Secret']",
            &["kind.yaml:3:24: nothing of the kind `Secret` (there are: Cluster"],
        ),
        ("kubeadmConfigPatches:\n- kind: InitConfiguration\n", &["kind.yaml:4:3: is an object, and a text is wanted"]),
        (
            "kubeadmConfigPatchesJSON6902:\n- kind: ClusterConfiguration\n  group: kubeadm.k8s.io\n  patch: |\n    - {op: ad, path: /a}\n    - op: add\n",
            &[
                "kind.yaml:7:12: no patch has the operation `ad` (did you mean `add`?)",
                "kind.yaml:8:7: an operation without its `path`",
            ],
        ),
        (
            "kubeadmConfigPatchesJSON6902: [{kind: ClusterConfig, patch: '{}'}]",
            &["kind.yaml:3:39: kind leaves this patch out", "kind.yaml:3:61: a JSON patch is a list of operations"],
        ),
        (
            "containerdConfigPatches:\n- |-\n  version = 2\n  [plugins\n",
            &["kind.yaml:6:3: no TOML: the head of a table"],
        ),
    ] {
        let project = Project::new(&[("Dockerfile", "FROM a\n"), ("kind.yaml", &format!("{HEAD}{text}"))]);
        project.write("manifests/suites/s.yaml", &image_suite(""));
        assert_found(text, &project.findings(), expected);
    }
    for (text, expected) in [
        ("# later\n", "kind.yaml:1:1: there is no configuration in it (write `kind: Cluster` and `apiVersion: "),
        ("kind: Cluster\n", "kind.yaml:1:1: Cluster s lacks the field `apiVersion`"),
        ("kind: Clutser\napiVersion: kind.x-k8s.io/v1alpha4\n", "kind.yaml:1:7: did you mean `Cluster`?"),
        (
            "kind: Cluster\napiVersion: kind.sigs.k8s.io/v1alpha3\n",
            "kind.yaml:2:13: did you mean `kind.x-k8s.io/v1alpha4`?",
        ),
    ] {
        let project = Project::new(&[("Dockerfile", "FROM a\n"), ("kind.yaml", text)]);
        project.write("manifests/suites/s.yaml", &image_suite(""));
        assert_found(text, &project.findings(), &[expected]);
    }
}

#[test]
fn the_benchs_edit_can_be_made() {
    let suite = |file: &str, find: &str| {
        let edit = format!(
            "{{file: {file}, find: {find}, replace: '{{edit}}', shown: {{node_port: 30080, path: /, text: '{{edit}}'}}}}"
        );
        format!("{}bench:\n  edit: {edit}\n", image_suite(""))
    };
    for (file, find, expected) in [
        ("src/a.txt", "once", None),
        ("src/b.txt", "once", Some("manifests/suites/s.yaml:7: `src/b.txt`: cannot read it: No such file")),
        ("src/a.txt", "twice", Some("manifests/suites/s.yaml:7: the text stands 2 times in src/a.txt")),
        ("src/a.txt", "never", Some("manifests/suites/s.yaml:7: the text stands 0 times in src/a.txt")),
    ] {
        let project = Project::new(&[("Dockerfile", "FROM a\n"), ("src/a.txt", "once twice twice\n")]);
        project.write("manifests/suites/s.yaml", &suite(file, find));
        assert_found(find, &project.findings(), &expected.into_iter().collect::<Vec<_>>());
    }
}
