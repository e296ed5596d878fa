use super::*;
use api::{RemediationRequestStatus, Severity, SignalType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

fn problem() -> Problem {
    Problem::of(Target::new("Deployment", "web", "shop", None))
}

/// A request whose name follows upon `predecessor`, created in second `second`.
fn request(predecessor: &str, uid: &str, second: i64, phase: Option<api::Phase>) -> RemediationRequest {
    let problem = problem();
    let signal = Signal {
        name: "A".to_owned(),
        signal_type: SignalType::PrometheusAlert,
        source: None,
        severity: Severity::Info,
        target: problem.top.clone(),
        firing_time: None,
        labels: Default::default(),
        annotations: Default::default(),
        payload: String::new(),
    };
    let place = Place { namespace: "shop".to_owned(), environment: "unknown".to_owned(), is_fallback: false };
    let context = Context { environment: "unknown".to_owned(), priority: "P3", remediation_path: "manual".to_owned() };
    let name = problem.fingerprint.request_name(predecessor, 0);
    let mut request = describe(&signal, &problem, &place, &context, &name, Timestamp::UNIX_EPOCH);
    request.metadata.uid = Some(uid.to_owned());
    request.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
    request.status = Some(RemediationRequestStatus { overall_phase: phase, deduplication: None });
    request
}

#[test]
fn each_phase_is_active_or_terminal() {
    assert!(is_active(&request("", "a", 0, None)), "nobody has looked at it yet");
    for phase in api::Phase::ALL {
        assert_eq!(is_active(&request("", "a", 0, Some(phase))), !phase.is_terminal(), "{phase:?}");
    }
}

#[test]
fn the_next_name_follows_upon_the_newest() {
    let fingerprint = problem().fingerprint;
    assert_eq!(next_name(&fingerprint, &[], 0), fingerprint.request_name("", 0));
    let (first, second) = (request("", "uid-1", 10, None), request("uid-1", "uid-2", 20, None));
    assert_eq!(next_name(&fingerprint, std::slice::from_ref(&first), 0), fingerprint.request_name("uid-1", 0));
    for found in [[first.clone(), second.clone()], [second.clone(), first.clone()]] {
        assert_eq!(next_name(&fingerprint, &found, 0), fingerprint.request_name("uid-2", 0));
    }
    assert_eq!(next_name(&fingerprint, &[second], 0), fingerprint.request_name("uid-2", 0), "the first was deleted");
}

#[test]
fn two_of_the_same_second_are_told_apart_by_their_names() {
    let fingerprint = problem().fingerprint;
    // By its uid the older one would come last, and its successor's name is taken.
    let (older, newer) = (request("", "uid-z", 10, None), request("uid-z", "uid-a", 10, None));
    assert_eq!(next_name(&fingerprint, &[older, newer], 0), fingerprint.request_name("uid-a", 0));
}

#[test]
fn the_oldest_of_several_active_ones_is_taken() {
    let ended = request("", "a", 1, Some(api::Phase::Failed));
    let (older, newer) = (request("a", "b", 2, None), request("b", "c", 3, None));
    let found = [newer, ended.clone(), older.clone()];
    assert_eq!(oldest_active(&found).map(RemediationRequest::uid), Some(older.uid()));
    assert_eq!(oldest_active(&[ended]), None);
}

#[test]
fn a_request_without_a_count_has_one_occurrence() {
    let known = Known::from(&request("", "a", 1, None));
    assert_eq!(known.deduplication.occurrence_count, 1);
}
