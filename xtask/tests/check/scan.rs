//! `check --scan`: projects without a suite.

use camino::Utf8Path;
use xtask::check::scan::{Scanned, scan};

use super::{Project, assert_found};

/// A folder with these files and nothing else.
fn scanned(files: &[(&str, &str)]) -> Scanned {
    let project = Project::bare(files);
    scan(&project.root).unwrap()
}

fn findings(scanned: &Scanned) -> Vec<String> {
    scanned.findings.iter().map(|finding| finding.problem.to_string()).collect()
}

fn taken(scanned: &Scanned) -> Vec<String> {
    scanned.taken.iter().map(|one| format!("{}: {}", one.path, one.as_what)).collect()
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
        - name: shop
          image: r.example/acme/shop:1
          envFrom: [{configMapRef: {name: shop-config}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-config}
";

#[test]
fn it_is_told_what_each_file_was_taken_for() {
    let found = scanned(&[
        ("shop/Dockerfile", "FROM a\nCOPY src /src\n"),
        ("shop/src/a.rs", ""),
        ("web/docker/Dockerfile.web", "FROM a\nCOPY web/a.js /\n"),
        ("web/a.js", ""),
        ("Makefile", "build:\n\tdocker build -t r.example/acme/shop:$(TAG) shop\n"),
        ("deploy/shop.yaml", DEPLOYMENT),
        ("chart/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"),
        ("chart/templates/a.yaml", "apiVersion: v1\nkind: {{ .Values.kind }}\n"),
        ("node_modules/x/Dockerfile", "FROM a\nCOPY nothing /\n"),
        ("notes.yaml", "a: 1\n"),
    ]);
    let taken = taken(&found);
    let expected = [
        "chart: chart, ",
        "deploy: manifests, 2 objects in 1 file",
        "shop/Dockerfile: Dockerfile, context shop (Makefile:2), image r.example/acme/shop",
        "web/docker/Dockerfile.web: Dockerfile, context . (by what it copies)",
    ];
    assert!(taken.len() == 4 && taken.iter().zip(expected).all(|(one, begin)| one.starts_with(begin)), "{taken:#?}");
    assert_found("a clean project", &findings(&found), &[]);
}

#[test]
fn slips_are_found_with_file_and_line() {
    let found = scanned(&[
        ("shop/Dockerfile", "FROM a\nCOPY src /src\nCOPY confg/a.yaml /etc/\nENTRYPOINT [\"/src/rnu.sh\"]\n"),
        ("shop/src/run.sh", ""),
        ("shop/config/a.yaml", ""),
        ("cart/Dockerfile", "FROM a\nCOPY src/server.py settings.toml /\n"),
        ("cart/src/server.py", ""),
        ("compose.yaml", "services:\n  shop: {build: shop, image: r.example/acme/shop}\n  cart: {build: cart}\n"),
        (
            "deploy/shop.yaml",
            &DEPLOYMENT.replace("acme/shop:1", "acme/shpo:1").replace("{name: shop-config}}]", "{name: shop-confg}}]"),
        ),
        (
            "deploy/service.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {selector: {app: shpo}, ports: [{port: 80}]}\n",
        ),
        ("deploy/broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a\n"),
        (
            "deploy/order.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: one}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n",
        ),
    ]);
    assert_found(
        "slips",
        &findings(&found),
        &[
            "cart/Dockerfile:2: COPY settings.toml",
            "deploy/broken.yaml: ",
            "deploy/order.yaml:3: Pod one/a is applied before Namespace one",
            "deploy/shop.yaml:11: did you mean `shop`?",
            "deploy/shop.yaml:12: did you mean `shop-config`?",
            "deploy/service.yaml:4: did you mean `shop`?",
            "shop/Dockerfile:3: did you mean `config/a.yaml`?",
            "shop/Dockerfile:4: did you mean `/src/run.sh`?",
        ],
    );
}

#[test]
fn what_the_tree_does_not_tell_is_no_mistake() {
    let found = scanned(&[
        // Made by a step before the build.
        (
            "a/Dockerfile",
            "FROM a\nARG BIN=server\nCOPY target/release/shop $BIN dist/app.js /\nCOPY *.whl /\nENTRYPOINT [\"/shop\"]\n",
        ),
        ("a/Makefile", "settings.toml:\n\tcp x settings.toml\n"),
        ("a/servers", ""),
        // Made by a recipe.
        ("b/Dockerfile", "FROM a\nCOPY settings.toml run.sh /\n"),
        ("b/run.sh", ""),
        ("b/Makefile", "settings.toml:\n\tcp x settings.toml\n"),
        // In a folder that nobody knows, with an ignore file that may not be the one.
        ("c/image/Dockerfile", "FROM a\nADD manifests /m\nADD build-context-of-its-own /x\n"),
        (".dockerignore", "manifests\n"),
        (
            "manifests/a.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: elsewhere}\nspec: {serviceAccountName: made-by-hand, containers: [{name: a, image: localhost/a}]}\n",
        ),
        // Series, templates, other tools' files, names of images of others.
        ("d/shop1/Dockerfile", "FROM a\n"),
        ("d/shop2/Dockerfile", "FROM a\n"),
        (
            "d/a.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: r.example/shop3}]}\n",
        ),
        ("d/b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {clusterIP: {PREFIX}.16}\n"),
        ("d/c.yaml", "apiVersion: v1\nkind: Pod\n{{- if .x }}\n"),
        ("d/e.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: 'e-{{cell}}'}\nspec: {clusterIP: {{ip}}}\n"),
        ("d/f.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: f}\ndata: {a: <PUT IT HERE>, b: 1}\n"),
        // A claim's volume takes the place of the template's; pods that a Service selects may be elsewhere, and so may
        // the other one of two NodePorts.
        (
            "f/set.yaml",
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db, tier: a}}\n    spec:\n      containers: [{name: db, image: db, volumeMounts: [{name: data, mountPath: /data}]}]\n      volumes: [{name: data, emptyDir: {}}]\n  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]\n",
        ),
        (
            "f/a.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: NodePort, selector: {app: db, tier: other}, ports: [{port: 80, nodePort: 30001}]}\n",
        ),
        (
            "f/b.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30001}]}\n",
        ),
        // A patch that no kustomization names any more.
        ("e/kustomization.yaml", "resources: []\n"),
        ("e/patch.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {}}\n"),
        ("d/d.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: b-}\n"),
    ]);
    assert_found("unknown things", &findings(&found), &[]);
    for part in [
        "a/Dockerfile: not in the tree",
        "b/Dockerfile: not in the tree",
        "d/b.yaml: a template",
        "d/c.yaml: a template",
    ] {
        assert!(found.notes.iter().any(|note| note.contains(part)), "{part}: {:#?}", found.notes);
    }
}

#[test]
fn variables_of_recipes_are_followed_as_far_as_they_are_set() {
    let found = scanned(&[
        ("src/cart/Dockerfile", "FROM a\nCOPY src/cart/a.py pyproject.tml /\n"),
        ("src/cart/a.py", ""),
        ("pyproject.toml", ""),
        (".env", "CART=./src/cart/Dockerfile\n"),
        (
            "compose.yaml",
            "services:\n  cart: {build: {context: ./, dockerfile: '${CART}'}, image: '${NAME:-cart}:${TAG}'}\n",
        ),
    ]);
    assert_eq!(taken(&found), ["src/cart/Dockerfile: Dockerfile, context . (compose.yaml:2), image cart"]);
    assert_found("a slip", &findings(&found), &["src/cart/Dockerfile:2: did you mean `pyproject.toml`?"]);
}

#[test]
fn kustomizations_are_looked_at_without_a_tool() {
    let found = scanned(&[
        ("base/kustomization.yaml", "resources:\n  - shop.yaml\n  - srvice.yaml\n"),
        ("base/shop.yaml", DEPLOYMENT),
        ("base/service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n"),
        (
            "prod/kustomization.yaml",
            "resources: [../base, https://r.example/x.yaml]\npatches:\n  - path: ptch.yaml\n  - patch: |-\n      - op: add\n",
        ),
        ("prod/patch.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\n"),
    ]);
    assert_found(
        "paths",
        &findings(&found),
        &[
            "base/kustomization.yaml:3: did you mean `base/service.yaml`?",
            "prod/kustomization.yaml:3: did you mean `prod/patch.yaml`?",
        ],
    );
}

#[test]
fn odd_trees_are_gone_through() {
    let project = Project::bare(&[
        ("a/crlf.yaml", &DEPLOYMENT.replace('\n', "\r\n")),
        ("a/empty.yaml", ""),
        ("a/Dockerfile", ""),
        ("a/deep.yaml", &format!("apiVersion: v1\nkind: A\na: {}{}\n", "[".repeat(5000), "]".repeat(5000))),
        ("a/Chart.yaml/x", "a folder"),
    ]);
    std::fs::write(project.root.join("a/binary.yaml"), b"\xff\xfe\0apiVersion: v1\nkind: \xff\n").unwrap();
    std::fs::write(project.root.join("a/latin.yaml"), b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \xe4}\n")
        .unwrap();
    std::fs::write(project.root.join("a/huge.yaml"), "apiVersion: v1\nkind: A\n".repeat(300_000)).unwrap();
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, project.root.join(at)).unwrap();
    link("..", "a/up");
    link("loop", "a/loop");
    link("crlf.yaml", "a/link.yaml");
    link("nowhere", "a/kustomization.yaml");
    for at in ["pipe.yaml", ".dockerignore", "a/.dockerignore", "a/pipe.yaml", "Makefile"] {
        project.pipe(at);
    }
    let found = scan(Utf8Path::new(&project.root)).unwrap();
    let places: Vec<String> = findings(&found).iter().map(|one| one.split(": ").next().unwrap().to_owned()).collect();
    assert!(
        places
            .iter()
            .all(|place| place.starts_with("a/binary") || place.starts_with("a/deep") || place == "a/Dockerfile:1:1"),
        "{places:#?}"
    );
    assert!(taken(&found).contains(&"a: manifests, 3 objects in 2 files".to_owned()), "{:#?}", taken(&found));
}

#[test]
fn kinds_configuration_is_looked_at_where_it_is_one() {
    const HEAD: &str = "apiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\n";
    let found = scanned(&[
        ("hack/kind.yaml", &format!("{HEAD}nodes:\n  - rle: worker\n")),
        ("hack/filled.yaml", &format!("{HEAD}nodes: [{{image: '${{IMAGE}}', rle: worker}}]\n")),
        ("hack/other.yaml", "apiVersion: kind.x-k8s.io/v1alpha4\nkind: Other\nnodes: 1\n"),
    ]);
    assert_found("", &findings(&found), &["hack/kind.yaml:4:5: `nodes[0]` of Cluster kind has no field `rle`"]);
    assert_eq!(taken(&found), ["hack/kind.yaml: kind's configuration"]);
}

#[test]
fn what_programs_write_first_or_compare_with_is_no_manifest() {
    let found = scanned(&[
        ("written/kustomization.yaml", "resources: [template.yaml]\npatches:\n  - path: platform-patch.yaml\n"),
        (
            "compared/pod.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - {name: a, (env != null): false}\n",
        ),
        ("lost/kustomization.yaml", "resources: [a.yaml, other.yaml]\n"),
        ("lost/a.yaml", DEPLOYMENT),
    ]);
    assert_found("", &findings(&found), &["lost/kustomization.yaml:1: `other.yaml`: there is no such file"]);
}
