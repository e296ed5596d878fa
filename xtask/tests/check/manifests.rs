//! What manifests need of the suite, of each other and of the cluster.

use super::{Project, assert_found, manifest_suite};

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: 'r.example/shop:1'}]}\n";

/// A project whose groups are these files.
fn project(files: &[(&str, &str)]) -> Project {
    let project = Project::new(&[("Dockerfile", "FROM b\n")]);
    for (name, text) in files {
        project.write(&format!("{name}.yaml"), text);
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    project.write("manifests/suites/s.yaml", &manifest_suite(&names));
    project
}

fn found(text: &str, expected: &[&str]) {
    assert_found(text, &project(&[("m", text)]).findings(), expected);
}

/// The steps that `step` waits for.
fn needs(project: &Project, step: &str) -> Vec<String> {
    let plan = project.plan();
    let steps = plan["steps"].as_array().unwrap();
    let step = steps.iter().find(|one| one["id"] == step).unwrap_or_else(|| panic!("no step {step} in {plan}"));
    step["needs"].as_array().unwrap().iter().map(|need| need["step"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn images_are_built_or_pulled_and_what_is_built_is_used() {
    let two =
        |image: &str| format!("{POD}---\n{}", POD.replace("name: p", "name: q").replace("r.example/shop:1", image));
    let one = |image: &str| POD.replace("r.example/shop:1", image);
    for (text, expected) in [
        (POD.to_owned(), &[][..]),
        (
            one("r.example/shop:2"),
            &[
                "m.yaml:4:38: did you mean `r.example/shop:1`?",
                "manifests/suites/s.yaml:5: image `shop` is built, and no manifest uses `r.example/shop:1` (`r.example/shop:2`, which a manifest uses, is nearly it)",
            ],
        ),
        (one("shop:1"), &["m.yaml:4:38: did you mean", "manifests/suites/s.yaml:5: no manifest uses"]),
        (
            one("other.example/redis:1"),
            &["manifests/suites/s.yaml:5: no manifest uses `r.example/shop:1` (use it, or remove it)"],
        ),
        (
            one("quay.example/team/shop:9"),
            &["manifests/suites/s.yaml:5: (`quay.example/team/shop:9`, which a manifest uses, is nearly it)"],
        ),
        // What is used by its right name is not meant by another.
        (two("shop:1"), &[]),
        (two("docker.io/library/redis:7"), &[]),
        (two("localhost/redis:7"), &["m.yaml:9:38: no registry has a name under localhost/"]),
        (two("redis:7', imagePullPolicy: 'Never"), &["m.yaml:9:38: its imagePullPolicy is Never"]),
        // An operator is told the image in its arguments.
        (one("other.example/redis:1', args: ['--image=r.example/shop:1']#").replace("]#'}]}", "]}]}"), &[]),
        // A pod without an image at all
        ("apiVersion: v1\nkind: Service\nmetadata: {name: p}\n".to_owned(), &[]),
    ] {
        found(&text, expected);
    }
}

#[test]
fn names_without_registry_or_tag_mean_the_whole_one() {
    let project = project(&[("m", &POD.replace("r.example/shop:1", "docker.io/library/shop:1"))]);
    let suite = manifest_suite(&["m"]).replace("r.example/shop:1", "shop:1");
    project.write("manifests/suites/s.yaml", &suite);
    assert_found("", &project.findings(), &[]);
    assert!(needs(&project, "apply:m").contains(&"load:shop".to_owned()));
}

#[test]
fn what_is_on_the_node_is_not_pulled() {
    let with = |tag: &str, policy: &str| POD.replace("shop:1'", &format!("shop{tag}'{policy}"));
    for (tag, policy, expected) in [
        (":latest", "", &["m.yaml:4:31: without an imagePullPolicy the tag `latest` means Always"][..]),
        ("", "", &["m.yaml:4:31: means Always (write `imagePullPolicy: IfNotPresent`, or another tag)"]),
        (":1", ", imagePullPolicy: Always", &["m.yaml:4: its imagePullPolicy is Always"]),
        (":latest", ", imagePullPolicy: IfNotPresent", &[]),
        (":latest", ", imagePullPolicy: Never", &[]),
        (":1", "", &[]),
    ] {
        let project = project(&[("m", &with(tag, policy))]);
        let suite = manifest_suite(&["m"]).replace("shop:1'", &format!("shop{tag}'"));
        project.write("manifests/suites/s.yaml", &suite);
        assert_found(&format!("{tag}{policy}"), &project.findings(), expected);
    }
}

#[test]
fn items_of_a_list_have_lines() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n  spec:\n    containers:\n    \
                - {name: b, image: 'r.example/shop:1'}\n    - name: c\n      image: localhost/nobody:1\n";
    found(text, &["m.yaml:11:14: image `localhost/nobody:1`"]);
}

#[test]
fn merge_keys_are_followed() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  x: &c {name: c, image: 'r.example/shop:1'}\n  containers:\n  - <<: *c\n    tty: true\n";
    let project = project(&[("m", text)]);
    assert!(needs(&project, "apply:m").contains(&"load:shop".to_owned()));
    found(
        &text.replace("shop:1", "shop:2"),
        &["m.yaml:7 did you mean `r.example/shop:1`?", "manifests/suites/s.yaml:5: nearly it"],
    );
}

#[test]
fn what_has_to_be_rendered_first_is_named() {
    for (text, expected) in [
        (
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n",
            "m.yaml:1:1: a file for kustomize (m.yaml), which `kubectl apply -f` does not take (name its folder as the group's `kustomize`",
        ),
        ("{{- if .Values.on }}\nkind: ConfigMap\n{{- end }}\n", "m.yaml:1:1: a template of Helm's"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"x\" . }}\n",
            "m.yaml:4:1: a template of Helm's",
        ),
        (
            "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: once-}\n",
            "m.yaml:3:26: Job has a `generateName`, which `kubectl apply` refuses",
        ),
    ] {
        found(text, &[expected]);
    }
    // Others' braces are none of Helm's.
    found(
        &format!(
            "{POD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{a: '{{{{ $labels.x }}}} {{{{ end }}}}'}}\n"
        ),
        &[],
    );
}

const OBJECTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: n}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop, namespace: n}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: n}
data: {level: info}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: n}
stringData: {token: x}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: n}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      serviceAccountName: shop
      volumes: [{name: v, projected: {sources: [{secret: {name: token}}]}}]
      containers:
      - name: shop
        image: r.example/shop:1
        envFrom: [{configMapRef: {name: settings}}]
        env: [{name: T, valueFrom: {secretKeyRef: {name: token, key: token}}}]
";

#[test]
fn what_nothing_makes_is_missing() {
    found(OBJECTS, &[]);
    for (from, to, expected) in [
        (
            "Name: shop\n      vol",
            "Name: shp\n      vol",
            &[
                "m.yaml:27:27: Deployment n/shop needs the ServiceAccount `shp`, and no manifest makes it (did you mean `shop`?)",
            ][..],
        ),
        ("Ref: {name: settings", "Ref: {name: setings", &["m.yaml:32: needs the ConfigMap `setings`"]),
        ("Ref: {name: settings", "Ref: {optional: true, name: setings", &[]),
        ("Ref: {name: settings", "Ref: {name: kube-root-ca.crt", &[]),
        ("secret: {name: token", "secret: {name: tokens", &["m.yaml:28: needs the Secret `tokens`"]),
        ("secret: {name: token", "secret: {name: tokens, optional: true", &[]),
        (
            "key: token",
            "key: tokn",
            &["m.yaml:33: needs the key `tokn` of Secret n/token, which has none (did you mean `token`?)"],
        ),
        (
            "secret: {name: token}",
            "secret: {name: token, items: [{key: tokn, path: t}]}",
            &["m.yaml:28: needs the key `tokn` of Secret n/token, which has none (did you mean `token`?)"],
        ),
        ("secret: {name: token}", "secret: {name: token, items: [{key: token, path: t}]}", &[]),
        (
            "secret: {name: token}",
            "secret: {name: tokens, items: [{key: x, path: t}]}",
            &["m.yaml:28: needs the Secret"],
        ),
        ("stringData: {token: x}", "data: {}", &[]),
        (
            "kind: Secret\nmetadata: {name: token, namespace: n",
            "kind: Secret\nmetadata: {name: token, namespace: default",
            &["m.yaml:28: there is one in the namespace `default`", "m.yaml:33: needs the Secret"],
        ),
        ("serviceAccountName: shop", "serviceAccountName: default", &[]),
        (
            "[{name: v,",
            "[{name: w, persistentVolumeClaim: {claimName: disk}}, {name: v,",
            &["m.yaml:28: needs the PersistentVolumeClaim `disk`"],
        ),
        (
            "kind: Namespace\nmetadata: {name: n}",
            "kind: Namespace\nmetadata: {name: m}",
            &["m.yaml:7:35: no manifest makes the namespace `n`, and 3 more objects lie in it"],
        ),
        (
            "metadata: {name: shop, namespace: n}\n---",
            "metadata: {name: shop, namespace: nn}\n---",
            &["m.yaml:7:35: no manifest makes the namespace `nn`", "m.yaml:27:27: there is one in the namespace `nn`"],
        ),
        (
            "apiVersion: v1\nkind: Secret",
            "apiVersion: x.example/v1\nkind: Sealed",
            &["m.yaml:15:7: nothing brings the kind Sealed of x.example to the cluster"],
        ),
        // A definition, a controller that makes it, somebody who may.
        (
            "apiVersion: v1\nkind: Secret",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {group: x.example, names: {kind: Sealed, plural: s}}\n---\napiVersion: x.example/v1\nkind: Sealed",
            &[],
        ),
        (
            "secret: {name: token",
            "secret: {name: later}}, {secret: {name: token",
            &["m.yaml:28: needs the Secret `later`"],
        ),
        (
            "data: {level: info}",
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: n}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [create]}]\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other, namespace: n}\nspec: {template: {spec: {volumes: [{configMap: {name: made-later}}]}}}",
            &[],
        ),
    ] {
        let text = OBJECTS.replacen(from, to, 1);
        assert_ne!(text, OBJECTS, "{from}");
        found(&text, expected);
    }
}

#[test]
fn a_controller_may_define_kinds() {
    let template =
        "apiVersion: t.example/v1\nkind: Template\nmetadata: {name: t}\nspec: {crd: {names: {kind: Rule}}}\n";
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: t}\nspec: {group: t.example, names: {kind: Template, plural: templates}}\n";
    let rule = "apiVersion: r.example/v1\nkind: Rule\nmetadata: {name: r}\n";
    found(&format!("{POD}---\n{definition}---\n{template}---\n{rule}"), &[]);
    found(
        &format!("{POD}---\n{definition}---\n{rule}"),
        &["m.yaml:12:7: Rule r: nothing brings the kind Rule of r.example"],
    );
}

#[test]
fn objects_stand_behind_what_they_need() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";
    let pod = POD.replace("{name: p}", "{name: p, namespace: n}");
    found(&format!("{namespace}---\n{pod}"), &[]);
    found(
        &format!("{pod}---\n{namespace}"),
        &["m.yaml:3:32: Pod n/p is applied before Namespace n, which it needs (put Namespace n before it)"],
    );
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: w}\nspec: {group: x.example, names: {kind: Widget, plural: widgets}}\n";
    let widget = "apiVersion: x.example/v1\nkind: Widget\nmetadata: {name: w}\n";
    found(&format!("{POD}---\n{definition}---\n{widget}"), &[]);
    found(
        &format!("{POD}---\n{widget}---\n{definition}"),
        &["m.yaml:7:7: Widget w is applied before CustomResourceDefinition w"],
    );
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n";
    let pod = POD.replace("spec: {", "spec: {serviceAccountName: a, ");
    found(&format!("{pod}---\n{account}"), &["m.yaml:4:28: is applied before ServiceAccount default/a"]);
    // Over the files of a group.
    let project = project(&[("m", POD), ("n", namespace)]);
    project.write("o.yaml", &POD.replace("{name: p}", "{name: q, namespace: n}"));
    project.write("manifests/suites/s.yaml", &manifest_suite(&["m", "n"]).replace("[n.yaml]", "[o.yaml, n.yaml]"));
    assert_found("", &project.findings(), &["o.yaml:3:32: (put Namespace n of n.yaml before it)"]);
}

#[test]
fn rights_and_optional_references_make_no_cycle() {
    let controller = |own: &str, other: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {own}}}\nspec: {{group: x.example, \
             names: {{kind: {own}, plural: {own}s}}}}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: \
             {{name: {own}}}\nrules: [{{apiGroups: [x.example], resources: [{other}s], verbs: [get]}}]\n"
        )
    };
    let rights = project(&[("a", &controller("gear", "wheel")), ("b", &controller("wheel", "gear")), ("m", POD)]);
    assert_found("", &rights.findings(), &[]);
    for step in ["apply:a", "apply:b"] {
        assert_eq!(needs(&rights, step), ["cluster"], "{step}");
    }
    // One way round, the kind comes first.
    let one = project(&[("a", &controller("gear", "gear")), ("b", &controller("wheel", "gear")), ("m", POD)]);
    assert_eq!(needs(&one, "apply:b"), ["cluster", "apply:a"]);

    let reads = |name: &str, of: &str, optional: bool| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n---\n{}",
            POD.replace("name: p", &format!("name: {name}")).replace(
                "{name: c,",
                &format!("{{name: c, envFrom: [{{configMapRef: {{name: {of}, optional: {optional}}}}}],")
            )
        )
    };
    assert_found("", &project(&[("a", &reads("a", "b", true)), ("b", &reads("b", "a", true))]).findings(), &[]);
    let cycle = project(&[("a", &reads("a", "b", false)), ("b", &reads("b", "a", false))]).findings();
    assert_found("", &cycle, &["manifests/suites/s.yaml:8: steps wait for each other"]);
    let groups = [("a", "b"), ("b", "d"), ("d", "a")].map(|(name, of)| (name, reads(name, of, false)));
    let cycle = project(&groups.each_ref().map(|(name, text)| (*name, text.as_str()))).findings();
    for (step, before) in [("a", "b"), ("b", "d"), ("d", "a")] {
        let reason = format!("apply:{step} needs apply:{before} for ConfigMap default/{before}");
        assert!(cycle.iter().any(|line| line.contains(&reason)), "no `{reason}` in {cycle:#?}");
    }
    assert_eq!(
        needs(&project(&[("a", &reads("a", "b", true)), ("b", &reads("b", "a", false))]), "apply:b"),
        ["cluster", "apply:a", "load:shop"]
    );
}

#[test]
fn pods_without_a_workload_are_waited_for() {
    for kind in ["Pod", "ReplicaSet", "ReplicationController"] {
        let text = POD.replace("kind: Pod", &format!("kind: {kind}"));
        assert_eq!(needs(&project(&[("m", &text)]), "ready:p"), ["apply:m"], "{kind}");
    }
}

#[test]
fn what_a_webhook_guards_waits_for_it() {
    let controller = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: w}
webhooks:
- name: w.x.example
  clientConfig: {service: {name: hook, namespace: default}}
  rules: [{apiGroups: [x.example], operations: [CREATE], resources: [gears]}]
---
apiVersion: v1
kind: Service
metadata: {name: hook}
spec: {selector: {a: b}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: p}
spec: {template: {metadata: {labels: {a: b, c: d}}, spec: {containers: [{name: c, image: 'r.example/shop:1'}]}}}
";
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: g}\nspec: {group: x.example, names: {kind: Gear, plural: gears}}\n";
    let gear = "apiVersion: x.example/v1\nkind: Gear\nmetadata: {name: g, namespace: default}\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n";
    let waits = |from: &str, to: &str| {
        let controller = controller.replace(from, to);
        let project = project(&[("c", &controller), ("d", definition), ("g", gear), ("m", map)]);
        let all = ["apply:g", "apply:m"].map(|step| needs(&project, step).contains(&"ready:p".to_owned()));
        (all[0], all[1])
    };
    for (from, to, expected) in [
        ("", "", (true, false)),
        ("kind: Validating", "kind: Mutating", (true, false)),
        ("[x.example]", "['*']", (true, false)),
        (
            "apiGroups: [x.example], operations: [CREATE], resources: [gears]",
            "apiGroups: ['*'], operations: ['*'], resources: ['*']",
            (true, true),
        ),
        (
            "apiGroups: [x.example], operations: [CREATE], resources: [gears]",
            "apiGroups: [''], operations: [CREATE], resources: [configmaps]",
            (false, true),
        ),
        ("- name", "- failurePolicy: Ignore\n  name", (false, false)),
        ("[CREATE]", "[DELETE]", (false, false)),
        ("- name", "- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}\n  name", (false, false)),
        ("selector: {a: b}", "selector: {a: c}", (false, false)),
    ] {
        assert_eq!(waits(from, to), expected, "{to}");
    }
    // What the webhook's own pods need cannot wait for them.
    let controller = controller
        .replace("[x.example]", "['']")
        .replace("[gears]", "['*']")
        .replace("{name: c, image", "{name: c, envFrom: [{configMapRef: {name: m}}], image");
    assert_eq!(needs(&project(&[("c", &controller), ("m", map)]), "apply:m"), ["cluster"]);
}

#[test]
fn a_webhook_has_its_service_and_guards_nothing_of_its_own_group() {
    let text = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: w}
webhooks:
- name: w.x.example
  clientConfig: {service: {name: hook, namespace: default}}
  rules: [{apiGroups: [''], operations: [CREATE], resources: [secrets]}]
---
apiVersion: v1
kind: Service
metadata: {name: hook}
spec: {selector: {a: b}, ports: [{port: 443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: p}
spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'r.example/shop:1'}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: m}
";
    for (from, to, expected) in [
        ("", "", &[][..]),
        ("{name: hook, namespace", "{name: hok, namespace", &["m.yaml:6:34: no manifest makes the Service `hok`"]),
        ("namespace: default}}", "namespace: other}}", &["m.yaml:6: no manifest makes the Service `hook` in `other`"]),
        (
            "[{port: 443}]",
            "[{port: 8443}]",
            &["m.yaml:6: Service default/hook has no port 443, which is asked (it has 8443)"],
        ),
        (
            "[secrets]",
            "[configmaps]",
            &["m.yaml:20:7: ConfigMap default/m is guarded by ValidatingWebhookConfiguration w"],
        ),
        ("[secrets]}]", "[configmaps]}]\n  failurePolicy: Ignore", &[]),
    ] {
        let project = project(&[("m", &text.replacen(from, to, 1))]);
        assert_found(to, &project.findings_where(|id| id == "webhook"), expected);
    }
}
