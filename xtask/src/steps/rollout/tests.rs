//! Objects in, verdicts out.

use serde_json::json;

use super::verdict::{ASK_REVISIONS, HEALS, QUIET_KEPT, QUIET_NEW, UNCREATED};
use super::*;

fn rollout(kind: &str, kept: bool) -> Rollout {
    let workload = ObjectRef { kind: kind.into(), namespace: "n".into(), name: "web".into() };
    Rollout::new(&workload, kept, SystemTime::now())
}

fn heard(rollout: &mut Rollout, object: Value) -> Progress {
    rollout.workload(&json!({"type": "MODIFIED", "object": object}), Instant::now()).unwrap()
}

fn done(kind: &str, object: Value) -> bool {
    heard(&mut rollout(kind, false), object) == Progress::Done
}

/// Nobody brings a service account.
fn nobody(_: &str) -> bool {
    false
}

fn deployment(generation: u64, observed: u64, revision: &str) -> Value {
    json!({"metadata": {"uid": "d", "generation": generation, "annotations": {REVISION: revision}},
        "spec": {"replicas": 1}, "status": {"observedGeneration": observed, "replicas": 1}})
}

fn replica_set(uid: &str, owner: &str, revision: &str) -> Value {
    json!({"metadata": {"uid": uid, "annotations": {REVISION: revision},
        "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": owner, "controller": true}]}})
}

fn pod(name: &str, owner: (&str, &str), revision: &str, reason: &str) -> Value {
    json!({"type": "ADDED", "object": {"metadata": {"name": name, "uid": format!("uid-{name}"),
        "labels": {"controller-revision-hash": revision},
        "ownerReferences": [{"kind": owner.0, "name": "web-1", "uid": owner.1, "controller": true}]},
        "status": {"containerStatuses": [{"name": "c", "restartCount": 5,
            "state": {"waiting": {"reason": reason, "message": "why"}}}]}}})
}

/// The pod first without anything wrong, so that what is wrong later is new.
fn breaks(rollout: &mut Rollout, event: &Value) {
    let mut before = event.clone();
    before["object"]["status"] = json!({});
    rollout.pod(&before, Instant::now());
    rollout.pod(event, Instant::now());
}

#[test]
fn a_deployment_is_done_when_the_new_pods_are_available_and_the_old_are_gone() {
    let object = |generation: u64, replicas: u64, updated: u64, available: u64| {
        json!({"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": {
            "observedGeneration": generation, "replicas": replicas,
            "updatedReplicas": updated, "availableReplicas": available}})
    };
    assert!(done("Deployment", object(2, 1, 1, 1)));
    for (what, generation, replicas, updated, available) in [
        ("the controller has not seen the change", 1, 1, 1, 1),
        ("an old pod is still there", 2, 2, 1, 2),
        ("the new pod is not available", 2, 1, 1, 0),
        ("there is no new pod", 2, 1, 0, 1),
    ] {
        assert!(!done("Deployment", object(generation, replicas, updated, available)), "{what}");
    }
}

#[test]
fn stateful_sets_daemon_sets_and_jobs() {
    let set = json!({"metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": {
        "observedGeneration": 1, "replicas": 1, "readyReplicas": 1,
        "currentRevision": "a", "updateRevision": "a"}});
    assert!(done("StatefulSet", set));
    assert!(!done("DaemonSet", json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1}})));
    let job = |condition: &str| {
        let object = json!({"status": {"conditions": [{"type": condition, "status": "True", "message": "m"}]}});
        json!({"type": "ADDED", "object": object})
    };
    let now = Instant::now();
    assert_eq!(rollout("Job", false).workload(&job("Complete"), now).unwrap(), Progress::Done);
    assert_eq!(rollout("Job", true).workload(&job("Complete"), now).unwrap(), Progress::Done, "it is left alone");
    assert!(rollout("Job", false).workload(&job("Failed"), now).unwrap_err().to_string().contains("m"));
    let mut kept = rollout("Job", true);
    assert_eq!(kept.workload(&job("Failed"), now).unwrap(), Progress::FailedBefore);
    assert!(kept.workload(&job("Failed"), now).is_err(), "what fails now has failed");
}

#[test]
fn what_is_deleted_or_paused_is_not_waited_for() {
    let now = Instant::now();
    let deleted = json!({"type": "DELETED", "object": deployment(1, 1, "1")});
    assert!(rollout("Deployment", false).workload(&deleted, now).is_err());
    let mut paused = json!({"type": "ADDED", "object": deployment(1, 1, "1")});
    paused["object"]["spec"]["paused"] = true.into();
    let error = rollout("Deployment", false).workload(&paused, now).unwrap_err().to_string();
    assert!(error.contains("spec.paused"), "{error}");
}

#[test]
fn only_pods_of_the_current_replica_set_of_this_very_deployment_count() {
    for (owner, hopeless) in [("new", true), ("old", false), ("other", false)] {
        let mut rollout = rollout("Deployment", false);
        breaks(&mut rollout, &pod("web-1-x", ("ReplicaSet", owner), "", "CrashLoopBackOff"));
        assert_eq!(rollout.verdict(Instant::now(), nobody), Verdict::Open, "nothing is known of the workload");
        heard(&mut rollout, deployment(2, 1, "1"));
        assert_eq!(rollout.verdict(Instant::now(), nobody), Verdict::Open, "the controller has not seen it");
        heard(&mut rollout, deployment(2, 2, "2"));
        let asked = rollout.verdict(Instant::now(), nobody);
        assert_eq!(asked, Verdict::Ask(Question::Revisions("replicasets")), "{owner}");
        // A Deployment whose name begins like this one's has ReplicaSets here, too.
        let sets = [replica_set("old", "d", "1"), replica_set("new", "d", "2"), replica_set("other", "d2", "2")];
        rollout.revisions(&json!({"items": sets}));
        let verdict = rollout.verdict(Instant::now(), nobody);
        assert_eq!(matches!(verdict, Verdict::Hopeless(_)), hopeless, "{owner}: {verdict:?}");
        // A later revision has to be asked for anew.
        heard(&mut rollout, deployment(3, 3, "3"));
        let later = Instant::now() + ASK_REVISIONS;
        assert_eq!(matches!(rollout.verdict(later, nobody), Verdict::Ask(_)), owner != "other", "{owner}");
    }
}

#[test]
fn a_healthy_deployment_is_asked_nothing() {
    let mut rollout = rollout("Deployment", true);
    heard(&mut rollout, deployment(1, 1, "1"));
    rollout.pod(&pod("web-1-x", ("ReplicaSet", "new"), "", "ContainerCreating"), Instant::now());
    assert_eq!(rollout.verdict(Instant::now() + QUIET_NEW, nobody), Verdict::Open);
}

#[test]
fn a_pod_that_was_broken_before_gets_one_new_start_on_a_kept_cluster() {
    let broken = pod("web-1-x", ("ReplicaSet", "new"), "", "CrashLoopBackOff");
    let sets = json!({"items": [replica_set("new", "d", "1")]});
    for kept in [true, false] {
        let mut rollout = rollout("Deployment", kept);
        rollout.pod(&broken, Instant::now());
        heard(&mut rollout, deployment(1, 1, "1"));
        rollout.revisions(&sets);
        let verdict = rollout.verdict(Instant::now(), nobody);
        assert_eq!(matches!(verdict, Verdict::Restart { .. }), kept, "{verdict:?}");
        assert_eq!(rollout.verdict(Instant::now(), nobody) == Verdict::Open, kept, "once");
        breaks(&mut rollout, &pod("web-1-y", ("ReplicaSet", "new"), "", "CrashLoopBackOff"));
        assert!(matches!(rollout.verdict(Instant::now(), nobody), Verdict::Hopeless(_)));
    }
}

fn stateful_set(update: &str, strategy: &str) -> Value {
    json!({"metadata": {"uid": "s", "generation": 2}, "spec": {"replicas": 1, "updateStrategy": {"type": strategy}},
        "status": {"observedGeneration": 2, "replicas": 1, "currentRevision": "web-a", "updateRevision": update}})
}

#[test]
fn an_old_pod_that_a_stateful_set_waits_for_is_replaced() {
    let verdict = |reason: &str, revision: &str, strategy: &str| {
        let mut rollout = rollout("StatefulSet", false);
        breaks(&mut rollout, &pod("web-0", ("StatefulSet", "s"), revision, reason));
        breaks(&mut rollout, &pod("web-other-0", ("StatefulSet", "t"), "web-b", "CrashLoopBackOff"));
        heard(&mut rollout, stateful_set("web-b", strategy));
        rollout.verdict(Instant::now(), nobody)
    };
    let restart = |verdict: Verdict| matches!(verdict, Verdict::Restart { pod, .. } if pod == "web-0");
    assert!(restart(verdict("CrashLoopBackOff", "web-a", "RollingUpdate")));
    assert!(restart(verdict("ImagePullBackOff", "web-a", "RollingUpdate")));
    assert!(restart(verdict("ContainerCreating", "web-a", "OnDelete")), "nobody else replaces it");
    assert_eq!(verdict("ContainerCreating", "web-a", "RollingUpdate"), Verdict::Open, "its controller replaces it");
    assert!(matches!(verdict("CrashLoopBackOff", "web-b", "RollingUpdate"), Verdict::Hopeless(_)));
}

#[test]
fn the_current_revision_of_a_daemon_set_is_its_newest() {
    let object = json!({"metadata": {"uid": "s", "generation": 2}, "status": {"observedGeneration": 2, "desiredNumberScheduled": 1}});
    let revision = |hash: &str, number: u64, owner: &str| {
        json!({"revision": number, "metadata": {"uid": hash, "labels": {"controller-revision-hash": hash},
            "ownerReferences": [{"kind": "DaemonSet", "uid": owner, "controller": true}]}})
    };
    for (hash, hopeless) in [("a", false), ("b", true)] {
        let mut rollout = rollout("DaemonSet", false);
        breaks(&mut rollout, &pod("web-x", ("DaemonSet", "s"), hash, "ErrImageNeverPull"));
        heard(&mut rollout, object.clone());
        assert_eq!(rollout.verdict(Instant::now(), nobody), Verdict::Ask(Question::Revisions("controllerrevisions")));
        rollout.revisions(&json!({"items": [revision("b", 2, "s"), revision("a", 1, "s"), revision("c", 3, "t")]}));
        assert_eq!(matches!(rollout.verdict(Instant::now(), nobody), Verdict::Hopeless(_)), hopeless, "{hash}");
    }
}

#[test]
fn a_pod_that_is_deleted_does_not_count() {
    let mut rollout = rollout("StatefulSet", false);
    heard(&mut rollout, stateful_set("web-b", "RollingUpdate"));
    let mut gone = pod("web-0", ("StatefulSet", "s"), "web-b", "ErrImageNeverPull");
    breaks(&mut rollout, &gone);
    gone["object"]["metadata"]["deletionTimestamp"] = "now".into();
    rollout.pod(&gone, Instant::now());
    assert_eq!(rollout.verdict(Instant::now(), nobody), Verdict::Open);
}

const NO_ACCOUNT: &str =
    "pods \"web-1-\" is forbidden: error looking up service account n/missing: serviceaccount \"missing\" not found";

#[test]
fn a_deployment_that_can_create_no_pod_is_given_up_with_the_api_servers_words() {
    let begin = Instant::now();
    let after = |message: &str, brought: bool, going: bool| {
        let mut rollout = rollout("Deployment", false);
        let mut object = deployment(1, 1, "1");
        object["status"]["conditions"] =
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]);
        if going {
            let mut pod = pod("other", ("ReplicaSet", "x"), "", "ContainerCreating");
            pod["object"]["metadata"]["deletionTimestamp"] = "now".into();
            rollout.pod(&pod, begin);
        }
        rollout.workload(&json!({"type": "ADDED", "object": object}), begin).unwrap();
        let verdict = |rollout: &mut Rollout, after: Duration| rollout.verdict(begin + after, |_| brought);
        assert_eq!(verdict(&mut rollout, Duration::from_secs(1)), Verdict::Open, "it may come a moment later");
        assert!(matches!(verdict(&mut rollout, HEALS), Verdict::Hopeless(why) if why.contains(message)));
        matches!(verdict(&mut rollout, UNCREATED), Verdict::Hopeless(_))
    };
    let quota = "pods \"w\" is forbidden: exceeded quota: q";
    assert!(after(NO_ACCOUNT, false, false));
    assert!(!after(NO_ACCOUNT, true, false), "the manifests bring it");
    assert!(!after(&NO_ACCOUNT.replace("missing", "default"), false, false), "a controller makes it");
    assert!(after("violates PodSecurity \"restricted:latest\"", false, false));
    assert!(after(quota, false, false));
    assert!(!after(quota, false, true), "a pod is going");

    // A revision before this one cannot create its pods, and all of this one's are there.
    let mut replaced = rollout("Deployment", true);
    let mut object = deployment(1, 1, "1");
    object["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "message": NO_ACCOUNT}]);
    object["status"]["updatedReplicas"] = 1.into();
    object["status"]["replicas"] = 2.into();
    heard(&mut replaced, object);
    assert!(!matches!(replaced.verdict(begin + HEALS, nobody), Verdict::Hopeless(_)));

    // What heals is forgotten.
    let mut healed = rollout("Deployment", false);
    let mut object = deployment(1, 1, "1");
    object["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "message": NO_ACCOUNT}]);
    heard(&mut healed, object);
    heard(&mut healed, deployment(1, 1, "1"));
    assert_eq!(healed.verdict(begin + HEALS, nobody), Verdict::Open);
}

#[test]
fn what_has_no_conditions_is_asked_for_its_events() {
    for (kind, kept, quiet) in [("StatefulSet", true, QUIET_KEPT), ("Job", false, QUIET_NEW)] {
        let mut rollout = rollout(kind, kept);
        let begin = Instant::now();
        heard(&mut rollout, stateful_set("web-b", "RollingUpdate"));
        assert_eq!(rollout.verdict(begin, nobody), Verdict::Open);
        assert_eq!(rollout.verdict(begin + quiet, nobody), Verdict::Ask(Question::EventsOf("s".into())), "{kind}");
        let event = |time: SystemTime| {
            json!({"items": [{"reason": "FailedCreate", "message": NO_ACCOUNT,
                "lastTimestamp": humantime::format_rfc3339_seconds(time).to_string()}]})
        };
        let before = SystemTime::now() - Duration::from_secs(60);
        rollout.events("s", &event(before), begin + quiet);
        let stale = rollout.verdict(begin + quiet + UNCREATED.saturating_sub(Duration::from_millis(1)), nobody);
        assert_eq!(stale, Verdict::Open, "{kind}");
        rollout.events("s", &event(SystemTime::now()), begin + quiet);
        let verdict = rollout.verdict(begin + quiet + UNCREATED, nobody);
        assert!(matches!(&verdict, Verdict::Hopeless(why) if why.contains(NO_ACCOUNT)), "{kind}: {verdict:?}");
        // With the pods the events are a thing of the past.
        let owner = if kind == "Job" { "Job" } else { "StatefulSet" };
        rollout.pod(&pod("web-0", (owner, "s"), "web-b", "ContainerCreating"), begin + quiet);
        assert_eq!(rollout.verdict(begin + quiet + UNCREATED, nobody), Verdict::Open, "{kind}");
    }
}

#[test]
fn a_progress_deadline_of_before_says_nothing_about_now() {
    let exceeded = |time: &str| {
        let mut object = deployment(1, 1, "1");
        object["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "lastUpdateTime": time,
            "reason": "ProgressDeadlineExceeded", "message": "timed out"}]);
        object
    };
    let mut kept = rollout("Deployment", true);
    heard(&mut kept, exceeded("1"));
    assert_eq!(kept.verdict(Instant::now(), nobody), Verdict::Open);
    heard(&mut kept, exceeded("2"));
    assert!(matches!(kept.verdict(Instant::now(), nobody), Verdict::Hopeless(why) if why.contains("timed out")));
    let mut new = rollout("Deployment", false);
    heard(&mut new, exceeded("1"));
    assert!(matches!(new.verdict(Instant::now(), nobody), Verdict::Hopeless(_)));
}

#[test]
fn a_pod_whose_containers_are_not_made_is_asked_about_and_given_up() {
    let begin = Instant::now();
    let mut rollout = rollout("StatefulSet", false);
    heard(&mut rollout, stateful_set("web-b", "RollingUpdate"));
    rollout.pod(&pod("web-0", ("StatefulSet", "s"), "web-b", "ContainerCreating"), begin);
    let later = begin + Duration::from_secs(30);
    assert_eq!(rollout.verdict(later, nobody), Verdict::Ask(Question::EventsOf("uid-web-0".into())));
    assert_eq!(rollout.verdict(later, nobody), Verdict::Open, "not at once again");
    let events = json!({"items": [{"reason": "FailedMount", "message": "secret \"s\" not found", "count": 5}]});
    rollout.events("uid-web-0", &events, later);
    assert!(matches!(rollout.verdict(later, nobody), Verdict::Hopeless(why) if why.contains("secret \"s\" not found")));
    assert!(rollout.waiting().contains("pod web-0: container c: ContainerCreating"), "{}", rollout.waiting());
}

#[test]
fn pods_that_nothing_controls_and_bare_replica_sets() {
    let status = |phase: &str, ready: &str| {
        json!({"metadata": {"uid": "p"}, "status": {"phase": phase, "reason": "Evicted",
            "conditions": [{"type": "Ready", "status": ready}]}})
    };
    for (phase, ready, expected) in [
        ("Pending", "False", false),
        ("Running", "False", false),
        ("Running", "True", true),
        ("Succeeded", "False", true),
    ] {
        assert_eq!(done("Pod", status(phase, ready)), expected, "{phase} {ready}");
    }
    let failed = json!({"type": "MODIFIED", "object": status("Failed", "False")});
    let error = rollout("Pod", false).workload(&failed, Instant::now()).unwrap_err();
    assert_eq!(error.to_string(), "the pod failed: Evicted");
    assert_eq!(heard(&mut rollout("Pod", true), status("Failed", "False")), Progress::FailedBefore);

    for kind in ["ReplicaSet", "ReplicationController"] {
        let set = |observed: u64, available: u64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 2},
                "status": {"observedGeneration": observed, "replicas": 2, "availableReplicas": available}})
        };
        assert!(done(kind, set(2, 2)) && !done(kind, set(1, 2)) && !done(kind, set(2, 1)), "{kind}");
    }
}

#[test]
fn a_bare_pod_that_cannot_run_is_given_up_and_never_restarted() {
    for kept in [false, true] {
        let mut rollout = rollout("Pod", kept);
        heard(&mut rollout, json!({"metadata": {"uid": "uid-web"}, "status": {"phase": "Pending"}}));
        rollout.pod(&pod("other", ("ReplicaSet", "x"), "", "ErrImageNeverPull"), Instant::now());
        assert_eq!(rollout.verdict(Instant::now(), nobody), Verdict::Open, "a pod of another");
        rollout.pod(&pod("web", ("", ""), "", "ErrImageNeverPull"), Instant::now());
        let verdict = rollout.verdict(Instant::now(), nobody);
        assert!(matches!(&verdict, Verdict::Hopeless(why) if why.contains("ErrImageNeverPull")), "{verdict:?}");
    }
}
