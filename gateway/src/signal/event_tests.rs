use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use testbed::fuzz;

/// As the kubelet writes it.
const KUBELET: &str = r#"{"apiVersion":"v1","kind":"Event","metadata":{"name":"web-5d9f-x2x.17c3a5","namespace":"shop","uid":"6d0b","resourceVersion":"812","creationTimestamp":"2026-03-01T11:58:03Z","managedFields":[]},
"involvedObject":{"kind":"Pod","namespace":"shop","name":"web-5d9f-x2x","uid":"7f","apiVersion":"v1","resourceVersion":"800","fieldPath":"spec.containers{web}"},
"reason":"BackOff","message":"Back-off restarting failed container","source":{"component":"kubelet","host":"worker-1"},"firstTimestamp":"2026-03-01T11:50:03Z","lastTimestamp":"2026-03-01T11:58:03Z","count":12,"type":"Warning","eventTime":null,"reportingComponent":"kubelet","reportingInstance":"worker-1"}"#;

/// As the scheduler writes it: the new API's fields, and null where the old ones were.
const SCHEDULER: &str = r#"{"metadata":{"name":"web.17c3a6","namespace":"shop"},"involvedObject":{"kind":"Pod","namespace":"shop","name":"web","apiVersion":"v1"},
"reason":"FailedScheduling","message":"0/1 nodes are available","source":{},"firstTimestamp":null,"lastTimestamp":null,"type":"Warning","eventTime":"2026-03-01T11:55:00.123456Z","series":{"count":4,"lastObservedTime":"2026-03-01T11:57:00.654321Z"},"action":"Scheduling","reportingComponent":"default-scheduler","reportingInstance":"control-plane"}"#;

fn minimal() -> Value {
    json!({"type": "Warning", "reason": "BackOff", "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop"}})
}

fn with(pointer: &str, value: Value) -> Value {
    let mut event = minimal();
    match event.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => event[&pointer[1..]] = value,
    }
    event
}

fn parsed(event: &Value) -> Result<Reported, String> {
    match parse(event.to_string().as_bytes()) {
        Ok(Told::Problem(reported)) => Ok(*reported),
        Ok(Told::Normal) => Err("Normal".to_owned()),
        Err(problem) => Err(problem.detail().to_owned()),
    }
}

#[test]
fn the_kubelets_form() {
    let Ok(Told::Problem(reported)) = parse(KUBELET.as_bytes()) else { panic!("it tells of a problem") };
    assert_eq!(reported.time, Some("2026-03-01T11:58:03Z".parse().unwrap()));
    let signal = reported.signal;
    assert_eq!((signal.name.as_str(), signal.severity), ("BackOff", Severity::Warning));
    assert_eq!(signal.target, Target::new("Pod", "web-5d9f-x2x", "shop", Some("v1")));
    assert_eq!(signal.source.as_deref(), Some("kubelet"));
    assert_eq!(signal.firing_time, Some("2026-03-01T11:50:03Z".parse().unwrap()));
    assert_eq!(signal.annotations["message"], "Back-off restarting failed container");
    assert_eq!(signal.payload, KUBELET);
}

#[test]
fn the_schedulers_form() {
    let Ok(Told::Problem(reported)) = parse(SCHEDULER.as_bytes()) else { panic!("it tells of a problem") };
    assert_eq!(reported.time, Some("2026-03-01T11:57:00.654321Z".parse().unwrap()));
    assert_eq!(reported.signal.severity, Severity::Critical);
}

#[test]
fn the_first_time_that_is_set_counts() {
    let mut event = minimal();
    assert_eq!(parsed(&event).unwrap().time, None);
    let times = [
        ("firstTimestamp", json!("2026-03-01T11:01:00Z"), "2026-03-01T11:01:00Z"),
        ("eventTime", json!("2026-03-01T11:02:00.000001Z"), "2026-03-01T11:02:00.000001Z"),
        ("series", json!({"lastObservedTime": "2026-03-01T11:03:00Z"}), "2026-03-01T11:03:00Z"),
        ("lastTimestamp", json!("2026-03-01T11:04:00Z"), "2026-03-01T11:04:00Z"),
    ];
    for (field, value, wanted) in times {
        event[field] = value;
        assert_eq!(parsed(&event).unwrap().time, Some(wanted.parse().unwrap()), "{field}");
    }
    event["lastTimestamp"] = json!("0001-01-01T00:00:00Z");
    assert_eq!(parsed(&event).unwrap().time, Some("2026-03-01T11:03:00Z".parse().unwrap()), "the year 1 is no time");
}

#[test]
fn severities() {
    for reason in CRITICAL_REASONS {
        assert_eq!(parsed(&with("/reason", json!(reason))).unwrap().signal.severity, Severity::Critical, "{reason}");
    }
    assert_eq!(parsed(&with("/type", json!("Error"))).unwrap().signal.severity, Severity::Critical);
    assert_eq!(parsed(&minimal()).unwrap().signal.severity, Severity::Warning);
}

#[test]
fn what_tells_of_no_problem_or_not_of_what_is_refused() {
    for (event, word) in [
        (with("/type", json!("Normal")), "Normal"),
        (with("/message", json!("nul\u{0}")), "U+0000"),
        (with("/reason", json!("")), "reason"),
        (with("/reason", json!(null)), "reason"),
        (with("/involvedObject/kind", json!("")), "involvedObject.kind"),
        (with("/involvedObject/name", json!(null)), "involvedObject.name"),
        (with("/involvedObject", json!(null)), "involvedObject.kind"),
        (with("/kind", json!("EventList")), "EventList"),
        (with("/apiVersion", json!("events.k8s.io/v1")), "events.k8s.io/v1"),
        (with("/lastTimestamp", json!("yesterday")), "not a Kubernetes Event: lastTimestamp"),
        (with("/reason", json!(7)), "not a Kubernetes Event"),
    ] {
        let error = parsed(&event).unwrap_err();
        assert!(error.contains(word), "{event}: {error}");
    }
    for body in ["", "  ", "{", "null", "[]", "{}"] {
        assert!(parse(body.as_bytes()).is_err(), "{body:?}");
    }
}

#[test]
fn an_event_about_a_node_is_in_no_namespace() {
    let event = with("/involvedObject", json!({"kind": "Node", "name": "worker-1", "namespace": "default"}));
    assert_eq!(parsed(&event).unwrap().signal.target.namespace, "");
}

#[test]
fn whatever_becomes_of_an_event_gets_an_answer() {
    fuzz::run("Events", 3_000, &[KUBELET, SCHEDULER], |body| match parse(body) {
        Ok(Told::Problem(reported)) => {
            let signal = reported.signal;
            assert!(!signal.name.is_empty() && !signal.target.kind.is_empty() && !signal.target.name.is_empty());
            assert!(signal.labels.iter().chain(&signal.annotations).all(|(k, v)| !format!("{k}{v}").contains('\0')));
            assert!(signal.source.is_none_or(|source| source.len() <= text::LABEL_VALUE_MAX_BYTES));
            serde_json::from_str::<IgnoredAny>(&signal.payload).unwrap();
        }
        Ok(Told::Normal) => {}
        Err(problem) => problem.assert_fit_for_a_sender(body),
    });
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&body);
    }
}
