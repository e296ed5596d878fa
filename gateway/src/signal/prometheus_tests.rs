use super::*;
use proptest::prelude::*;
use serde_json::json;

/// As Alertmanager 0.25 sends it: a group of two, one of which is over.
const REAL: &str = r#"{"receiver":"gateway","status":"firing","alerts":[
{"status":"firing","labels":{"alertname":"KubePodCrashLooping","namespace":"shop","pod":"web-5d9f-x2x","severity":"critical"},"annotations":{"summary":"restarts"},"startsAt":"2026-03-01T11:58:03.123456789Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus:9090/graph?g0.expr=up","fingerprint":"c4b9d2e6a1f07e55"},
{"status":"resolved","labels":{"alertname":"KubePodCrashLooping","namespace":"shop","pod":"web-5d9f-y3y","severity":"critical"},"annotations":{},"startsAt":"2026-03-01T11:50:03.123Z","endsAt":"2026-03-01T11:57:03.123Z","generatorURL":"","fingerprint":"aa"}],
"groupLabels":{"alertname":"KubePodCrashLooping"},"commonLabels":{"alertname":"KubePodCrashLooping","namespace":"shop","severity":"critical"},"commonAnnotations":{},"externalURL":"http://alertmanager:9093","version":"4","groupKey":"{}:{alertname=\"KubePodCrashLooping\"}","truncatedAlerts":0}"#;

fn only(value: serde_json::Value) -> Item {
    parse(value.to_string().as_bytes()).unwrap().items.pop().unwrap()
}

fn firing(value: serde_json::Value) -> Signal {
    match only(value) {
        Item::Firing(signal) => *signal,
        other => panic!("not firing: {other:?}"),
    }
}

#[test]
fn a_real_delivery() {
    let delivery = parse(REAL.as_bytes()).unwrap();
    assert_eq!(delivery.newest_start, Some("2026-03-01T11:58:03.123456789Z".parse().unwrap()));
    let [Item::Firing(signal), Item::Resolved] = &delivery.items[..] else { panic!("{delivery:?}") };
    assert_eq!(signal.name, "KubePodCrashLooping");
    assert_eq!(signal.severity, Severity::Critical);
    assert_eq!(signal.target, Target::new("Pod", "web-5d9f-x2x", "shop", None));
    assert_eq!(signal.annotations["summary"], "restarts");
    assert!(signal.payload.starts_with("{\"status\":\"firing\"") && signal.payload.contains("c4b9d2e6a1f07e55"));
}

#[test]
fn common_labels_fill_in_and_own_ones_win() {
    let signal = firing(json!({
        "status": "firing",
        "commonLabels": {"alertname": "A", "namespace": "common", "severity": "critical"},
        "commonAnnotations": {"summary": "common", "runbook": "r"},
        "alerts": [{"labels": {"namespace": "own", "pod": "p"}, "annotations": {"summary": "own"}}],
    }));
    assert_eq!((signal.name.as_str(), signal.severity), ("A", Severity::Critical));
    assert_eq!(signal.target.namespace, "own");
    assert_eq!((signal.annotations["summary"].as_str(), signal.annotations["runbook"].as_str()), ("own", "r"));
}

#[test]
fn severities() {
    for (label, wanted) in [
        ("critical", Severity::Critical),
        ("warning", Severity::Warning),
        ("info", Severity::Info),
        ("Critical", Severity::Critical),
        ("page", Severity::Warning),
        ("", Severity::Warning),
    ] {
        let signal = firing(json!({"alerts": [{"labels": {"alertname": "A", "severity": label}}]}));
        assert_eq!(signal.severity, wanted, "{label:?}");
    }
    assert_eq!(firing(json!({"alerts": [{"labels": {"alertname": "A"}}]})).severity, Severity::Warning);
}

#[test]
fn a_status_of_its_own_wins_over_the_groups() {
    let alert = |own: &str| json!({"status": "firing", "alerts": [{"status": own, "labels": {"alertname": "A"}}]});
    assert_eq!(only(alert("resolved")), Item::Resolved);
    assert!(matches!(only(alert("firing")), Item::Firing(_)));
    assert_eq!(only(json!({"status": "resolved", "alerts": [{"labels": {"alertname": "A"}}]})), Item::Resolved);
}

#[test]
fn times_that_were_never_set_are_none() {
    for starts_at in [json!(null), json!("0001-01-01T00:00:00Z")] {
        let body = json!({"alerts": [{"labels": {"alertname": "A"}, "startsAt": starts_at}]});
        assert_eq!(parse(body.to_string().as_bytes()).unwrap().newest_start, None);
    }
}

#[test]
fn go_writes_empty_maps_as_null() {
    let signal = firing(json!({
        "commonLabels": null, "commonAnnotations": null, "groupLabels": null,
        "alerts": [{"labels": {"alertname": "A"}, "annotations": null}],
    }));
    assert!(signal.annotations.is_empty());
}

#[test]
fn one_bad_alert_leaves_the_others_alone() {
    let body = json!({"alerts": [
        {"labels": {"alertname": "A"}},
        {"labels": {"severity": "critical"}},
        {"labels": {"alertname": ""}},
        {"labels": {"alertname": 7}},
        {"labels": {"alertname": "A"}, "startsAt": "yesterday"},
        "text",
    ]});
    let items = parse(body.to_string().as_bytes()).unwrap().items;
    assert!(matches!(items[0], Item::Firing(_)));
    assert!(items[1..].iter().all(|item| matches!(item, Item::Invalid(_))), "{items:?}");
}

#[test]
fn what_is_no_delivery_is_refused() {
    for body in
        ["", " \n", "{", "null", "[]", "7", "\"x\"", "{}", r#"{"alerts":[]}"#, r#"{"alerts":null}"#, r#"{"alerts":{}}"#]
    {
        assert!(parse(body.as_bytes()).is_err(), "{body:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&body);
    }

    #[test]
    fn any_mutilation_of_a_delivery_gets_an_answer(at in 0..REAL.len(), byte in any::<u8>(), end in 0..REAL.len()) {
        let mut body = REAL.as_bytes().to_vec();
        body[at] = byte;
        let _ = parse(&body);
        let _ = parse(&body[..end]);
    }

    #[test]
    fn any_labels_make_a_signal(labels in proptest::collection::btree_map(".{0,20}", ".{0,80}", 0..8), name in ".{1,300}") {
        let mut labels = labels;
        labels.insert("alertname".to_owned(), name.clone());
        let signal = firing(json!({"alerts": [{"labels": labels}]}));
        prop_assert_eq!(signal.name, name);
        prop_assert!(!signal.target.kind.is_empty() && !signal.target.name.is_empty());
    }
}
