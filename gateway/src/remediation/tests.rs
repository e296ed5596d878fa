use super::seen::Metadata;
use super::*;
use serde_json::json;

fn fingerprint() -> Fingerprint {
    Fingerprint::of("shop", "Deployment", "web")
}

/// A request made under a claim, created in second `second`.
fn row(claim: &str, second: i64, is_active: bool) -> Row {
    let metadata = Metadata {
        name: fingerprint().request_name(claim),
        creation_timestamp: Some(Timestamp::from_second(second).unwrap()),
        ..Metadata::default()
    };
    Row { metadata, is_active }
}

#[test]
fn the_oldest_of_several_active_ones_is_taken() {
    let ended = row("a", 1, false);
    let (older, newer) = (row("b", 2, true), row("c", 3, true));
    let found = [newer, ended.clone(), older.clone()];
    assert_eq!(oldest_active(&found), Some(&older));
    assert_eq!(oldest_active(&[ended]), None);
}

#[test]
fn a_request_without_a_count_has_one_occurrence() {
    let seen: Seen = serde_json::from_value(json!({
        "metadata": {"name": "rr-1", "uid": "a"},
        "spec": {"signalFingerprint": fingerprint().as_str(), "receivedTime": "2026-03-01T11:58:03Z"},
    }))
    .unwrap();
    assert_eq!(Known::from(&seen).deduplication.occurrence_count, 1);
}
