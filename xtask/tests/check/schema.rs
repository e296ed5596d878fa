//! Objects that are not of the form of their kind.

use super::{Project, assert_found, manifest_suite};

/// One of everything that has a form, and nothing wrong with it.
const WHOLE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: shop}}
data: {level: info}
---
apiVersion: v1
kind: Secret
metadata: {name: token}
type: Opaque
data: {token: c2VjcmV0}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  annotations: {shop.example/weight: \"7\"}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 25%}}
  template:
    metadata:
      creationTimestamp: null
      labels: {app: shop}
    spec:
      automountServiceAccountToken: false
      containers:
        - name: shop
          image: r.example/shop:1
          imagePullPolicy: IfNotPresent
          env:
            - {name: LEVEL, value: \"1\"}
            - {name: DEBUG, value: \"no\"}
          ports: [{containerPort: 8080}]
          resources:
            requests: {cpu: 0.5, memory: 64Mi}
            limits: {cpu: 500m, memory: 1e9}
          readinessProbe: {httpGet: {path: /, port: 8080}}
      volumes:
        - {name: v, secret: {secretName: token, defaultMode: 0440}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.x.example}
spec:
  group: x.example
  names: {kind: Gear, plural: gears}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            spec:
              type: object
              required: [teeth, mode]
              properties:
                teeth: {type: integer, minimum: 3}
                mode: {type: string, enum: [Fast, Slow], default: Slow}
                width: {x-kubernetes-int-or-string: true}
                free: {type: object, x-kubernetes-preserve-unknown-fields: true}
                more: {type: object, additionalProperties: {type: boolean}}
            status: {type: object, required: [turns], properties: {turns: {type: integer}}}
---
apiVersion: x.example/v1
kind: Gear
metadata: {name: one}
spec:
  teeth: 12
  width: 5
  free: {any: [thing]}
  more: {a: true}
---
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: shop}
spec: {signerName: shop.example/all, request: c2hvcA==, usages: [client auth]}
";

fn found(text: &str) -> Vec<String> {
    let project = Project::new(&[("Dockerfile", "FROM b\n"), ("m.yaml", text)]);
    project.write("manifests/suites/s.yaml", &manifest_suite(&["m"]));
    project.findings_where(|id| id == "schema")
}

#[test]
fn fields_types_and_what_is_missing() {
    assert_found("whole", &found(WHOLE), &[]);
    let mut missed = Vec::new();
    for (from, to, expected) in [
        (
            "  replicas: 2\n",
            "  replcas: 2\n",
            "m.yaml:18:3: `spec` of Deployment default/shop has no field `replcas` (did you mean `replicas`?)",
        ),
        ("imagePullPolicy:", "imagePullPolcy:", "m.yaml:30:11: `spec.template.spec.containers[0]` of"),
        // Indented too far, or not enough.
        (
            "      volumes:\n        -",
            "          volumes:\n        -",
            "m.yaml:39:11: has no field `volumes` (it is a field of `spec.template.spec`)",
        ),
        (
            "      automountServiceAccountToken: false",
            "      image: x",
            "m.yaml:26:7: no field `image` (it is a field of `spec.template.spec.containers[]`)",
        ),
        (
            "  replicas: 2",
            "  containers: []",
            "m.yaml:18:3: `spec` of Deployment default/shop has no field `containers`",
        ),
        (
            "{containerPort: 8080}",
            "{port: 8080}",
            "m.yaml:34:20: (there are: containerPort, hostIP, hostPort, name, protocol)",
        ),
        ("{containerPort: 8080}", "{}", "m.yaml:34:19: lacks the field `containerPort`"),
        (
            "replicas: 2",
            "replicas: \"2\"",
            "m.yaml:18:13: is the text \"2\", and a number is wanted (write 2 without quotes)",
        ),
        ("replicas: 2", "replicas: 1.5", "m.yaml:18:13: is the number 1.5, and a whole number is wanted"),
        ("value: \"1\"", "value: 1", "m.yaml:32:36: is the number 1, and a text is wanted (write \"1\")"),
        (
            "value: \"no\"",
            "value: no",
            "m.yaml:33:36: YAML 1.1 takes for true or false, and a text is wanted (write \"no\")",
        ),
        ("value: \"no\"", "value: true", "m.yaml:33:36: and a text is wanted (write \"true\")"),
        ("weight: \"7\"", "weight: 7", "m.yaml:16:38: `metadata.annotations.shop.example/weight` of Deployment"),
        (
            "{level: info}",
            "{level: {a: b}}",
            "m.yaml:4:15: `data.level` of ConfigMap default/settings is an object, and a text",
        ),
        ("IfNotPresent", "ifNotPresent", "m.yaml:30:28: it cannot be (did you mean `IfNotPresent`?)"),
        ("IfNotPresent", "Sometimes", "m.yaml:30:28: (there are: Always, IfNotPresent, Never)"),
        ("memory: 64Mi", "memory: 64MB", "m.yaml:36:42: is `64MB`, which is no quantity (did you mean `64Mi`?)"),
        ("memory: 64Mi", "memory: lots", "m.yaml:36:42: (as in 500m, 1.5, 128Mi, 2Gi)"),
        ("cpu: 0.5", "cpu: [1]", "m.yaml:36:29: is a list, and a quantity is wanted"),
        (
            "{token: c2VjcmV0}",
            "{token: secret!}",
            "m.yaml:10:15: is not encoded in base64 (encode it, or write it under",
        ),
        ("defaultMode: 0440", "defaultMode: \"0440\"", "m.yaml:40:62: is the text \"0440\", and a number is wanted"),
        ("ServiceAccountToken: false", "ServiceAccountToken: \"no\"", "m.yaml:26:37: (write false without quotes)"),
        ("[{containerPort: 8080}]", "{containerPort: 8080}", "m.yaml:34:18: is an object, and a list is wanted"),
        (
            "  selector: {matchLabels: {app: shop}}\n",
            "",
            "m.yaml:18:3: `spec` of Deployment default/shop lacks the field `selector`",
        ),
        ("        - name: shop\n          image:", "        - image:", "m.yaml:28:11: lacks the field `name`"),
        // Kinds and versions.
        (
            "apps/v1\n",
            "extensions/v1beta1\n",
            "m.yaml:12:13: no kind Deployment in extensions/v1beta1 (write `apiVersion: apps/v1`)",
        ),
        (
            "apiVersion: apps/v1\n",
            "apiVersion: v1\n",
            "m.yaml:12:13: no kind Deployment in v1 (write `apiVersion: apps/v1`)",
        ),
        (
            "kind: Deployment",
            "kind: Deploymnet",
            "m.yaml:13:7: no kind Deploymnet in apps/v1 (did you mean `Deployment`?)",
        ),
        // The definition's own form, and that of its objects.
        ("storage: true", "storag: true", "m.yaml:50:7: lacks the field `storage`"),
        ("minimum: 3", "minimun: 3", "m.yaml:62:40: has no field `minimun` (did you mean `minimum`?)"),
        ("x.example/v1\n", "x.example/v2\n", "m.yaml:69:13: serves no version v2 (write `apiVersion: x.example/v1`)"),
        ("  teeth: 12", "  teth: 12", "m.yaml:73:3: `spec` of Gear one has no field `teth` (did you mean `teeth`?)"),
        ("  teeth: 12\n", "", "m.yaml:73:3: `spec` of Gear one lacks the field `teeth`"),
        ("teeth: 12", "teeth: 2", "m.yaml:73:10: `spec.teeth` of Gear one is 2 (at least 3)"),
        ("teeth: 12", "teeth: \"12\"", "m.yaml:73:10: a number is wanted"),
        ("  width: 5", "  mode: fast", "m.yaml:74:9: (did you mean `Fast`?)"),
        ("  width: 5", "  width: [5]", "m.yaml:74:10: a number or a text is wanted"),
        ("more: {a: true}", "more: {a: 1}", "m.yaml:76:13: true or false is wanted"),
        ("{name: one}", "{name: one, label: {}}", "m.yaml:71:23: `metadata` of Gear one has no field `label`"),
    ] {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from}");
        let found = found(&text);
        let (place, message) = expected.split_once(' ').unwrap();
        if !found.iter().any(|one| one.starts_with(place) && one.contains(message)) {
            missed.push(format!("{to}\nexpected {expected}\nfound {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_newer_kubernetes_may_have_more() {
    let text = WHOLE.replacen("  replicas: 2\n", "  replcas: 2\n", 1);
    let project = Project::new(&[("Dockerfile", "FROM b\n"), ("m.yaml", &text)]);
    project.write("manifests/suites/s.yaml", &manifest_suite(&["m"]));
    let findings = |version: &str| {
        let setup = format!("versions: {{kubernetes: {version}}}\nengine_packages: []\npieces: []\n");
        project.write("images/setup.yaml", &setup);
        project.findings_where(|id| id == "schema").len()
    };
    assert_eq!((findings("v1.20.0"), findings("v1.99.0")), (1, 0));
}
