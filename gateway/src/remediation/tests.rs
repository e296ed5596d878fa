use super::seen::Metadata;
use super::*;
use serde_json::json;

fn fingerprint() -> Fingerprint {
    Fingerprint::of("shop", "Deployment", "web")
}

/// A request whose name follows upon `predecessor`, created in second `second`.
fn row(predecessor: &str, uid: &str, second: i64, is_active: bool) -> Row {
    let metadata = Metadata {
        name: fingerprint().request_name(predecessor, 0),
        uid: uid.to_owned(),
        creation_timestamp: Some(Timestamp::from_second(second).unwrap()),
        ..Metadata::default()
    };
    Row { metadata, is_active }
}

#[test]
fn the_next_name_follows_upon_the_newest() {
    let fingerprint = fingerprint();
    assert_eq!(next_name(&fingerprint, &[], 0), fingerprint.request_name("", 0));
    let (first, second) = (row("", "uid-1", 10, false), row("uid-1", "uid-2", 20, false));
    assert_eq!(next_name(&fingerprint, std::slice::from_ref(&first), 0), fingerprint.request_name("uid-1", 0));
    for found in [[first.clone(), second.clone()], [second.clone(), first.clone()]] {
        assert_eq!(next_name(&fingerprint, &found, 0), fingerprint.request_name("uid-2", 0));
    }
    assert_eq!(next_name(&fingerprint, &[second], 0), fingerprint.request_name("uid-2", 0), "the first was deleted");
}

#[test]
fn two_of_the_same_second_are_told_apart_by_their_names() {
    let fingerprint = fingerprint();
    // By its uid the older one would come last, and its successor's name is taken.
    let (older, newer) = (row("", "uid-z", 10, false), row("uid-z", "uid-a", 10, false));
    assert_eq!(next_name(&fingerprint, &[older, newer], 0), fingerprint.request_name("uid-a", 0));
}

#[test]
fn the_oldest_of_several_active_ones_is_taken() {
    let ended = row("", "a", 1, false);
    let (older, newer) = (row("a", "b", 2, true), row("b", "c", 3, true));
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
