use proptest::prelude::*;
use serde_json::{Value, json};
use testbed::{fuzz, hostile};

use super::*;

fn now() -> Timestamp {
    "2025-12-01T12:00:00Z".parse().unwrap()
}

fn event() -> Value {
    json!({
        "version": "1.0", "event_type": "a.b", "event_timestamp": "2025-12-01T11:00:00.123456789+01:00",
        "event_category": "workflow", "event_action": "run", "event_outcome": "pending",
        "correlation_id": "rr-1", "event_data": {},
    })
}

#[test]
fn all_faults_are_told_at_once() {
    let mut event = event();
    event["version"] = Value::Null;
    event["event_outcome"] = json!("maybe");
    event["duration_ms"] = json!(-1);
    let reason = parse(event.to_string().as_bytes(), now()).unwrap_err().reason;
    for part in ["version: is required", "event_outcome: must be one of success", "duration_ms: must not be negative"] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn timestamps_are_kept_in_utc_and_whole_microseconds() {
    let event = parse(event().to_string().as_bytes(), now()).unwrap();
    assert_eq!(event.event_timestamp.to_string(), "2025-12-01T10:00:00.123456Z");
}

#[test]
fn the_limits_of_time_are_exact() {
    for (time, good) in [
        ("2025-11-24T12:00:00Z", true),
        ("2025-11-24T11:59:59.999Z", false),
        ("2025-12-01T12:05:00Z", true),
        ("2025-12-01T12:05:00.001Z", false),
        ("-009999-01-01T00:00:00Z", false),
        ("9999-12-30T00:00:00Z", false),
    ] {
        let mut event = event();
        event["event_timestamp"] = json!(time);
        assert_eq!(parse(event.to_string().as_bytes(), now()).is_ok(), good, "{time}");
    }
}

#[test]
fn what_is_queued_reads_back_as_it_was() {
    let mut sent = event();
    sent["event_data"] = json!({ "n": 1, "text": "\u{e9}\n\"" });
    sent["duration_ms"] = json!(5);
    let event = parse(sent.to_string().as_bytes(), now()).unwrap();
    let queued = serde_json::to_string(&event).unwrap();
    let back: AuditEvent = serde_json::from_str(&queued).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), queued);
    assert_eq!(back.event_data.get(), event.event_data.get());
}

#[test]
fn numbers_are_bounded_but_digits_in_texts_are_not() {
    let long = "1".repeat(401);
    for (data, good) in [
        (r#"{"a": 1e400}"#.to_owned(), false),
        (r#"{"a": 1e-400}"#.to_owned(), true),
        (r#"{"a": 1E-401}"#.to_owned(), false),
        (r#"{"a": -1e-00000000000000000000400}"#.to_owned(), true),
        (format!(r#"{{"a": {long}}}"#), false),
        (format!(r#"{{"a": 0.{long}}}"#), false),
        (format!(r#"{{"a\"{long}": "\\{long}"}}"#), true),
        (r#"{"a": "1e999"}"#.to_owned(), true),
        (format!(r#"{{"a": [{}1]}}"#, "1e300,".repeat(218)), true),
        (format!(r#"{{"a": [{}1]}}"#, "1e300,".repeat(219)), false),
        ("{}".to_owned(), true),
        (" {} ".to_owned(), true),
        ("null".to_owned(), false),
    ] {
        assert_eq!(payload::check_object(&data).is_ok(), good, "{data}");
    }
}

/// Fails unless it is brief, and tells nothing of how the service is made.
fn assert_fit_for_a_client(invalid: &Invalid, sent: &[u8]) {
    assert!(invalid.reason.len() < 4_000 && hostile::inside(&invalid.reason, sent).is_none(), "{invalid:?}");
}

#[test]
fn whatever_becomes_of_an_event_it_is_taken_as_it_is_or_refused() {
    let mut whole = event();
    let more = json!({
        "event_id": Uuid::from_u128(1), "parent_event_id": Uuid::from_u128(2), "actor_type": "service",
        "resource_id": "ns/a", "duration_ms": 5, "severity": "info", "event_data": {"a": [1.5e3, "\u{e9}\u{1F600}", {}]},
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fuzz::run("audit events", 3_000, &[&event().to_string(), &whole.to_string()], |body| match parse(body, now()) {
        Ok(event) => {
            assert!((1..=100).contains(&event.event_type.chars().count()) && !event.correlation_id.contains('\0'));
            assert!(event.event_data.get().trim_start().starts_with('{'));
            assert!(now().duration_since(event.event_timestamp).abs() <= AGE_MAX);
        }
        Err(invalid) => assert_fit_for_a_client(&invalid, body),
    });
    let batch = json!([event(), whole]).to_string();
    fuzz::run("batches", 1_000, &[&batch], |body| match parse_batch(body, now()) {
        Ok(events) => assert!((1..=BATCH_MAX).contains(&events.len())),
        Err(invalid) => assert_fit_for_a_client(&invalid, body),
    });
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, now());
        let _ = parse_batch(&bytes, now());
    }

    #[test]
    fn a_text_is_taken_as_it_is_or_refused(text in any::<String>()) {
        let mut event = event();
        event["correlation_id"] = json!(text);
        match parse(event.to_string().as_bytes(), now()) {
            Ok(event) => prop_assert_eq!(event.correlation_id, text),
            Err(_) => prop_assert!(text.is_empty() || text.contains('\0') || text.chars().count() > 255),
        }
    }
}
