use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::json;
use testbed::fuzz;

/// As Alertmanager 0.25 sends it: a group of two, one of which is over.
const REAL: &str = r#"{"receiver":"gateway","status":"firing","alerts":[
{"status":"firing","labels":{"alertname":"KubePodCrashLooping","namespace":"shop","pod":"web-5d9f-x2x","severity":"critical"},"annotations":{"summary":"restarts"},"startsAt":"2026-03-01T11:58:03.123456789Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus:9090/graph?g0.expr=up","fingerprint":"c4b9d2e6a1f07e55"},
{"status":"resolved","labels":{"alertname":"KubePodCrashLooping","namespace":"shop","pod":"web-5d9f-y3y","severity":"critical"},"annotations":{},"startsAt":"2026-03-01T11:50:03.123Z","endsAt":"2026-03-01T11:57:03.123Z","generatorURL":"","fingerprint":"aa"}],
"groupLabels":{"alertname":"KubePodCrashLooping"},"commonLabels":{"alertname":"KubePodCrashLooping","namespace":"shop","severity":"critical"},"commonAnnotations":{},"externalURL":"http://alertmanager:9093","version":"4","groupKey":"{}:{alertname=\"KubePodCrashLooping\"}","truncatedAlerts":0}"#;

fn only(value: serde_json::Value) -> Item {
    items(&value).pop().unwrap()
}

fn items(value: &serde_json::Value) -> Vec<Item> {
    let text = value.to_string();
    let delivery = parse(text.as_bytes()).unwrap();
    (0..delivery.len()).map(|index| delivery.read(index, None)).collect()
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
    let items: Vec<Item> = (0..delivery.len()).map(|index| delivery.read(index, None)).collect();
    let [Item::Firing(signal), Item::Resolved] = &items[..] else { panic!("{delivery:?}") };
    assert_eq!(signal.firing_time, Some("2026-03-01T11:58:03.123456789Z".parse().unwrap()));
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
        "commonAnnotations": {"summary": "common", "runbook": "in each alert as well, where it is common"},
        "alerts": [{"labels": {"namespace": "own", "pod": "p"}, "annotations": {"summary": "own"}}],
    }));
    assert_eq!((signal.name.as_str(), signal.severity), ("A", Severity::Critical));
    assert_eq!(signal.target.namespace, "own");
    assert_eq!(signal.annotations, BTreeMap::from([("summary".to_owned(), "own".to_owned())]));
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
    assert!(matches!(only(alert("resolved")), Item::Resolved));
    assert!(matches!(only(alert("firing")), Item::Firing(_)));
    let of_the_group = json!({"status": "resolved", "alerts": [{"labels": {"alertname": "A"}}]});
    assert!(matches!(only(of_the_group), Item::Resolved));
}

/// What an alert with this start is refused with, at noon.
fn refused_start(starts_at: serde_json::Value) -> Option<String> {
    let body = json!({"alerts": [{"labels": {"alertname": "A"}, "startsAt": starts_at}]}).to_string();
    match parse(body.as_bytes()).unwrap().read(0, Some("2026-03-01T12:00:00Z".parse().unwrap())) {
        Item::Invalid(problem) => Some(problem.detail().to_owned()),
        _ => None,
    }
}

#[test]
fn each_alert_is_judged_by_its_own_start() {
    for (starts_at, detail) in [
        (json!(null), Some("missing timestamp")),
        (json!("0001-01-01T00:00:00Z"), Some("missing timestamp")),
        (json!("1969-01-01T00:00:00Z"), Some("missing timestamp")),
        (json!("2026-03-01T12:02:01Z"), Some("timestamp in future")),
        (json!("9998-01-01T00:00:00Z"), Some("timestamp in future")),
        (json!("9999-12-31T23:59:59Z"), Some("timestamp in future")),
        (json!("garbage"), Some("not an alert: startsAt has a value of the wrong kind")),
        (json!(7), Some("not an alert: startsAt has a value of the wrong kind")),
        (json!("2026-03-01T12:02:00Z"), None),
        (json!("2020-01-01T00:00:00Z"), None),
    ] {
        let found = refused_start(starts_at.clone());
        assert_eq!(found.is_some(), detail.is_some(), "{starts_at}: {found:?}");
        assert!(found.as_deref().unwrap_or_default().starts_with(detail.unwrap_or_default()), "{starts_at}: {found:?}");
    }
}

#[test]
fn a_member_of_the_wrong_kind_is_named_and_nothing_of_how_it_is_read() {
    for (alert, path) in [
        (json!({"labels": {"alertname": "A", "x": 5}}), "labels.x"),
        (json!({"labels": {"alertname": "A"}, "annotations": {"y": ["z"]}}), "annotations.y"),
        (json!({"labels": 7}), "labels"),
    ] {
        let Item::Invalid(problem) = only(json!({"alerts": [alert]})) else { panic!("{alert} was read") };
        assert_eq!(problem.detail(), format!("not an alert: {path} has a value of the wrong kind"));
    }
    for body in ["{\"alerts\": 7}", "[]", "{\"alerts\": [", "7", "{\"status\": [], \"alerts\": [{}]}"] {
        let detail = parse(body.as_bytes()).unwrap_err().detail().to_owned();
        assert!(
            !["struct", "expected", "Webhook,", "invalid type"].iter().any(|word| detail.contains(word)),
            "{detail}"
        );
    }
}

#[test]
fn more_alerts_than_may_be_are_refused_and_an_alert_that_is_too_large_fails_alone() {
    let many = |count: usize| json!({"alerts": vec![json!({}); count]}).to_string();
    assert_eq!(parse(many(MAX_ALERTS).as_bytes()).unwrap().len(), MAX_ALERTS);
    let refused = parse(many(MAX_ALERTS + 2).as_bytes()).unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.detail()), (413, "the webhook holds 5002 alerts; it may hold 5000"));
    let large = json!({"labels": {"alertname": "A"}, "annotations": {"a": "x".repeat(MAX_ALERT_BYTES)}});
    let items = items(&json!({"alerts": [large, {"labels": {"alertname": "A"}}]}));
    assert!(matches!(&items[..], [Item::Invalid(problem), Item::Firing(_)] if problem.status.as_u16() == 413));
    let common = json!({"commonLabels": {"a": "x".repeat(MAX_ALERT_BYTES)}, "alerts": [{}]}).to_string();
    assert_eq!(parse(common.as_bytes()).unwrap_err().status.as_u16(), 413);
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
    let items = items(&json!({"alerts": [
        {"labels": {"alertname": "A"}},
        {"labels": {"severity": "critical"}},
        {"labels": {"alertname": ""}},
        {"labels": {"alertname": 7}},
        {"labels": {"alertname": "A"}, "startsAt": "yesterday"},
        "text",
    ]}));
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

fn read_all(body: &[u8]) {
    if let Ok(delivery) = parse(body) {
        (0..delivery.len()).for_each(|index| drop(delivery.read(index, None)));
    }
}

#[test]
fn whatever_becomes_of_a_delivery_gets_an_answer() {
    let one = json!({"status": "firing", "commonLabels": {"namespace": "shop", "pod": "web"}, "truncatedAlerts": 3,
                     "alerts": [{"labels": {"alertname": "A", "exported_pod": "b", "node": "n", "instance": "10.0.0.1:9100"},
                                 "annotations": {"summary": "\u{e9}\u{1F600}"}, "startsAt": "2026-03-01T11:58:03+01:00"}]});
    let one = one.to_string();
    fuzz::run("webhooks", 3_000, &[REAL, &one], |body| {
        let delivery = match parse(body) {
            Ok(delivery) => delivery,
            Err(problem) => return problem.assert_fit_for_a_sender(body),
        };
        assert!((1..=MAX_ALERTS).contains(&delivery.len()));
        for index in 0..delivery.len().min(50) {
            match delivery.read(index, Some("2026-03-01T12:00:00Z".parse().unwrap())) {
                Item::Firing(signal) => {
                    assert!(
                        !signal.name.is_empty() && !signal.target.kind.is_empty() && !signal.target.name.is_empty()
                    );
                    assert!(
                        signal.labels.iter().chain(&signal.annotations).all(|(k, v)| !format!("{k}{v}").contains('\0'))
                    );
                    serde_json::from_str::<IgnoredAny>(&signal.payload).unwrap();
                }
                Item::Resolved => {}
                Item::Invalid(problem) => problem.assert_fit_for_a_sender(body),
            }
        }
    });
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&body);
    }

    #[test]
    fn any_labels_make_a_signal(labels in proptest::collection::btree_map("[^\\x00]{0,20}", "[^\\x00]{0,80}", 0..8), name in "[^\\x00]{1,300}") {
        let mut labels = labels;
        labels.insert("alertname".to_owned(), name.clone());
        let signal = firing(json!({"alerts": [{"labels": labels}]}));
        prop_assert_eq!(signal.name, name);
        prop_assert!(!signal.target.kind.is_empty() && !signal.target.name.is_empty());
    }
}
