//! All texts were printed by the real programs: kind 0.31, podman 4.3.1, Kubernetes 1.34, containerd 1.6.

use super::*;

const BY_KIND: &str = r#"using podman due to KIND_EXPERIMENTAL_PROVIDER
 • Preparing nodes 📦   ...
 ✗ Preparing nodes 📦 
ERROR: failed to create cluster: command "podman run --name e-control-plane --publish=127.0.0.1:18777:30080/tcp" failed with error: exit status 126

Command Output: "#;

#[test]
fn the_engines_words_are_told_without_the_command() {
    for (said, sentence) in [
        (
            "Error: cannot listen on the TCP port: listen tcp4 127.0.0.1:18777: bind: address already in use",
            "podman: cannot listen on the TCP port: listen tcp4 127.0.0.1:18777: bind: address already in use",
        ),
        (
            "failed to connect to syslog: Initialization\nError: OCI runtime error: runc: runc create failed: unable to start container process: error during container init: error mounting \"cgroup\" to rootfs at \"/sys/fs/cgroup\": mount cgroup:/sys/fs/cgroup/hg (via /proc/self/fd/7), flags: 0xe, data: hg: invalid argument",
            "podman: OCI runtime error: runc: runc create failed: unable to start container process: error during container init: error mounting \"cgroup\" to rootfs at \"/sys/fs/cgroup\": mount cgroup:/sys/fs/cgroup/hg (via /proc/self/fd/7), flags: 0xe, data: hg: invalid argument",
        ),
    ] {
        assert_eq!(said::by_kind(&format!("{BY_KIND}{said}\n")).as_deref(), Some(sentence));
    }
    let kubeadm = "ERROR: failed to create cluster: failed to init node with kubeadm: command \"podman exec --privileged n kubeadm init \
        --config=/kind/kubeadm.conf --skip-token-print --v=6\" failed with error: exit status 1\nCommand Output: I1127 07:12:35.26 177 a.go:1] b\n\
        [kubelet-check] The kubelet is healthy after 501.437676ms\n\
        error: error execution phase wait-control-plane: failed while waiting for the control plane to start: client rate limiter\n\
        k8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/workflow.(*Runner).Run.func1\n\truntime/asm_amd64.s:1771\n";
    let sentence = "kubeadm: error execution phase wait-control-plane: failed while waiting for the control plane to start: client rate limiter";
    assert_eq!(said::by_kind(kubeadm).unwrap(), sentence);
    let checks = kubeadm.replace(
        "[kubelet-check] The",
        "\t[ERROR Port-6443]: Port 6443 is in use\n\t[ERROR Swap]: running with swap on\n",
    );
    assert_eq!(said::by_kind(&checks).unwrap(), "kubeadm: Port-6443: Port 6443 is in use; Swap: running with swap on");
    let plain = "ERROR: failed to create cluster: node(s) already exist for a cluster with the name \"e\"";
    assert_eq!(said::by_kind(plain).unwrap(), "node(s) already exist for a cluster with the name \"e\"");
    assert_eq!(said::by_kind(" ✓ Preparing nodes 📦 "), None);
    let panic = "panic: runtime error: index out of range [0]\n\ngoroutine 1 [running]:\nmain.main()";
    assert_eq!(said::by_kind(panic).unwrap(), "kind ended with panic: runtime error: index out of range [0]");
}

#[test]
fn ports_that_are_taken_are_read_from_the_engines_words() {
    for (said, ports) in [
        (
            "Error: cannot listen on the TCP port: listen tcp4 127.0.0.1:18777: bind: address already in use",
            Some(vec![18777]),
        ),
        ("Bind for 127.0.0.1:8080 failed: port is already allocated.", Some(vec![8080])),
        ("proxy already running", Some(vec![])),
        ("Error: OCI runtime error: 127.0.0.1:8080", None),
    ] {
        assert_eq!(taken_ports(&format!("{BY_KIND}{said}\n")), ports, "{said}");
    }
}

const KUBELET: &str = r#"Started kubelet.service - kubelet.
I1127 07:04:07.482016    1735 certificate_store.go:147] "Loading cert/key pair from a file" filePath="/var/lib/kubelet/pki/kubelet-client-current.pem"
E1127 07:04:07.511650    1735 log.go:32] "RuntimeConfig from runtime service failed" err="rpc error: code = Unimplemented desc = unknown method RuntimeConfig for service runtime.v1.RuntimeService"
I1127 07:04:07.519170    1735 server.go:842] "NoSwap is set due to memorySwapBehavior not specified" memorySwapBehavior="" FailSwapOn=false
E1127 07:04:07.519874    1735 run.go:72] "command failed" err="failed to run Kubelet: invalid configuration: cgroup [\"kubelet\"] has some missing paths: /sys/fs/cgroup/hugetlb/kubelet.slice"
kubelet.service: Main process exited, code=exited, status=1/FAILURE
kubelet.service: Failed with result 'exit-code'.
kubelet.service: Scheduled restart job, restart counter is at 152.
Stopped kubelet.service - kubelet.
Starting kubelet.service - kubelet...
Started kubelet.service - kubelet.
I1127 07:04:08.519170    1755 server.go:842] "Version" kubeletVersion="v1.34.3"
"#;
const CAUSE: &str = "failed to run Kubelet: invalid configuration: cgroup [\"kubelet\"] has some missing paths: /sys/fs/cgroup/hugetlb/kubelet.slice";

#[test]
fn a_unit_is_told_by_what_it_said_before_it_ended() {
    assert_eq!(said::by_unit(KUBELET, "kubelet").as_deref(), Some(CAUSE));
    assert_eq!(said::by_unit(KUBELET.split_once("kubelet.service: Main").unwrap().0, "kubelet"), None, "it runs");
}

#[test]
fn complaints_come_in_several_formats() {
    for (line, sentence) in [
        (
            r#"time="2025-11-27T07:00:00Z" level=fatal msg="Failed to run CRI service" error="failed to create fs watcher: too many open files""#,
            "Failed to run CRI service: failed to create fs watcher: too many open files",
        ),
        (
            "containerd: failed to load TOML: /etc/containerd/config.toml: bad",
            "containerd: failed to load TOML: /etc/containerd/config.toml: bad",
        ),
        ("Error: unknown flag: --bogus", "unknown flag: --bogus"),
        (
            r#"{"level":"fatal","ts":"2025-11-27T07:00:00Z","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"no space left on device"}"#,
            "discovery failed: no space left on device",
        ),
        ("F1127 07:00:00.000000       1 main.go:1] cannot go on", "cannot go on"),
    ] {
        assert_eq!(said::by_program(&["I1127 07:00:00.1 1 a.go:1] \"fine\"", line, "bye"]).as_deref(), Some(sentence));
    }
    assert_eq!(said::by_program(&["first", "last", ""]).as_deref(), Some("last"));
    assert_eq!(said::by_program(&[]), None);
}

#[test]
fn a_unit_that_ends_again_and_again_is_the_cause() {
    let told = |restarts| format!("== unit containerd 0\nfine\n== unit kubelet {restarts}\n{KUBELET}");
    let sentence = |restarts| format!("kubelet on e-control-plane ends again and again ({restarts} restarts): {CAUSE}");
    let of = |told: &str, surety| of_told(told, "e-control-plane", surety);
    assert_eq!(of(&told(1), Surety::Suspect), None);
    assert_eq!(of(&told(2), Surety::Suspect), Some(sentence(2)));
    assert_eq!(of(&told(2), Surety::Hopeless), None);
    assert_eq!(of(&told(152), Surety::Hopeless), Some(sentence(152)));
}

#[test]
fn what_has_run_out_is_told_although_something_else_ends_of_it() {
    let told = r#"== unit containerd 0
time="2026-11-27T07:14:09.597074168Z" level=warning msg="failed to load plugin io.containerd.grpc.v1.cri" error="failed to create CRI service: failed to create cni conf monitor for default: failed to create fsnotify watcher: too many open files"
== unit kubelet 9
E1127 07:14:09.258804     387 run.go:72] "command failed" err="failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint \"unix:///run/containerd/containerd.sock\": rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService"
kubelet.service: Main process exited, code=exited, status=1/FAILURE
"#;
    let sentence = of_told(told, "n", Surety::Hopeless).unwrap();
    assert!(
        sentence.starts_with("kubelet on n ends again and again (9 restarts): failed to run Kubelet: validate "),
        "{sentence}"
    );
    assert!(
        sentence.contains("failed to create fsnotify watcher: too many open files); the machine's limits"),
        "{sentence}"
    );
}

#[test]
fn a_container_of_the_control_plane_that_ends_is_the_cause() {
    let told = "== unit containerd 0\n== unit kubelet 0\n== container etcd 0\n{\"level\":\"error\",\"msg\":\"fine\"}\n\
                == container kube-apiserver 3\nError: unknown flag: --bogus\n";
    let sentence = "kube-apiserver on n ends again and again (3 restarts): unknown flag: --bogus";
    assert_eq!(of_told(told, "n", Surety::Hopeless).as_deref(), Some(sentence));
}

#[test]
fn a_used_up_limit_of_inotify_is_told_with_the_setting() {
    let sentence = with_advice("kubelet: inotify_init: too many open files".to_owned());
    assert!(sentence.contains("sysctl fs.inotify.max_user_instances="), "{sentence}");
    assert_eq!(with_advice("a port is taken".to_owned()), "a port is taken");
}

#[test]
fn what_will_no_longer_work_one_day_is_not_why_it_ends_now() {
    let cause = "time=\"2026-11-28T01:37:31Z\" level=error msg=\"failed to load plugin\" error=\"no disk\"";
    let later = "time=\"2026-11-28T01:37:32Z\" level=warning msg=\"DEPRECATION: The support for cgroup v1 is deprecated \
                 since containerd v2.2 and will be removed by no later than May 2029. Upgrade the host to use cgroup v2.\"";
    assert_eq!(said::by_program(&[cause, later]).as_deref(), Some("failed to load plugin: no disk"));
}

#[test]
fn a_kubelet_that_refuses_the_machine_is_told_with_the_setting() {
    let told = "== unit containerd 0\n== unit kubelet 9\nStarted kubelet.service - kubelet.\n\
                E1127 07:04:07.519874    1735 run.go:72] \"command failed\" err=\"failed to validate kubelet configuration, \
                error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and \
                will be removed in a future release\"\nkubelet.service: Main process exited, code=exited, status=1/FAILURE\n";
    let sentence = of_told(told, "n", Surety::Hopeless).unwrap();
    assert!(sentence.contains("kubelet on n ends again and again (9 restarts): failed to validate"), "{sentence}");
    assert!(sentence.ends_with("`kind: KubeletConfiguration` with `failCgroupV1: false`"), "{sentence}");
}

#[test]
fn a_console_ends_with_what_went_wrong() {
    let console = "INFO: starting init\r\nFailed to create inotify object: Too many open files\r\n\
                   \u{1b}[1;31m[!!!!!!] Failed to allocate manager object.\u{1b}[0m\r\nExiting PID 1... Freezing execution.\r\n";
    assert_eq!(said::by_console(console).unwrap(), "[!!!!!!] Failed to allocate manager object.");
    let up = "mount: bad\n[\u{1b}[0;32m  OK  \u{1b}[0m] Reached target \u{1b}[0;1;39mmulti-user.target\u{1b}[0m.\n";
    assert_eq!(said::by_console(up).unwrap(), "mount: bad");
}
