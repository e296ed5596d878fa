//! Of the rewriting of manifests for a cluster that others use.

use super::*;
use crate::suite::yaml::Source;

fn manifests(text: &str) -> Manifests {
    Manifests::new([("m.yaml".into(), Source::new("m.yaml", text))].into()).unwrap()
}

fn rewritten_for(text: &str, reach: Reach, storage_class: Option<&str>) -> Result<Rewritten, Problems> {
    let labels = [(RUN_LABEL.to_owned(), "1a".to_owned())].into();
    rewrite(&manifests(text), &Wanted { id: "1a", labels: &labels, reach, storage_class })
}

fn rewritten(text: &str) -> Rewritten {
    rewritten_for(text, Reach::PortForward, None).unwrap()
}

fn json(rewritten: &Rewritten, kind: &str) -> serde_json::Value {
    let object = rewritten.manifests.all().find(|object| object.reference.kind == kind).unwrap();
    serde_json::to_value(&object.value).unwrap()
}

const SHOP: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: clerk, namespace: shop}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: clerks}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: clerks}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: clerks}
subjects: [{kind: ServiceAccount, name: clerk, namespace: shop}, {kind: ServiceAccount, name: x, namespace: elsewhere}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30001}, {name: other, port: 81}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - image: shop
          args: [--namespace, shop, --url=http://web.shop.svc]
          env: [{name: POD_NAMESPACE, value: shop}, {name: SHOP, value: shop}]
";

#[test]
fn what_lies_in_namespaces_lies_in_the_runs_own() {
    let shop = rewritten(SHOP);
    let names: Vec<String> = shop.manifests.all().map(|object| object.reference.to_string()).collect();
    assert_eq!(
        names,
        [
            "Namespace shop-1a",
            "ServiceAccount shop-1a/clerk",
            "ClusterRole clerks",
            "ClusterRoleBinding clerks-1a",
            "Service shop-1a/web",
            "Deployment default-1a/web"
        ]
    );
    assert_eq!(shop.namespaces, [("shop".into(), "shop-1a".into()), ("default".into(), "default-1a".into())].into());
    for object in shop.manifests.all().filter(|object| object.reference.kind != "ClusterRole") {
        let value = serde_json::to_value(&object.value).unwrap();
        assert_eq!(value["metadata"]["labels"][RUN_LABEL], "1a", "{value}");
        assert_eq!(value["metadata"]["name"], object.reference.name.as_str());
    }
    let binding = json(&shop, "ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], "clerks");
    assert_eq!(
        (&binding["subjects"][0]["namespace"], &binding["subjects"][1]["namespace"]),
        (&"shop-1a".into(), &"elsewhere".into())
    );
    let deployment = json(&shop, "Deployment");
    assert_eq!(deployment["metadata"]["namespace"], "default-1a", "also where the manifest names none");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], serde_json::json!(["--namespace", "shop-1a", "--url=http://web.shop-1a.svc"]));
    assert_eq!((&container["env"][0]["value"], &container["env"][1]["value"]), (&"shop-1a".into(), &"shop".into()));
    assert_eq!(container["image"], "shop");
}

#[test]
fn what_all_runs_share_stays_as_it_is_and_is_applied_apart() {
    let shop = rewritten(SHOP);
    let shared: Vec<String> = shop.shared.iter().map(|object| object.reference.to_string()).collect();
    assert_eq!(shared, ["ClusterRole clerks"]);
    assert_eq!(shop.manifests.apart, shop.shared.iter().map(|object| object.reference.clone()).collect());
    assert_eq!(json(&shop, "ClusterRole")["metadata"], serde_json::json!({"name": "clerks"}));
}

#[test]
fn no_port_of_the_nodes_is_taken_unless_it_is_asked_for() {
    let expected = Reached {
        node_port: 30001,
        namespace: "shop-1a".into(),
        service: "web".into(),
        port: 80,
        selector: [("app".into(), "web".into())].into(),
        target: "http".into(),
    };
    for (reach, kind) in
        [(Reach::PortForward, "ClusterIP"), (Reach::NodePort, "NodePort"), (Reach::LoadBalancer, "LoadBalancer")]
    {
        let shop = rewritten_for(SHOP, reach, None).unwrap();
        assert_eq!(shop.reached, std::slice::from_ref(&expected));
        let spec = &json(&shop, "Service")["spec"];
        assert_eq!(spec["type"], kind);
        assert!(spec["ports"][0]["nodePort"].is_null() && spec["externalTrafficPolicy"].is_null(), "{spec}");
    }
}

const STORED: &str = "\
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: by-hand}, provisioner: kubernetes.io/no-provisioner}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {storageClassName: by-hand, local: {path: /var/local}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: shop}, spec: {storageClassName: by-hand, volumeName: v}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s, namespace: shop},
  spec: {volumeClaimTemplates: [{metadata: {name: d}, spec: {storageClassName: by-hand}}, {metadata: {name: e}, spec: {storageClassName: fast}}]}}
";

#[test]
fn claims_of_volumes_by_hand_take_the_clusters_storage() {
    let stored = rewritten(STORED);
    assert_eq!((stored.left_out.len(), stored.claims), (2, 2));
    let claim = json(&stored, "PersistentVolumeClaim");
    assert_eq!(claim["spec"], serde_json::json!({}));
    let templates = &json(&stored, "StatefulSet")["spec"]["volumeClaimTemplates"];
    assert!(templates[0]["spec"]["storageClassName"].is_null());
    assert_eq!(templates[1]["spec"]["storageClassName"], "fast");
    let named = rewritten_for(STORED, Reach::PortForward, Some("slow")).unwrap();
    assert_eq!(json(&named, "PersistentVolumeClaim")["spec"]["storageClassName"], "slow");
}

#[test]
fn webhooks_are_asked_of_the_runs_own_namespaces_alone() {
    let text = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hooks}
webhooks: [{name: a, clientConfig: {service: {name: web, namespace: shop}}}]
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 443}]}}
";
    let hooks = json(&rewritten(text), "ValidatingWebhookConfiguration");
    assert_eq!(hooks["metadata"]["name"], "hooks-1a");
    assert_eq!(hooks["webhooks"][0]["namespaceSelector"]["matchLabels"][RUN_LABEL], "1a");
    assert_eq!(hooks["webhooks"][0]["clientConfig"]["service"]["namespace"], "shop-1a");
}

#[test]
fn what_cannot_be_one_runs_alone_is_refused_with_its_line() {
    for (text, line, why) in [
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: kube-system}}\n", 1, "the cluster's own"),
        (
            "---\n{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.a.io}}\n",
            2,
            "one run alone",
        ),
        (
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\napiVersion: apiextensions.k8s.io/v1\nkind: \
             CustomResourceDefinition\nmetadata: {name: a}\nspec: {conversion: {webhook: {clientConfig: {service: {namespace: shop}}}}}\n",
            3,
            "refers to a namespace",
        ),
    ] {
        let problems = rewritten_for(text, Reach::PortForward, None).unwrap_err();
        assert!(problems.0[0].line == line && problems.to_string().contains(why), "{problems}");
    }
}

#[test]
fn a_long_name_is_cut_and_stays_one() {
    let name = in_run(&format!("{}-", "a".repeat(60)), "12345678");
    assert!(name.len() <= 63 && name.ends_with("a-12345678"), "{name}");
}
