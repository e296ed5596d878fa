//! Mistakes that are planted into a whole project, and variations of it that are none.

use std::collections::BTreeMap;

use super::Project;

/// A project with one of everything.
pub(super) const SHOP: &[(&str, &str)] = &[
    (
        "manifests/suites/s.yaml",
        "\
name: s
phases: [ground, build, deploy]
cluster: {name: s, config: kind.yaml, node: node, phase: ground}
images:
  - {name: shop, dockerfile: Dockerfile, reference: 'localhost/shop:1', phase: build}
manifests:
  - {name: ground, files: [manifests/ground.yaml], phase: deploy}
  - {name: store, files: [manifests/store.yaml], phase: deploy}
  - {name: shop, files: [manifests/shop.yaml], phase: deploy}
  - {name: gears, files: [manifests/gears.yaml, manifests/net.yaml], phase: deploy}
services:
  - workload: shop
    routes: [/healthz, /readyz]
    calls:
      - {verbs: [get, list], resource: gears.shop.example}
      - {verbs: [get], resource: deployments.apps}
      - {verbs: [create], resource: leases.coordination.k8s.io, namespace: shop}
    policies: [{file: policies/routing.rego, query: data.shop.routing.path}]
access: |
  curl http://127.0.0.1:{30080}/
",
    ),
    (
        "kind.yaml",
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - role: control-plane\n    extraPortMappings:\n      \
         - {hostPort: 8080, containerPort: 30080}\n",
    ),
    (
        "policies/routing.rego",
        "package shop.routing\n\nimport rego.v1\n\ndefault path := \"slow\"\n\npath := \"fast\" if {\n\tinput.urgent\n}\n",
    ),
    (
        "Dockerfile",
        "FROM base.example/rust:1\nCOPY run /app/run\nCOPY policies/routing.rego /etc/shop/\nENTRYPOINT [\"/app/run\"]\n",
    ),
    ("run", "#!/bin/sh\n"),
    (
        "manifests/ground.yaml",
        "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.shop.example}
spec:
  group: shop.example
  names: {kind: Gear, plural: gears}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, required: [teeth], properties: {teeth: {type: integer}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: slow}
provisioner: rancher.io/local-path
",
    ),
    (
        "manifests/store.yaml",
        "\
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec:
  selector: {app: store}
  ports: [{port: 5432, targetPort: sql}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store, namespace: shop}
spec:
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true}
      containers:
        - name: store
          image: docker.io/library/postgres:15
          securityContext: {readOnlyRootFilesystem: true}
          ports: [{name: sql, containerPort: 5432}]
          volumeMounts:
            - {name: data, mountPath: /var/lib/store}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 1Gi}}
        storageClassName: slow
",
    ),
    (
        "manifests/shop.yaml",
        "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: shop}
rules:
  - {apiGroups: [shop.example], resources: [gears], verbs: [get, list]}
  - {apiGroups: [apps], resources: [deployments], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shop}
subjects: [{kind: ServiceAccount, name: shop, namespace: shop}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: shop-leases, namespace: shop}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: shop-leases, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: shop-leases}
subjects: [{kind: ServiceAccount, name: shop}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data:
  shop.conf: |
    # The store is http://nowhere:1
    store = postgres://shop@store:5432/shop
    level = info
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: shop}
stringData: {token: word}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec:
  type: NodePort
  selector: {app: shop}
  ports:
    - {name: http, port: 80, targetPort: http, nodePort: 30080}
    - {name: health, port: 81, targetPort: 8081}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: shop, namespace: shop}
spec: {minAvailable: 1, selector: {matchLabels: {app: shop}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: shop}
spec:
  selector: {matchLabels: {app: shop, tier: front}}
  template:
    metadata: {labels: {app: shop, tier: front}}
    spec:
      serviceAccountName: shop
      securityContext: {runAsNonRoot: true}
      containers:
        - name: shop
          image: localhost/shop:1
          imagePullPolicy: Never
          securityContext: {readOnlyRootFilesystem: true}
          env:
            - {name: SELF, value: 'http://shop.shop.svc:80'}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: token, key: token}}}
          ports:
            - {name: http, containerPort: 8080}
            - {name: health, containerPort: 8081}
          readinessProbe: {httpGet: {path: /readyz, port: health}}
          livenessProbe: {httpGet: {path: /healthz, port: 8081}}
          resources:
            requests: {cpu: 50m, memory: 64Mi}
            limits: {memory: 128Mi}
          volumeMounts:
            - {name: config, mountPath: /etc/settings}
      volumes:
        - {name: config, configMap: {name: settings}}
",
    ),
    (
        "manifests/net.yaml",
        "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: store, namespace: shop}
spec:
  podSelector: {matchLabels: {app: store}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: shop}}}]
      ports: [{port: sql}]
  egress:
    - to:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
          podSelector: {matchLabels: {k8s-app: kube-dns}}
    - {to: [{podSelector: {matchLabels: {app: store}}}], ports: [{port: 5432}]}
",
    ),
    (
        "manifests/gears.yaml",
        "apiVersion: shop.example/v1\nkind: Gear\nmetadata: {name: one, namespace: shop}\nspec: {teeth: 12}\n",
    ),
];

/// A mistake: the file, the text that is there once, what it becomes; the class and the line of what is found, and a
/// part of what it says.
type Planted = (&'static str, &'static str, &'static str, &'static str, &'static str);

const MISTAKES: &[Planted] = &[
    // The suite.
    (
        "manifests/suites/s.yaml",
        "dockerfile: Dockerfile",
        "dockerfil: Dockerfile",
        "suite manifests/suites/s.yaml:5",
        "did you mean `dockerfile`?",
    ),
    (
        "manifests/suites/s.yaml",
        "dockerfile: Dockerfile",
        "dockerfile: Dockerfil",
        "suite manifests/suites/s.yaml:5",
        "did you mean `Dockerfile`?",
    ),
    (
        "manifests/suites/s.yaml",
        "[manifests/store.yaml]",
        "[manifests/stor.yaml]",
        "suite manifests/suites/s.yaml:8",
        "did you mean `manifests/store.yaml`?",
    ),
    (
        "manifests/suites/s.yaml",
        "config: kind.yaml",
        "config: kid.yaml",
        "cluster manifests/suites/s.yaml:3",
        "did you mean `kind.yaml`?",
    ),
    ("manifests/suites/s.yaml", "node: node", "node: nod", "cluster manifests/suites/s.yaml:3", "did you mean `node`?"),
    (
        "manifests/suites/s.yaml",
        "workload: shop",
        "workload: shpo",
        "workload manifests/suites/s.yaml:12",
        "did you mean `shop`?",
    ),
    (
        "manifests/suites/s.yaml",
        "{30080}",
        "{30081}",
        "port manifests/suites/s.yaml:19",
        "no Service has the NodePort 30081",
    ),
    (
        "manifests/suites/s.yaml",
        "routing.rego",
        "route.rego",
        "policy manifests/suites/s.yaml:18",
        "policies/routing.rego",
    ),
    (
        "manifests/suites/s.yaml",
        "shop.routing.path",
        "shop.routing.paths",
        "policy policies/routing.rego:1",
        "did you mean `path`?",
    ),
    (
        "manifests/suites/s.yaml",
        "verbs: [get, list]",
        "verbs: [get, watch]",
        "rights manifests/suites/s.yaml:15",
        "calls `watch` on gears.shop.example",
    ),
    // kind.
    (
        "kind.yaml",
        "containerPort: 30080",
        "containerPort: 30800",
        "port-unlisted kind.yaml:6",
        "there are 30080 (shop, port http)",
    ),
    (
        "kind.yaml",
        "containerPort: 30080}",
        "containerPort: 30080}\n      - {hostPort: 8080, containerPort: 30080}",
        "port kind.yaml:7",
        "mapped twice",
    ),
    ("kind.yaml", "nodes:", "node:", "cluster kind.yaml:3", "did you mean `nodes`?"),
    ("kind.yaml", "role: control-plane", "role: worker", "cluster kind.yaml:4", "no node has the role `control-plane`"),
    ("kind.yaml", "hostPort: 8080", "hostPort: '8080'", "cluster kind.yaml:6", "write 8080 without quotes"),
    (
        "kind.yaml",
        "hostPort: 8080, containerPort: 30080",
        "hostPort: 8080",
        "cluster kind.yaml:6",
        "lacks the field `containerPort`",
    ),
    (
        "kind.yaml",
        "nodes:",
        "kubeadmConfigPatches:\n  - |\n    kind: KubeletConfigurations\nnodes:",
        "cluster kind.yaml:5",
        "did you mean `KubeletConfiguration`?",
    ),
    (
        "kind.yaml",
        "nodes:",
        "containerdConfigPatches:\n  - |-\n    [plugins]\n      a: b\nnodes:",
        "cluster kind.yaml:6",
        "neither the head of a table nor",
    ),
    // Rego.
    (
        "policies/routing.rego",
        "package shop.routing",
        "package shop.route",
        "policy policies/routing.rego:1",
        "asks for `shop.routing`",
    ),
    (
        "policies/routing.rego",
        "\tinput.urgent\n}",
        "\tinput.urgent\n",
        "policy policies/routing.rego:7",
        "`{` is closed nowhere",
    ),
    // Dockerfile.
    ("Dockerfile", "COPY run", "COPY rn", "copy-source Dockerfile:2", "rn"),
    ("Dockerfile", "[\"/app/run\"]", "[\"/app/rnu\"]", "image-path Dockerfile:4", "/app/rnu"),
    ("Dockerfile", "policies/routing.rego", "policies/priority.rego", "copy-source Dockerfile:3", "priority.rego"),
    // Images.
    (
        "manifests/shop.yaml",
        "localhost/shop:1",
        "localhost/shop:2",
        "image-unknown manifests/shop.yaml:70",
        "did you mean `localhost/shop:1`?",
    ),
    (
        "manifests/shop.yaml",
        "localhost/shop:1",
        "shop:1",
        "image-unknown manifests/shop.yaml:70",
        "did you mean `localhost/shop:1`?",
    ),
    (
        "manifests/shop.yaml",
        "localhost/shop:1",
        "localhost/shpo:1",
        "image-unused manifests/suites/s.yaml:5",
        "no manifest uses",
    ),
    (
        "manifests/shop.yaml",
        "imagePullPolicy: Never",
        "imagePullPolicy: Always",
        "pull-policy manifests/shop.yaml:71",
        "write `IfNotPresent`",
    ),
    // The form of objects.
    (
        "manifests/shop.yaml",
        "imagePullPolicy: Never",
        "imagePullPolcy: Never",
        "schema manifests/shop.yaml:71",
        "did you mean `imagePullPolicy`?",
    ),
    (
        "manifests/shop.yaml",
        "minAvailable: 1",
        "minAvailabel: 1",
        "schema manifests/shop.yaml:56",
        "did you mean `minAvailable`?",
    ),
    (
        "manifests/shop.yaml",
        "imagePullPolicy: Never",
        "imagePullPolicy: never",
        "schema manifests/shop.yaml:71",
        "did you mean `Never`?",
    ),
    (
        "manifests/shop.yaml",
        "value: 'http://shop.shop.svc:80'",
        "value: 80",
        "schema manifests/shop.yaml:74",
        "a text is wanted",
    ),
    ("manifests/shop.yaml", "memory: 64Mi", "memory: 64MB", "schema manifests/shop.yaml:82", "did you mean `64Mi`?"),
    (
        "manifests/shop.yaml",
        "apiVersion: policy/v1\n",
        "apiVersion: policy/v1beta1\n",
        "schema manifests/shop.yaml:53",
        "write `apiVersion: policy/v1`",
    ),
    (
        "manifests/store.yaml",
        "  serviceName: store\n  selector: {matchLabels: {app: store}}",
        "  serviceName: store",
        "schema manifests/store.yaml:12",
        "lacks the field `selector`",
    ),
    (
        "manifests/store.yaml",
        "containerPort: 5432",
        "containerPort: '5432'",
        "schema manifests/store.yaml:23",
        "write 5432 without quotes",
    ),
    ("manifests/gears.yaml", "teeth: 12", "teth: 12", "schema manifests/gears.yaml:4", "did you mean `teeth`?"),
    (
        "manifests/gears.yaml",
        "shop.example/v1",
        "shop.example/v2",
        "schema manifests/gears.yaml:1",
        "serves no version v2",
    ),
    ("manifests/gears.yaml", "kind: Gear\n", "kind: Geer\n", "not-made manifests/gears.yaml:2", "did you mean `Gear`?"),
    // What the API server refuses although each value is of its type.
    (
        "manifests/net.yaml",
        "metadata: {name: store,",
        "metadata: {name: Store_1,",
        "schema manifests/net.yaml:3",
        "cannot be a name",
    ),
    (
        "manifests/shop.yaml",
        "metadata: {labels: {app: shop, tier: front}}",
        "metadata: {labels: {app: shop, tier: front, note: two words}}",
        "schema manifests/shop.yaml:64",
        "`two words` cannot be a label's value",
    ),
    (
        "manifests/shop.yaml",
        "readinessProbe: {httpGet:",
        "readinessProbe: {tcpSocket: {port: 8081}, httpGet:",
        "schema manifests/shop.yaml:79",
        "httpGet and tcpSocket at once",
    ),
    (
        "manifests/shop.yaml",
        "readinessProbe: {httpGet: {path: /readyz, port: health}}",
        "readinessProbe: {periodSeconds: 5}",
        "schema manifests/shop.yaml:79",
        "does nothing",
    ),
    (
        "manifests/shop.yaml",
        "readinessProbe: {httpGet:",
        "readinessProbe: {periodSeconds: -1, httpGet:",
        "schema manifests/shop.yaml:79",
        "is -1 (at least 0)",
    ),
    (
        "manifests/shop.yaml",
        "livenessProbe: {httpGet:",
        "livenessProbe: {successThreshold: 2, httpGet:",
        "schema manifests/shop.yaml:80",
        "is 2 (it has to be 1",
    ),
    (
        "manifests/shop.yaml",
        "spec:\n  selector: {matchLabels: {app: shop, tier: front}}\n",
        "spec:\n  strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}\n  selector: {matchLabels: {app: shop, tier: front}}\n",
        "schema manifests/shop.yaml:62",
        "beside the type Recreate",
    ),
    (
        "manifests/shop.yaml",
        "spec:\n  selector: {matchLabels: {app: shop, tier: front}}\n",
        "spec:\n  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}\n  selector: {matchLabels: {app: shop, tier: front}}\n",
        "schema manifests/shop.yaml:62",
        "are both 0",
    ),
    (
        "manifests/shop.yaml",
        "serviceAccountName: shop",
        "restartPolicy: Never\n      serviceAccountName: shop",
        "schema manifests/shop.yaml:66",
        "is `Never` (pods of a Deployment are always started again: leave it out)",
    ),
    (
        "manifests/gears.yaml",
        "spec: {teeth: 12}\n",
        "spec: {teeth: 12}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: once, namespace: shop}\nspec: {template: {spec: \
         {containers: [{name: a, image: 'localhost/shop:1'}]}}}\n",
        "schema manifests/gears.yaml:9",
        "write `restartPolicy: OnFailure` or `Never`",
    ),
    (
        "manifests/gears.yaml",
        "spec: {teeth: 12}\n",
        "spec: {teeth: 12}\n---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: daily, namespace: shop}\nspec:\n  \
         schedule: '0 4 * *'\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: \
         'localhost/shop:1'}]}}}}\n",
        "schema manifests/gears.yaml:10",
        "has 4 fields",
    ),
    (
        "manifests/gears.yaml",
        "spec: {teeth: 12}\n",
        "spec: {teeth: 12}\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: shop, namespace: \
         shop}\nspec: {minReplicas: 3, maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}}\n",
        "schema manifests/gears.yaml:9",
        "the least is 3, and the most is 2",
    ),
    (
        "manifests/store.yaml",
        "serviceName: store",
        "serviceName: stroe",
        "service manifests/store.yaml:12",
        "did you mean `store`?",
    ),
    // What must be there.
    (
        "manifests/ground.yaml",
        "metadata: {name: shop}",
        "metadata: {name: shops}",
        "not-made manifests/store.yaml:3",
        "no manifest makes the namespace `shop`",
    ),
    (
        "manifests/shop.yaml",
        "configMap: {name: settings}",
        "configMap: {name: setings}",
        "not-made manifests/shop.yaml:87",
        "did you mean `settings`?",
    ),
    (
        "manifests/shop.yaml",
        "secretKeyRef: {name: token, key: token}",
        "secretKeyRef: {name: token, key: tokn}",
        "not-made manifests/shop.yaml:75",
        "did you mean `token`?",
    ),
    (
        "manifests/shop.yaml",
        "secretKeyRef: {name: token,",
        "secretKeyRef: {name: tokens,",
        "not-made manifests/shop.yaml:75",
        "did you mean `token`?",
    ),
    (
        "manifests/shop.yaml",
        "serviceAccountName: shop",
        "serviceAccountName: shpo",
        "not-made manifests/shop.yaml:66",
        "did you mean `shop`?",
    ),
    (
        "manifests/store.yaml",
        "storageClassName: slow",
        "storageClassName: slwo",
        "not-made manifests/store.yaml:31",
        "did you mean `slow`?",
    ),
    (
        "manifests/ground.yaml",
        "name: slow",
        "name: quick",
        "not-made manifests/store.yaml:31",
        "needs the StorageClass `slow`, and no manifest makes it",
    ),
    // Selectors.
    (
        "manifests/shop.yaml",
        "matchLabels: {app: shop, tier: front}",
        "matchLabels: {app: shop, tier: frnot}",
        "selector manifests/shop.yaml:62",
        "they have tier=front",
    ),
    (
        "manifests/shop.yaml",
        "  selector: {app: shop}",
        "  selector: {app: shpo}",
        "selector manifests/shop.yaml:48",
        "did you mean `shop`?",
    ),
    (
        "manifests/shop.yaml",
        "1, selector: {matchLabels: {app: shop}}",
        "1, selector: {matchLabels: {app: sho}}",
        "selector manifests/shop.yaml:56",
        "did you mean `shop`?",
    ),
    (
        "manifests/store.yaml",
        "  selector: {app: store}",
        "  selector: {name: store}",
        "selector manifests/store.yaml:5",
        "nothing makes such",
    ),
    (
        "manifests/net.yaml",
        "podSelector: {matchLabels: {app: store}}\n  ingress",
        "podSelector: {matchLabels: {app: stroe}}\n  ingress",
        "selector manifests/net.yaml:5",
        "did you mean `store`?",
    ),
    (
        "manifests/net.yaml",
        "podSelector: {matchLabels: {app: store}}\n  ingress",
        "podSelector: {matchLabels: {name: store}}\n  ingress",
        "selector manifests/net.yaml:5",
        "nothing makes such",
    ),
    (
        "manifests/net.yaml",
        "matchLabels: {app: shop}",
        "matchLabels: {app: shpo}",
        "selector manifests/net.yaml:7",
        "did you mean `shop`?",
    ),
    (
        "manifests/net.yaml",
        "metadata.name: kube-system",
        "metadata.name: kube-sytem",
        "selector manifests/net.yaml:11",
        "did you mean `kube-system`?",
    ),
    // Ports.
    ("manifests/net.yaml", "port: sql", "port: sq", "port manifests/net.yaml:8", "has the name `sq`"),
    (
        "manifests/net.yaml",
        "port: 5432",
        "port: 5433",
        "port-unlisted manifests/net.yaml:13",
        "they declare 5432; a policy sees the ports of pods",
    ),
    (
        "manifests/shop.yaml",
        "targetPort: http,",
        "targetPort: htp,",
        "port manifests/shop.yaml:50",
        "did you mean `http`?",
    ),
    (
        "manifests/shop.yaml",
        "targetPort: 8081",
        "targetPort: 8018",
        "port-unlisted manifests/shop.yaml:51",
        "it declares 8080, 8081",
    ),
    (
        "manifests/shop.yaml",
        "path: /readyz, port: health",
        "path: /readyz, port: helth",
        "port manifests/shop.yaml:79",
        "did you mean `health`?",
    ),
    (
        "manifests/shop.yaml",
        "path: /healthz, port: 8081",
        "path: /healthz, port: 8018",
        "port-unlisted manifests/shop.yaml:80",
        "does not declare",
    ),
    ("manifests/shop.yaml", "nodePort: 30080", "nodePort: 20080", "port manifests/shop.yaml:50", "30000 to 32767"),
    (
        "manifests/shop.yaml",
        "targetPort: 8081}",
        "targetPort: 8081, nodePort: 30080}",
        "port manifests/shop.yaml:51",
        "is taken by this Service itself",
    ),
    ("manifests/shop.yaml", "  type: NodePort\n", "", "port manifests/shop.yaml:49", "write `type: NodePort`"),
    (
        "manifests/shop.yaml",
        "{name: health, port: 81,",
        "{port: 81,",
        "port manifests/shop.yaml:51",
        "this one has no name",
    ),
    // Names of Services.
    (
        "manifests/shop.yaml",
        "shop@store:5432",
        "shop@stor:5432",
        "service manifests/shop.yaml:35",
        "did you mean `store`?",
    ),
    ("manifests/shop.yaml", "shop@store:5432", "shop@store:5433", "service manifests/shop.yaml:35", "write 5432"),
    (
        "manifests/shop.yaml",
        "shop.shop.svc:80'",
        "shop.sho.svc:80'",
        "service manifests/shop.yaml:74",
        "write `shop.shop`",
    ),
    // Volumes, limits.
    (
        "manifests/shop.yaml",
        "imagePullPolicy: Never\n",
        "imagePullPolicy: Never\n          args: [--config=/etc/settings/shop.cnf]\n",
        "volume manifests/shop.yaml:72",
        "gives it no file `shop.cnf` (did you mean `shop.conf`?)",
    ),
    (
        "manifests/shop.yaml",
        "            - {name: TOKEN,",
        "            - {name: CONFIG, value: /etc/settings/more/other.conf}\n            - {name: TOKEN,",
        "volume manifests/shop.yaml:75",
        "gives it no file `more/other.conf` (it has: shop.conf)",
    ),
    (
        "manifests/shop.yaml",
        "{name: config, mountPath",
        "{name: confg, mountPath",
        "volume manifests/shop.yaml:85",
        "did you mean `config`?",
    ),
    (
        "manifests/shop.yaml",
        "          volumeMounts:\n            - {name: config, mountPath: /etc/settings}\n",
        "",
        "volume-unused manifests/shop.yaml:85",
        "no container mounts",
    ),
    (
        "manifests/store.yaml",
        "{name: data, mountPath",
        "{name: date, mountPath",
        "volume manifests/store.yaml:25",
        "did you mean `data`?",
    ),
    (
        "manifests/shop.yaml",
        "limits: {memory: 128Mi}",
        "limits: {memory: 32Mi}",
        "limits manifests/shop.yaml:83",
        "64Mi is requested",
    ),
    // Rights.
    (
        "manifests/shop.yaml",
        "resources: [deployments]",
        "resources: [deployment]",
        "rights manifests/shop.yaml:10",
        "did you mean `deployments`?",
    ),
    (
        "manifests/shop.yaml",
        "apiGroups: [apps]",
        "apiGroups: ['']",
        "rights manifests/shop.yaml:10",
        "it is of the group \"apps\"",
    ),
    (
        "manifests/shop.yaml",
        "verbs: [get, list]",
        "verbs: [get, lst]",
        "rights manifests/shop.yaml:9",
        "did you mean `list`?",
    ),
    (
        "manifests/shop.yaml",
        "kind: ClusterRole, name: shop",
        "kind: ClusterRole, name: shpo",
        "rights manifests/shop.yaml:15",
        "did you mean `shop`?",
    ),
    (
        "manifests/shop.yaml",
        "subjects: [{kind: ServiceAccount, name: shop}]",
        "subjects: [{kind: ServiceAccount, name: shp}]",
        "rights manifests/shop.yaml:27",
        "did you mean `shop`?",
    ),
    (
        "manifests/shop.yaml",
        "resources: [leases], verbs: [create]",
        "resources: [leases], verbs: [get]",
        "rights manifests/suites/s.yaml:17",
        "calls `create` on leases.coordination.k8s.io in `shop`",
    ),
    (
        "manifests/shop.yaml",
        "resources: [gears], verbs: [get, list]",
        "resources: [gears], verbs: [get, list, delete]",
        "rights-unused manifests/shop.yaml:9",
        "allows delete of gears, and nothing that runs as shop/shop says that it calls that",
    ),
    (
        "manifests/suites/s.yaml",
        "      - {verbs: [get], resource: deployments.apps}\n",
        "",
        "rights-unused manifests/shop.yaml:10",
        "allows get of deployments",
    ),
    (
        "manifests/shop.yaml",
        "resources: [leases], verbs: [create]",
        "resources: [leases, secrets], verbs: [create]",
        "rights-unused manifests/shop.yaml:21",
        "allows create of secrets",
    ),
    // Routes.
    (
        "manifests/shop.yaml",
        "path: /healthz",
        "path: /health",
        "route manifests/shop.yaml:80",
        "did you mean `/healthz`?",
    ),
    // Security.
    (
        "manifests/store.yaml",
        "{readOnlyRootFilesystem: true}",
        "{readOnlyRootFilesystem: true, privileged: true}",
        "security manifests/store.yaml:20",
        "is privileged",
    ),
    (
        "manifests/store.yaml",
        "      securityContext: {runAsNonRoot: true}\n",
        "",
        "security manifests/store.yaml:19",
        "may run as root",
    ),
    (
        "manifests/store.yaml",
        "          securityContext: {readOnlyRootFilesystem: true}\n",
        "",
        "security manifests/store.yaml:20",
        "may write to its root file system",
    ),
    (
        "manifests/store.yaml",
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
        "security manifests/store.yaml:17",
        "no role gives it a right",
    ),
    ("manifests/store.yaml", "postgres:15", "postgres", "security manifests/store.yaml:21", "another image"),
    // Order and groups.
    (
        "manifests/suites/s.yaml",
        "files: [manifests/shop.yaml]",
        "files: [manifests/shop.yaml, manifests/twice.yaml]",
        "plan manifests/twice.yaml:3",
        "Service shop/store",
    ),
];

pub(super) fn shop() -> Project {
    let project = Project::new(SHOP);
    let twice = "apiVersion: v1\nkind: Service\nmetadata: {name: store, namespace: shop}\nspec: {selector: {app: store}, ports: [{port: 1}]}\n";
    project.write("manifests/twice.yaml", twice);
    project
}

/// Class, place and text of everything that is found.
pub(super) fn found(project: &Project) -> Vec<String> {
    match xtask::suite::Suite::load(&project.root, "s") {
        Ok(suite) => xtask::check::findings(&project.root, &suite)
            .unwrap()
            .iter()
            .map(|finding| format!("{} {}", finding.class.id, finding.problem))
            .collect(),
        Err(problems) => problems.0.iter().map(|problem| format!("suite {problem}")).collect(),
    }
}

#[test]
fn each_mistake_in_a_whole_project_is_found() {
    let project = shop();
    assert_eq!(found(&project), [""; 0]);
    let texts: BTreeMap<&str, &str> = SHOP.iter().copied().collect();
    let mut missed = Vec::new();
    for (file, from, to, place, message) in MISTAKES {
        let text = texts[file];
        assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
        project.write(file, &text.replacen(from, to, 1));
        let found = found(&project);
        project.write(file, text);
        let is_it =
            |one: &String| one.strip_prefix(place).is_some_and(|rest| rest.starts_with(':')) && one.contains(message);
        if !found.iter().any(is_it) {
            missed.push(format!("{to:?}: expected {place}: {message}\n{found:#?}"));
        }
    }
    assert!(MISTAKES.len() >= 80 && missed.is_empty(), "{}", missed.join("\n"));
}

/// What is written in another way, and right.
const VARIATIONS: &[(&str, &str, &str)] = &[
    ("manifests/shop.yaml", "targetPort: http,", "targetPort: 8080,"),
    ("manifests/shop.yaml", "limits: {memory: 128Mi}", "limits: {memory: 134217728, cpu: '1'}"),
    ("manifests/shop.yaml", "shop@store:5432", "shop@store.shop.svc.cluster.local:5432"),
    ("manifests/shop.yaml", "'http://shop.shop.svc:80'", "'https://api.example.com:8443/v1'"),
    ("manifests/shop.yaml", "configMap: {name: settings}", "configMap: {name: other, optional: true}"),
    // Files of a mounted ConfigMap, and what is none.
    (
        "manifests/shop.yaml",
        "imagePullPolicy: Never\n",
        "imagePullPolicy: Never\n          args: [/etc/settings, --config=/etc/settings/shop.conf, '/etc/settings/*.conf', \
         /etc/settingsx/a, /etc/settings/$(NAME), 'cat /etc/settings/x', /etc/settings/a:/etc/settings/b]\n",
    ),
    (
        "manifests/shop.yaml",
        "mountPath: /etc/settings}",
        "mountPath: /etc/settings}\n            - {name: config, mountPath: /etc/settings/one.conf, subPath: shop.conf}\n            \
         - {name: config, mountPath: /etc/more, subPath: more}\n          args: [/etc/settings/one.conf, /etc/more/x]",
    ),
    (
        "manifests/shop.yaml",
        "mountPath: /etc/settings}\n      volumes:\n        - {name: config, configMap: {name: settings}}\n",
        "mountPath: /etc/settings}\n          args: [/etc/settings/a/b, /etc/settings/a]\n      volumes:\n        \
         - {name: config, configMap: {name: settings, items: [{key: shop.conf, path: a/b}]}}\n",
    ),
    // Keys that somebody else adds.
    (
        "manifests/shop.yaml",
        "mountPath: /etc/settings}\n      volumes:\n        - {name: config, configMap: {name: settings}}\n",
        "mountPath: /etc/settings}\n          args: [/etc/settings/tls.crt]\n      volumes:\n        \
         - {name: config, secret: {secretName: tls}}\n---\napiVersion: v1\nkind: Secret\n\
         metadata: {name: tls, namespace: shop}\n",
    ),
    ("manifests/shop.yaml", "verbs: [get, list]", "verbs: ['*']"),
    ("manifests/shop.yaml", "imagePullPolicy: Never", "imagePullPolicy: IfNotPresent"),
    ("manifests/shop.yaml", "nodePort: 30080", "nodePort: 30080, protocol: TCP"),
    ("manifests/shop.yaml", "path: /healthz", "path: /healthz?full=1"),
    ("manifests/shop.yaml", "data:\n  shop.conf: |\n", "data:\n  empty: ''\n  shop.conf: |\n"),
    ("manifests/shop.yaml", "  selector: {app: shop}\n  ports", "  selector:\n    \"app\": 'shop'\n  ports"),
    (
        "manifests/store.yaml",
        "  volumeClaimTemplates:\n    - metadata: {name: data}",
        "  replicas: 0x2\n  volumeClaimTemplates:\n    - metadata: {name: data, creationTimestamp: null}",
    ),
    ("manifests/store.yaml", "serviceName: store\n", "serviceName: store\n  revisionHistoryLimit: 0\n"),
    (
        "manifests/store.yaml",
        "postgres:15",
        "postgres@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    ("kind.yaml", "nodes:", "# nothing\nnodes:"),
    ("kind.yaml", "nodes:", "featureGates: {A: yes}\nruntimeConfig: {api/alpha: false}\nnodes:"),
    ("kind.yaml", "containerPort: 30080}", "containerPort: 30080, protocol: tcp, listenAddress: '::1'}"),
    (
        "kind.yaml",
        "nodes:",
        "kubeadmConfigPatches:\n- |\n  kind: KubeletConfiguration\n  anything: {a: 1}\n- |\n  kind: ClusterConfiguration\n  \
         scheduler: {extraArgs: [{name: v, value: '1'}]}\nnodes:",
    ),
    (
        "kind.yaml",
        "nodes:",
        "containerdConfigPatches:\n- |-\n  # \"\n  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    config_path = \"/etc\"\nnodes:",
    ),
    ("manifests/store.yaml", "storageClassName: slow", "storageClassName: standard"),
    ("manifests/store.yaml", "storageClassName: slow", "storageClassName: ''"),
    (
        "manifests/store.yaml",
        "storageClassName: slow\n",
        "storageClassName: own\n---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {name: one}\nspec: {storageClassName: own, \
         hostPath: {path: /x}, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}\n",
    ),
    ("manifests/net.yaml", "matchLabels: {app: shop}", "matchLabels: {app: monitoring}"),
    ("manifests/net.yaml", "podSelector: {matchLabels: {app: store}}\n  ingress", "podSelector: {}\n  ingress"),
    (
        "manifests/net.yaml",
        "podSelector: {matchLabels: {app: store}}\n  ingress",
        "podSelector: {matchExpressions: [{key: app, operator: In, values: [store]}]}\n  ingress",
    ),
    ("manifests/net.yaml", "port: 5432", "port: 5000, endPort: 6000"),
    ("manifests/shop.yaml", "resources: [gears], verbs: [get, list]", "resources: ['*'], verbs: [get, list]"),
    (
        "manifests/shop.yaml",
        "rules: [{apiGroups: [coordination.k8s.io]",
        "rules: [{apiGroups: [''], resources: [services], resourceNames: [shop], verbs: [create]}, {apiGroups: [coordination.k8s.io]",
    ),
    ("policies/routing.rego", "default path := \"slow\"", "default path := `slow {`"),
    (
        "Dockerfile",
        "ENTRYPOINT [\"/app/run\"]",
        "HEALTHCHECK --interval=5s --start-period=1m CMD [ -f /x ] && true\nSTOPSIGNAL SIGTERM\nmaintainer a\nEXPOSE 80/tcp \
         90-91\nRUN --mount=type=tmpfs,target=/t --network=none [ \"$A\" = \"b\" ]\nCOPY --chmod=u=rwx,go=rx --link --exclude=*.a run \
         /app/other\nCMD [ -f /x ]\nENTRYPOINT [\"/app/run\"]",
    ),
    (
        "manifests/shop.yaml",
        "readinessProbe: {httpGet:",
        "readinessProbe: {successThreshold: 2, periodSeconds: 0, httpGet:",
    ),
    (
        "manifests/shop.yaml",
        "spec:\n  selector: {matchLabels: {app: shop, tier: front}}\n",
        "spec:\n  strategy: {type: Recreate}\n  selector: {matchLabels: {app: shop, tier: front}}\n",
    ),
    (
        "manifests/shop.yaml",
        "metadata: {labels: {app: shop, tier: front}}",
        "metadata: {labels: {app: shop, tier: front, note: '', other: A_b.c-9}}",
    ),
    (
        "manifests/shop.yaml",
        "metadata: {name: token, namespace",
        "metadata: {labels: {example.com/a: b}, name: token, namespace",
    ),
    (
        "manifests/shop.yaml",
        "kind: ClusterRole\nmetadata: {name: shop}\nrules",
        "kind: ClusterRole\nmetadata: {name: 'Shop:all_of it'}\nrules: []\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: \
         ClusterRole\nmetadata: {name: shop}\nrules",
    ),
    (
        "manifests/gears.yaml",
        "spec: {teeth: 12}\n",
        "spec: {teeth: 12}\n---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: daily, namespace: shop}\nspec:\n  \
         schedule: '@daily'\n  jobTemplate: {spec: {template: {spec: {automountServiceAccountToken: false, restartPolicy: Never, \
         securityContext: {runAsNonRoot: true}, containers: [{name: a, image: 'localhost/shop:1', imagePullPolicy: Never, \
         securityContext: {readOnlyRootFilesystem: true}}]}}}}\n",
    ),
    ("Dockerfile", "COPY run /app/run", "COPY --chmod=755 [\"run\", \"/app/run\"]"),
];

#[test]
fn what_is_written_in_another_way_is_no_mistake() {
    let project = shop();
    let texts: BTreeMap<&str, &str> = SHOP.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, from, to) in VARIATIONS {
        let text = texts[file];
        assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
        project.write(file, &text.replacen(from, to, 1));
        let found = found(&project);
        project.write(file, text);
        if !found.is_empty() {
            wrong.push(format!("{to:?}\n{found:#?}"));
        }
    }
    assert!(VARIATIONS.len() >= 25 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Mistakes in this very workspace: the file, the text that is there, what its first one becomes; the class and the file
/// of what is found, the text that the line of it begins with or has first in that file, and a part of what it says.
type Here = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const HERE: &[Here] = &[
    (
        "manifests/kind/gateway.yaml",
        "hostPath: manifests/kind/patches",
        "hostPath: manifests/kind/patchs",
        "cluster manifests/kind/gateway.yaml",
        "hostPath: manifests/kind/patchs",
        "did you mean `manifests/kind/patches`?",
    ),
    (
        "manifests/namespace.yaml",
        "enforce: restricted",
        "enforce: restrictd",
        "schema manifests/namespace.yaml",
        "enforce: restrictd",
        "did you mean `restricted`?",
    ),
    (
        "manifests/suites/gateway.yaml",
        "reference: localhost/kubernaut-gateway:",
        "reference: localhost/gateway:",
        "image-unknown manifests/gateway.yaml",
        "image: localhost/kubernaut-gateway",
        "did you mean `localhost/gateway:e2e-test`?",
    ),
    (
        "manifests/suites/gateway.yaml",
        "preload: [postgres, redis]",
        "preload: [postgres, rediss]",
        "cluster manifests/suites/gateway.yaml",
        "preload: [",
        "did you mean `redis`?",
    ),
    (
        "manifests/suites/gateway.yaml",
        "files: [manifests/redis.yaml]",
        "files: [manifests/redis.yml]",
        "suite manifests/suites/gateway.yaml",
        "files: [manifests/redis.yml]",
        "did you mean `manifests/redis.yaml`?",
    ),
    (
        "manifests/suites/gateway.yaml",
        "remediation.path\n",
        "remediation.pth\n",
        "policy config.app/gateway/policies/remediation_path.rego",
        "package ",
        "did you mean `path`?",
    ),
    (
        "manifests/suites/gateway.yaml",
        "routes: [/healthz, /readyz, /metrics,",
        "routes: [/health, /readyz, /metrics,",
        "route manifests/gateway.yaml",
        "path: /healthz",
        "did you mean `/health`?",
    ),
    (
        "manifests/suites/gateway.yaml",
        "shown: { node_port: 30090",
        "shown: { node_port: 30091",
        "port manifests/suites/gateway.yaml",
        "shown: { node_port: 30091",
        "no Service has the NodePort 30091",
    ),
    (
        "manifests/suites/gateway.yaml",
        "name: metrics, node_port: 30090",
        "name: metrics, node_port: 30091",
        "port manifests/suites/gateway.yaml",
        "name: metrics, node_port: 30091",
        "no Service has the NodePort 30091",
    ),
    (
        "manifests/suites/gateway.yaml",
        "      - { verbs: [get], resource: cronjobs.batch }\n",
        "",
        "rights-unused manifests/gateway.yaml",
        "resources: [cronjobs, jobs]",
        "get of cronjobs",
    ),
    (
        "manifests/suites/gateway.yaml",
        "phase: install CRDs",
        "phase: install CRD",
        "suite manifests/suites/gateway.yaml",
        "phase: install CRD\n",
        "did you mean `install CRDs`?",
    ),
    (
        "manifests/kind/gateway.yaml",
        "containerPort: 30180",
        "containerPort: 30181",
        "port-unlisted manifests/kind/gateway.yaml",
        "containerPort: 30181",
        "no manifest has anything",
    ),
    (
        "manifests/kind/gateway.yaml",
        "role: control-plane",
        "role: contrl-plane",
        "cluster manifests/kind/gateway.yaml",
        "role: contrl-plane",
        "did you mean `control-plane`?",
    ),
    (
        "manifests/kind/gateway.yaml",
        "hostPort: 9090",
        "hostPort: 8080",
        "port manifests/kind/gateway.yaml",
        "hostPort: 8080, containerPort: 30090",
        "mapped twice",
    ),
    (
        "manifests/kind/gateway.yaml",
        "listenAddress: 127.0.0.1",
        "listenAdress: 127.0.0.1",
        "cluster manifests/kind/gateway.yaml",
        "listenAdress",
        "did you mean `listenAddress`?",
    ),
    (
        "manifests/kind/gateway.yaml",
        "kind: ClusterConfiguration",
        "kind: ClusterConfigurations",
        "cluster manifests/kind/gateway.yaml",
        "kind: ClusterConfigurations",
        "did you mean `ClusterConfiguration`?",
    ),
    (
        "manifests/kind/gateway.yaml",
        "max-requests-inflight: \"800\"",
        "max-requests-inflight: 800",
        "cluster manifests/kind/gateway.yaml",
        "max-requests-inflight: 800",
        "write \"800\"",
    ),
    (
        "manifests/kind/gateway.yaml",
        "skipPhases:",
        "skipPhase:",
        "cluster manifests/kind/gateway.yaml",
        "skipPhase:",
        "did you mean `skipPhases`?",
    ),
    (
        "manifests/gateway.yaml",
        "url: http://datastorage:8080",
        "url: http://datastorge:8080",
        "service manifests/gateway.yaml",
        "url: http://datastorge",
        "did you mean `datastorage`?",
    ),
    (
        "manifests/gateway.yaml",
        "url: http://datastorage:8080",
        "url: http://datastorage:8081",
        "service manifests/gateway.yaml",
        "url: http://datastorage:8081",
        "write 8080",
    ),
    (
        "manifests/gateway.yaml",
        "targetPort: metrics",
        "targetPort: metric",
        "port manifests/gateway.yaml",
        "targetPort: metric\n",
        "did you mean `metrics`?",
    ),
    (
        "manifests/gateway.yaml",
        "resources: [leases]",
        "resources: [lease]",
        "rights manifests/gateway.yaml",
        "resources: [lease]",
        "did you mean `leases`?",
    ),
    (
        "manifests/gateway.yaml",
        "verbs: [get, list, create]",
        "verbs: [get, create]",
        "rights manifests/suites/gateway.yaml",
        "{ verbs: [get, list, create]",
        "calls `list` on remediationrequests.kubernaut.ai",
    ),
    (
        "manifests/gateway.yaml",
        "memory: 256Mi",
        "memory: 16Mi",
        "limits manifests/gateway.yaml",
        "memory: 16Mi",
        "32Mi is requested",
    ),
    (
        "manifests/gateway.yaml",
        "terminationGracePeriodSeconds",
        "terminationGracePeriodSecond",
        "schema manifests/gateway.yaml",
        "terminationGracePeriodSecond:",
        "did you mean `terminationGracePeriodSeconds`?",
    ),
    (
        "manifests/gateway.yaml",
        "configMap:\n            name: gateway-config",
        "configMap:\n            name: gateway-conf",
        "not-made manifests/gateway.yaml",
        "name: gateway-conf\n",
        "did you mean `gateway-config`?",
    ),
    (
        "manifests/gateway.yaml",
        "matchLabels:\n      app.kubernetes.io/name: gateway",
        "matchLabels:\n      app.kubernetes.io/name: getaway",
        "selector manifests/gateway.yaml",
        "app.kubernetes.io/name: getaway",
        "they have app.kubernetes.io/name=gateway",
    ),
    (
        "manifests/gateway.yaml",
        "imagePullPolicy: Never",
        "imagePullPolicy: Always",
        "pull-policy manifests/gateway.yaml",
        "imagePullPolicy: Always",
        "write `IfNotPresent`",
    ),
    (
        "manifests/gateway.yaml",
        "mountPath: /run/secrets/datastorage",
        "mountPath: /etc/gateway",
        "volume manifests/gateway.yaml",
        "mountPath: /etc/gateway\n              readOnly: true\n      volumes",
        "two volumes are mounted at /etc/gateway",
    ),
    (
        "manifests/gateway.yaml",
        "  config.yaml: |",
        "  settings.yaml: |",
        "volume manifests/gateway.yaml",
        "          args: [--config, /etc/gateway/config.yaml]",
        "gives it no file `config.yaml` (it has: settings.yaml)",
    ),
    (
        "manifests/datastorage.yaml",
        "address: redis:6379",
        "address: rediss:6379",
        "service manifests/datastorage.yaml",
        "address: rediss:6379",
        "did you mean `redis`?",
    ),
    (
        "manifests/datastorage.yaml",
        "secretName: redis-auth",
        "secretName: redis-aut",
        "not-made manifests/datastorage.yaml",
        "secretName: redis-aut\n",
        "did you mean `redis-auth`?",
    ),
    (
        "manifests/datastorage.yaml",
        "            - name: redis-auth\n",
        "            - name: redis\n",
        "volume manifests/datastorage.yaml",
        "            - name: redis\n",
        "there is no volume `redis`",
    ),
    (
        "manifests/postgresql.yaml",
        "volumeBindingMode",
        "volumeBindingMod",
        "schema manifests/postgresql.yaml",
        "volumeBindingMod:",
        "did you mean `volumeBindingMode`?",
    ),
    (
        "manifests/redis.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "security manifests/redis.yaml",
        "        - name: redis\n",
        "may write to its root file system",
    ),
];

#[test]
fn each_mistake_in_this_workspace_is_found() {
    let here = camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let project = Project::bare(&[]);
    // All but what is edited is the workspace's own.
    for entry in here.read_dir_utf8().unwrap().flatten() {
        if !matches!(entry.file_name(), "manifests" | "target" | ".git") {
            std::os::unix::fs::symlink(entry.path(), project.root.join(entry.file_name())).unwrap();
        }
    }
    copy(here, "manifests", &project);
    let found = || -> Vec<String> {
        match xtask::suite::Suite::load(&project.root, "gateway") {
            Ok(suite) => xtask::check::findings(&project.root, &suite)
                .unwrap()
                .iter()
                // Builds do not follow the links out of the copy.
                .filter(|finding| finding.problem.file.starts_with("manifests") || finding.class.id == "policy")
                .filter(|finding| finding.class.id != "image-path")
                .map(|finding| format!("{} {}", finding.class.id, finding.problem))
                .collect(),
            Err(problems) => problems.0.iter().map(|problem| format!("suite {problem}")).collect(),
        }
    };
    assert_eq!(found(), [""; 0]);
    let mut missed = Vec::new();
    for (file, from, to, place, mark, message) in HERE {
        let text = std::fs::read_to_string(here.join(file)).unwrap();
        let changed = text.replacen(from, to, 1);
        assert!(changed != text, "{file}: {from}");
        project.write(file, &changed);
        let found = found();
        let (_, told) = place.split_once(' ').unwrap();
        let other = std::fs::read_to_string(project.root.join(told)).unwrap();
        project.write(file, &text);
        let at = other.find(mark).unwrap_or_else(|| panic!("{told}: {mark}"));
        let place = format!("{place}:{}:", other[..at].matches('\n').count() + 1);
        if !found.iter().any(|one| one.starts_with(&place) && one.contains(message)) {
            missed.push(format!("{to:?}: expected {place} {message}\n{found:#?}"));
        }
    }
    assert!(HERE.len() >= 30 && missed.is_empty(), "{}", missed.join("\n"));
}

fn copy(from: &camino::Utf8Path, path: &str, to: &Project) {
    for entry in from.join(path).read_dir_utf8().unwrap().flatten() {
        let path = format!("{path}/{}", entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(from, &path, to),
            false => to.write(&path, &std::fs::read_to_string(entry.path()).unwrap()),
        }
    }
}
