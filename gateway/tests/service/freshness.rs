//! Signals that are not of now.

use serde_json::{Value, json};

use crate::support::alerts::{EVENT, PROMETHEUS, about_deployment, alert, at, pod_event, webhook};
use crate::support::{Answer, Running, test};

async fn dated(gateway: &Running, path: &str, body: &Value, timestamp: &str) -> Answer {
    let request = gateway.post(path, body.to_string()).header("x-timestamp", timestamp);
    Answer::read(request.send().await.unwrap()).await
}

fn seconds(offset: i64) -> String {
    (jiff::Timestamp::now().as_second() + offset).to_string()
}

#[test]
fn the_header_is_checked_where_it_is_present() {
    test(async |world| {
        let gateway = world.gateway().await;
        let body = about_deployment(&world.namespace, "web");
        for (value, detail) in [
            ("soon".to_owned(), "invalid timestamp format"),
            (String::new(), "invalid timestamp format"),
            (seconds(-310), "timestamp too old: possible replay attack"),
            (seconds(180), "timestamp in future: possible clock skew attack"),
        ] {
            for (path, body) in [(PROMETHEUS, &body), (EVENT, &pod_event(&world.namespace, "web"))] {
                let answer = dated(&gateway, path, body, &value).await.expect(400);
                assert_eq!(answer.text("detail"), detail, "{value}");
            }
        }
        assert_eq!(world.requests().await.len(), 0);
        dated(&gateway, PROMETHEUS, &body, &seconds(60)).await.expect(201);
        dated(&gateway, PROMETHEUS, &body, &seconds(-290)).await.expect(202);
    });
}

#[test]
fn the_header_stands_for_the_times_of_the_body() {
    test(async |world| {
        let gateway = world.gateway().await;
        let mut undated = alert(&[("namespace", &world.namespace), ("deployment", "web")]);
        undated.as_object_mut().unwrap().remove("startsAt");
        dated(&gateway, PROMETHEUS, &webhook(&[undated]), &seconds(0)).await.expect(201);
        let mut old = pod_event(&world.namespace, "old");
        old["lastTimestamp"] = json!(at(-4000));
        dated(&gateway, EVENT, &old, &seconds(0)).await.expect(201);
    });
}

#[test]
fn without_the_header_each_alert_is_judged_by_its_start() {
    test(async |world| {
        let gateway = world.gateway().await;
        let starting = |starts_at: Value| {
            let mut one = alert(&[("namespace", &world.namespace), ("deployment", "web")]);
            one["startsAt"] = starts_at;
            one
        };
        for (alerts, status, detail) in [
            (vec![starting(json!(null))], 400, "missing timestamp"),
            (vec![starting(json!("0001-01-01T00:00:00Z"))], 400, "missing timestamp"),
            (vec![starting(json!(at(180)))], 400, "timestamp in future"),
            (vec![starting(json!("9999-12-31T23:59:59Z"))], 400, "timestamp in future"),
            (vec![starting(json!(at(180))), starting(json!(null))], 400, "timestamp in future"),
            (vec![starting(json!(at(-90_000)))], 201, ""),
            (vec![starting(json!(at(60)))], 202, ""),
            (vec![starting(json!(null)), starting(json!(at(-10)))], 207, ""),
        ] {
            let answer = gateway.prometheus(&webhook(&alerts)).await.expect(status);
            if status == 400 {
                assert!(answer.text("detail").starts_with(detail), "{answer:?}");
            }
        }
        let about = |name: &str, start: i64| {
            let mut one = alert(&[("namespace", &world.namespace), ("pod", name)]);
            one["startsAt"] = json!(at(start));
            one
        };
        let group = [about("a", -5), about("b", -5), about("ahead", 180), about("c", -5)];
        let answer = gateway.prometheus(&webhook(&group)).await.expect(207);
        let summary = json!({"total": 4, "created": 3, "deduplicated": 0, "ignored": 0, "failed": 1});
        assert_eq!(answer.body["summary"], summary);
        assert_eq!(answer.body["results"][2]["retryable"], false);
        assert_eq!(world.requests().await.len(), 4);
    });
}

#[test]
fn without_the_header_an_event_must_be_of_now() {
    test(async |world| {
        let gateway = world.gateway().await;
        let event = |change: Value| {
            let mut event = pod_event(&world.namespace, "web");
            event["firstTimestamp"] = json!(null);
            event["lastTimestamp"] = json!(null);
            event.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            event
        };
        for (change, status, detail) in [
            (json!({}), 400, "missing timestamp"),
            (json!({"lastTimestamp": at(-310)}), 400, "timestamp too old"),
            (json!({"lastTimestamp": at(180)}), 400, "timestamp in future"),
            (json!({"lastTimestamp": at(-310), "eventTime": at(-1)}), 400, "timestamp too old"),
            (json!({"eventTime": at(-290), "firstTimestamp": at(-4000)}), 201, ""),
            (json!({"series": {"count": 2, "lastObservedTime": at(-1)}, "eventTime": at(-4000)}), 202, ""),
            (json!({"firstTimestamp": at(-1)}), 202, ""),
        ] {
            let answer = gateway.event(&event(change)).await.expect(status);
            if status == 400 {
                assert!(answer.text("detail").starts_with(detail), "{answer:?}");
            }
        }
    });
}
