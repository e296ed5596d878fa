use super::*;

fn target(labels: &[(&str, &str)]) -> Target {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Target::from_labels(&labels, "HighLoad")
}

#[test]
fn the_first_label_of_the_list_wins() {
    let mut labels = vec![("namespace", "shop")];
    for (label, kind) in TARGET_LABELS.into_iter().rev() {
        labels.push((label, "it"));
        let found = target(&labels);
        assert_eq!((found.kind.as_str(), found.name.as_str()), (kind, "it"));
        let namespace = if ["Node", "PersistentVolume"].contains(&kind) { "" } else { "shop" };
        assert_eq!(found.namespace, namespace);
    }
}

#[test]
fn kinds_are_spelled_as_the_api_spells_them() {
    assert_eq!(target(&[("statefulset", "db")]).kind, "StatefulSet");
    assert_eq!(target(&[("statefulset", "db")]).api_version.as_deref(), Some("apps/v1"));
    assert_eq!(target(&[("horizontalpodautoscaler", "db")]).api_version.as_deref(), Some("autoscaling/v2"));
    assert_eq!(Target::new("daemonset", "x", "ns", None).kind, "DaemonSet");
    assert_eq!(Target::new("Certificate", "x", "ns", Some("cert-manager.io/v1")).kind, "Certificate");
    let knative = Target::new("Service", "x", "ns", Some("serving.knative.dev/v1"));
    assert_eq!(knative.built_in(), None, "a Service of another group is not the built-in one");
}

#[test]
fn what_was_moved_to_make_room_for_the_exporters_own_wins() {
    assert_eq!(target(&[("pod", "a"), ("exported_namespace", "b")]).namespace, "b");
    assert_eq!(target(&[("pod", "a"), ("namespace", "c"), ("exported_namespace", "b")]).namespace, "b");
    assert_eq!(target(&[("pod", "a"), ("namespace", "c"), ("exported_namespace", "")]).namespace, "c");
    assert_eq!(target(&[("pod", "exporter"), ("exported_pod", "a")]).name, "a");
    assert_eq!(target(&[("service", "exporter"), ("exported_service", "a")]).name, "a");
}

#[test]
fn a_pod_beside_its_node_is_meant_unless_it_only_tells_of_the_node() {
    let found = target(&[("pod", "web-0"), ("node", "n1")]);
    assert_eq!((found.kind.as_str(), found.name.as_str()), ("Pod", "web-0"));
    for (pod, more) in [
        ("kube-state-metrics-58474dc949-6ngch", &[][..]),
        ("kps-kube-state-metrics-58474dc949-6ngch", &[("job", "kube-state-metrics")]),
        ("ksm-58474dc949-6ngch", &[("job", "kube-state-metrics"), ("service", "ksm")]),
        ("ksm-58474dc949-6ngch", &[("container", "kube-state-metrics"), ("service", "ksm")]),
        ("kps-prometheus-node-exporter-x7k2p", &[("container", "node-exporter")]),
    ] {
        let found = target(&[&[("pod", pod), ("node", "n1")], more].concat());
        assert_eq!((found.kind.as_str(), found.name.as_str()), ("Node", "n1"), "{pod} {more:?}");
    }
    let subject = target(&[("pod", "kube-state-metrics-x"), ("exported_pod", "web-0"), ("node", "n1")]);
    assert_eq!(subject.name, "web-0");
}

#[test]
fn node_exporter_tells_of_its_node() {
    let own = [("pod", "node-exporter-x7k2p"), ("namespace", "monitoring"), ("job", "node-exporter")];
    let named = target(&[&own[..], &[("instance", "worker-1")]].concat());
    assert_eq!((named.kind.as_str(), named.name.as_str(), named.namespace.as_str()), ("Node", "worker-1", ""));
    for instance in ["10.0.0.1:9100", "10.0.0.1", "[fd00::1]:9100"] {
        let addressed = target(&[&own[..], &[("instance", instance)]].concat());
        assert!(addressed.means_its_node && addressed.name == "node-exporter-x7k2p", "{instance}: {addressed:?}");
    }
    assert!(!target(&[("pod", "web-0"), ("instance", "10.0.0.1:8080")]).means_its_node);
}

#[test]
fn an_alert_without_a_target_is_about_itself() {
    for labels in [&[("namespace", "shop")][..], &[("namespace", "shop"), ("pod", "")][..]] {
        let found = target(labels);
        assert_eq!(
            (found.kind.as_str(), found.name.as_str(), found.namespace.as_str()),
            ("Unknown", "HighLoad", "shop")
        );
        assert_eq!(found.api_version, None);
    }
}

/// Whose metrics an alert's rule is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// kube-state-metrics, all labels of whose series are kept.
    KubeStateMetrics,
    /// The same, but the rule keeps only the labels that it names (`sum by (…)`).
    KubeStateMetricsBy,
    /// The kubelet, cAdvisor included, all labels kept.
    Kubelet,
    /// Only the labels that the rule names.
    KubeletBy,
}

/// Name, whose metrics, what the rule says of the object, and the object's namespace, kind and name.
type Row = (&'static str, Told, &'static [(&'static str, &'static str)], (&'static str, &'static str, &'static str));

/// The alerts of the kubernetes-mixin that name an object: what the rule's expression says of the object, and the object.
/// From `kubernetesControlPlane-prometheusRule.yaml` of prometheus-operator/kube-prometheus, which is generated from the
/// mixin, and the mixin's own `alerts/` for those that are newer.
const MIXIN: &[Row] = {
    use Told::{KubeStateMetrics as Ksm, KubeStateMetricsBy as KsmBy, Kubelet, KubeletBy};
    &[
        (
            "KubePodCrashLooping",
            Ksm,
            &[
                ("namespace", "shop"),
                ("pod", "web-0"),
                ("container", "app"),
                ("reason", "CrashLoopBackOff"),
                ("uid", "7f"),
            ],
            ("shop", "Pod", "web-0"),
        ),
        ("KubePodNotReady", KsmBy, &[("namespace", "shop"), ("pod", "web-0")], ("shop", "Pod", "web-0")),
        (
            "KubeDeploymentGenerationMismatch",
            Ksm,
            &[("namespace", "shop"), ("deployment", "web")],
            ("shop", "Deployment", "web"),
        ),
        (
            "KubeDeploymentReplicasMismatch",
            Ksm,
            &[("namespace", "shop"), ("deployment", "web")],
            ("shop", "Deployment", "web"),
        ),
        (
            "KubeDeploymentRolloutStuck",
            Ksm,
            &[("namespace", "shop"), ("deployment", "web"), ("condition", "Progressing"), ("status", "false")],
            ("shop", "Deployment", "web"),
        ),
        (
            "KubeStatefulSetReplicasMismatch",
            Ksm,
            &[("namespace", "shop"), ("statefulset", "db")],
            ("shop", "StatefulSet", "db"),
        ),
        (
            "KubeStatefulSetGenerationMismatch",
            Ksm,
            &[("namespace", "shop"), ("statefulset", "db")],
            ("shop", "StatefulSet", "db"),
        ),
        (
            "KubeStatefulSetUpdateNotRolledOut",
            Ksm,
            &[("namespace", "shop"), ("statefulset", "db")],
            ("shop", "StatefulSet", "db"),
        ),
        (
            "KubeDaemonSetRolloutStuck",
            Ksm,
            &[("namespace", "shop"), ("daemonset", "log")],
            ("shop", "DaemonSet", "log"),
        ),
        (
            "KubeContainerWaiting",
            KsmBy,
            &[("namespace", "shop"), ("pod", "web-0"), ("container", "app"), ("reason", "ImagePullBackOff")],
            ("shop", "Pod", "web-0"),
        ),
        (
            "KubeDaemonSetNotScheduled",
            Ksm,
            &[("namespace", "shop"), ("daemonset", "log")],
            ("shop", "DaemonSet", "log"),
        ),
        (
            "KubeDaemonSetMisScheduled",
            Ksm,
            &[("namespace", "shop"), ("daemonset", "log")],
            ("shop", "DaemonSet", "log"),
        ),
        (
            "KubeJobNotCompleted",
            KsmBy,
            &[("namespace", "shop"), ("job_name", "nightly-1")],
            ("shop", "Job", "nightly-1"),
        ),
        (
            "KubeJobFailed",
            Ksm,
            &[
                ("namespace", "shop"),
                ("job_name", "nightly-1"),
                ("condition", "true"),
                ("reason", "BackoffLimitExceeded"),
            ],
            ("shop", "Job", "nightly-1"),
        ),
        (
            "KubeHpaReplicasMismatch",
            Ksm,
            &[("namespace", "shop"), ("horizontalpodautoscaler", "web")],
            ("shop", "HorizontalPodAutoscaler", "web"),
        ),
        (
            "KubeHpaMaxedOut",
            Ksm,
            &[("namespace", "shop"), ("horizontalpodautoscaler", "web")],
            ("shop", "HorizontalPodAutoscaler", "web"),
        ),
        (
            "KubePdbNotEnoughHealthyPods",
            Ksm,
            &[("namespace", "shop"), ("poddisruptionbudget", "web")],
            ("shop", "PodDisruptionBudget", "web"),
        ),
        (
            "KubeQuotaAlmostFull",
            Ksm,
            &[("namespace", "shop"), ("resourcequota", "compute"), ("resource", "requests.cpu")],
            ("shop", "ResourceQuota", "compute"),
        ),
        (
            "KubeQuotaFullyUsed",
            Ksm,
            &[("namespace", "shop"), ("resourcequota", "compute"), ("resource", "requests.cpu")],
            ("shop", "ResourceQuota", "compute"),
        ),
        (
            "KubeQuotaExceeded",
            Ksm,
            &[("namespace", "shop"), ("resourcequota", "compute"), ("resource", "requests.cpu")],
            ("shop", "ResourceQuota", "compute"),
        ),
        (
            "CPUThrottlingHigh",
            KubeletBy,
            &[("namespace", "shop"), ("pod", "web-0"), ("container", "app")],
            ("shop", "Pod", "web-0"),
        ),
        (
            "KubePersistentVolumeFillingUp",
            Kubelet,
            &[("namespace", "shop"), ("persistentvolumeclaim", "data-db-0")],
            ("shop", "PersistentVolumeClaim", "data-db-0"),
        ),
        (
            "KubePersistentVolumeInodesFillingUp",
            Kubelet,
            &[("namespace", "shop"), ("persistentvolumeclaim", "data-db-0")],
            ("shop", "PersistentVolumeClaim", "data-db-0"),
        ),
        (
            "KubePersistentVolumeErrors",
            Ksm,
            &[("persistentvolume", "pvc-3f"), ("phase", "Failed")],
            ("", "PersistentVolume", "pvc-3f"),
        ),
        (
            "KubeNodeNotReady",
            Ksm,
            &[("node", "worker-1"), ("condition", "Ready"), ("status", "true")],
            ("", "Node", "worker-1"),
        ),
        (
            "KubeNodePressure",
            Ksm,
            &[("node", "worker-1"), ("condition", "MemoryPressure"), ("status", "true")],
            ("", "Node", "worker-1"),
        ),
        (
            "KubeNodeUnreachable",
            Ksm,
            &[("node", "worker-1"), ("key", "node.kubernetes.io/unreachable"), ("effect", "NoSchedule")],
            ("", "Node", "worker-1"),
        ),
        ("KubeletTooManyPods", KsmBy, &[("node", "worker-1")], ("", "Node", "worker-1")),
        ("KubeNodeReadinessFlapping", KsmBy, &[("node", "worker-1")], ("", "Node", "worker-1")),
        (
            "KubeNodeEviction",
            KubeletBy,
            &[("node", "worker-1"), ("eviction_signal", "memory.available"), ("instance", "10.0.0.1:10250")],
            ("", "Node", "worker-1"),
        ),
        (
            "KubeletPlegDurationHigh",
            KubeletBy,
            &[("node", "worker-1"), ("instance", "10.0.0.1:10250"), ("quantile", "0.99")],
            ("", "Node", "worker-1"),
        ),
        (
            "KubeletPodStartUpLatencyHigh",
            KubeletBy,
            &[("node", "worker-1"), ("instance", "10.0.0.1:10250")],
            ("", "Node", "worker-1"),
        ),
        ("KubeletClientCertificateExpiration", Kubelet, &[], ("", "Node", "worker-1")),
        ("KubeletServerCertificateExpiration", Kubelet, &[], ("", "Node", "worker-1")),
        ("KubeletClientCertificateRenewalErrors", Kubelet, &[], ("", "Node", "worker-1")),
        ("KubeletServerCertificateRenewalErrors", Kubelet, &[], ("", "Node", "worker-1")),
    ]
};

/// What Prometheus attaches to whatever it scrapes there.
fn attached(from: Told) -> &'static [(&'static str, &'static str)] {
    match from {
        Told::KubeStateMetrics => &[
            ("namespace", "monitoring"),
            ("pod", "kps-kube-state-metrics-58474dc949-6ngch"),
            ("container", "kube-state-metrics"),
            ("service", "kps-kube-state-metrics"),
            ("job", "kube-state-metrics"),
            ("instance", "10.42.2.101:8080"),
            ("endpoint", "http"),
        ],
        Told::Kubelet => &[
            ("namespace", "kube-system"),
            ("service", "kps-kubelet"),
            ("job", "kubelet"),
            ("node", "worker-1"),
            ("instance", "10.0.0.1:10250"),
            ("metrics_path", "/metrics"),
            ("endpoint", "https-metrics"),
        ],
        Told::KubeStateMetricsBy | Told::KubeletBy => &[],
    }
}

#[test]
fn every_alert_of_the_mixin_leads_to_the_object_that_it_names() {
    for &(alert, from, named, (namespace, kind, name)) in MIXIN {
        // A rule that keeps only what it names works only where the exporter's labels are honoured.
        let honoured = if attached(from).is_empty() { &[true][..] } else { &[true, false][..] };
        for &is_honoured in honoured {
            let mut labels: BTreeMap<String, String> =
                attached(from).iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            for (key, value) in named {
                let key = if !is_honoured && labels.contains_key(*key) {
                    format!("exported_{key}")
                } else {
                    (*key).to_owned()
                };
                labels.insert(key, (*value).to_owned());
            }
            let found = Target::from_labels(&labels, alert);
            assert_eq!(
                (found.namespace.as_str(), found.kind.as_str(), found.name.as_str()),
                (namespace, kind, name),
                "{alert}, labels honoured: {is_honoured}, as {labels:?}"
            );
        }
    }
}
