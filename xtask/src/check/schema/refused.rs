//! What the API server refuses although each value is of its type: names, labels, and values that contradict each other.
//! <https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/apis/core/validation/validation.go>, and those beside it.

use serde_yaml::Value;

use super::super::subject::{Subject, containers};
use crate::plan::Object;
use crate::plan::object::{get, pod_spec_at};
use crate::suite::yaml::{Problem, Segment};

const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];
/// What a probe may do.
const HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const NUMBERS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
/// The labels of a namespace that say how much its pods may do, and what they may say.
/// <https://kubernetes.io/docs/concepts/security/pod-security-admission/>
const POD_SECURITY: [&str; 3] = ["enforce", "audit", "warn"];
const LEVELS: [&str; 3] = ["privileged", "baseline", "restricted"];

pub(super) fn check(subject: &Subject<'_>, object: &Object) -> Vec<Problem> {
    let mut told = Told { subject, object, problems: Vec::new() };
    match object.reference.kind.as_str() {
        "CustomResourceDefinition" => told.definition(),
        "Deployment" => told.strategy(),
        "CronJob" => told.schedule(),
        "HorizontalPodAutoscaler" => told.scale(),
        "Namespace" => told.levels(),
        _ => {}
    }
    told.names();
    told.restarts();
    told.probes();
    told.problems
}

struct Told<'a, 's> {
    subject: &'a Subject<'s>,
    object: &'a Object,
    problems: Vec<Problem>,
}

impl Told<'_, '_> {
    /// A problem of the object at `path`, which begins with the object.
    fn at(&self, path: &[Segment], message: String) -> Problem {
        let source = self.subject.source(self.object);
        source.problem_in(self.object.document, path, format!("{}: {message}", self.object.reference))
    }

    fn add(&mut self, keys: &[&str], message: String, hint: String) {
        let problem = self.at(&self.object.place(keys), message).hint(Some(hint));
        self.problems.push(problem);
    }

    fn names(&mut self) {
        let object = self.object;
        let name = object.reference.name.as_str();
        // Roles may be called anything. A name that is made later has a hyphen at its end.
        let is_free = object.api_group() == "rbac.authorization.k8s.io" || object.reference.kind == "IPAddress";
        if !is_free && !name.is_empty() && !is_name(name, &object.reference.kind) {
            let hint = match object.reference.kind.as_str() {
                "Service" => "lower-case letters, digits and hyphens, a letter first, 63 at most",
                "Namespace" => "lower-case letters, digits and hyphens, none of these at an end, 63 at most",
                _ => "lower-case letters, digits, hyphens and dots, none of these at an end, 253 at most",
            };
            self.add(&["metadata", "name"], format!("`{name}` cannot be a name"), hint.to_owned());
        }
        let mut places = vec![object.place(&["metadata", "labels"])];
        let mut maps = vec![get(&object.value, &["metadata", "labels"])];
        if let Some((path, _)) = pod_spec_at(object).filter(|(path, _)| path.len() > 1) {
            let path = [&path[..path.len() - 1], &["metadata", "labels"]].concat();
            maps.push(get(&object.value, &path));
            places.push(object.place(&path));
        }
        for (place, labels) in places.into_iter().zip(maps) {
            for (key, value) in labels.and_then(Value::as_mapping).into_iter().flatten() {
                let (Some(key), Some(value)) = (key.as_str(), value.as_str()) else { continue };
                if !is_label(value) {
                    let path = [place.as_slice(), &[Segment::from(key)]].concat();
                    let hint = "letters, digits, `-`, `_` and `.`, a letter or digit at both ends, 63 at most";
                    let problem = self.at(&path, format!("`{value}` cannot be a label's value"));
                    self.problems.push(problem.hint(Some(hint.to_owned())));
                }
            }
        }
    }

    /// A definition is found by its name.
    fn definition(&mut self) {
        let object = self.object;
        let plural = object.text(&["spec", "names", "plural"]);
        let (Some(group), Some(plural)) = (object.text(&["spec", "group"]), plural) else { return };
        let name = object.reference.name.as_str();
        let right = format!("{plural}.{group}");
        if name != right {
            let other = name.strip_suffix(&format!(".{group}")).map(|plural| format!(", or write `plural: {plural}`"));
            let hint = format!("call it `{right}`{}", other.unwrap_or_default());
            let message = format!("{} is called after its plural and its group", object.reference);
            let problem = object.problem(self.subject.source(object), &["metadata", "name"], message);
            self.problems.push(problem.hint(Some(hint)));
        }
    }

    fn strategy(&mut self) {
        let Some(strategy) = get(&self.object.value, &["spec", "strategy"]) else { return };
        let rolling = strategy.get("rollingUpdate").filter(|rolling| !rolling.is_null());
        let Some(rolling) = rolling else { return };
        let place = ["spec", "strategy", "rollingUpdate"];
        if strategy.get("type").and_then(Value::as_str) == Some("Recreate") {
            let message = "`rollingUpdate` stands beside the type Recreate".to_owned();
            self.add(&place, message, "leave one of them out".to_owned());
        }
        let is_none = |key: &str| match rolling.get(key) {
            Some(Value::Number(number)) => number.as_u64() == Some(0),
            Some(Value::String(text)) => matches!(text.as_str(), "0%" | "0"),
            _ => false,
        };
        if is_none("maxSurge") && is_none("maxUnavailable") {
            let message = "maxSurge and maxUnavailable are both 0".to_owned();
            self.add(&place, message, "no pod could ever be replaced: let one of them be 1".to_owned());
        }
    }

    fn schedule(&mut self) {
        let Some(schedule) = self.object.text(&["spec", "schedule"]) else { return };
        let count = schedule.split_whitespace().count();
        if !schedule.starts_with('@') && !schedule.contains(['$', '=']) && count != 5 {
            let message = format!("the schedule `{schedule}` has {count} fields");
            let hint = "five: minute, hour, day of the month, month and day of the week".to_owned();
            self.add(&["spec", "schedule"], message, hint);
        }
    }

    fn scale(&mut self) {
        let number = |key: &str| get(&self.object.value, &["spec", key]).and_then(Value::as_i64);
        if let (Some(least), Some(most)) = (number("minReplicas"), number("maxReplicas"))
            && least > most
        {
            let message = format!("the least is {least}, and the most is {most}");
            self.add(&["spec", "minReplicas"], message, format!("at most {most}, or let there be more"));
        }
    }

    fn levels(&mut self) {
        for mode in POD_SECURITY {
            let key = format!("pod-security.kubernetes.io/{mode}");
            let path = ["metadata", "labels", key.as_str()];
            let Some(level) = self.object.text(&path).filter(|level| !LEVELS.contains(level)) else { continue };
            let problem = self.at(&self.object.place(&path), format!("Pod Security has no level `{level}`"));
            self.problems.push(problem.meant(level, LEVELS).or_hint(|| format!("there are: {}", LEVELS.join(", "))));
        }
    }

    /// Whether pods may be started again is a matter of what makes them.
    fn restarts(&mut self) {
        let Some((path, spec)) = pod_spec_at(self.object) else { return };
        let policy = spec.get("restartPolicy").and_then(Value::as_str);
        let kind = self.object.reference.kind.as_str();
        let at = [path, &["restartPolicy"]].concat();
        match (kind, policy) {
            ("Pod", _) => {}
            ("Job" | "CronJob", None) => {
                let message = format!("pods of a {kind} need a restartPolicy, and Always is what they have without");
                self.add(path, message, "write `restartPolicy: OnFailure` or `Never`".to_owned());
            }
            ("Job" | "CronJob", Some("Always")) => {
                let message = format!("the restartPolicy of a {kind}'s pods is `Always`");
                self.add(&at, message, "write `OnFailure` or `Never`".to_owned());
            }
            (_, Some(policy @ ("OnFailure" | "Never"))) if !is_job(kind) => {
                let hint = format!("pods of a {kind} are always started again: leave it out");
                self.add(&at, format!("restartPolicy is `{policy}`"), hint);
            }
            // What is no policy at all is told by its type.
            _ => {}
        }
    }

    fn probes(&mut self) {
        for (place, _, container) in containers(self.object) {
            let called = container.get("name").and_then(Value::as_str).unwrap_or_default();
            for probe in PROBES {
                let Some(value) = container.get(probe).filter(|value| value.is_mapping()) else { continue };
                let path = [place.as_slice(), &[Segment::from(probe)]].concat();
                let has = |key: &&str| value.get(*key).is_some_and(|value| !value.is_null());
                let handlers: Vec<&str> = HANDLERS.into_iter().filter(has).collect();
                match handlers.as_slice() {
                    [_] => {}
                    [] => {
                        let message = format!("container {called}: the {probe} does nothing");
                        let hint = format!("give it one of {}", HANDLERS.join(", "));
                        self.problems.push(self.at(&path, message).hint(Some(hint)));
                    }
                    several => {
                        let message = format!("container {called}: the {probe} has {} at once", several.join(" and "));
                        self.problems.push(self.at(&path, message).hint(Some("leave one of them".to_owned())));
                    }
                }
                for key in NUMBERS {
                    let Some(number) = value.get(key).and_then(Value::as_i64) else { continue };
                    let is_one = key != "successThreshold" || probe == "readinessProbe" || matches!(number, 0 | 1);
                    let hint = match number {
                        ..0 => "at least 0".to_owned(),
                        _ if !is_one => format!("it has to be 1 for a {probe}"),
                        _ => continue,
                    };
                    let path = [path.as_slice(), &[Segment::from(key)]].concat();
                    let message = format!("container {called}: {key} of the {probe} is {number}");
                    self.problems.push(self.at(&path, message).hint(Some(hint)));
                }
            }
        }
    }
}

fn is_job(kind: &str) -> bool {
    matches!(kind, "Job" | "CronJob")
}

/// Whether an object of this kind can be called so.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
fn is_name(name: &str, kind: &str) -> bool {
    let is_alone = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.starts_with(is_alone) && part.ends_with(is_alone) && part.chars().all(|c| is_alone(c) || c == '-')
    };
    match kind {
        "Service" => name.len() <= 63 && is_part(name) && name.starts_with(|c: char| c.is_ascii_lowercase()),
        "Namespace" => name.len() <= 63 && is_part(name),
        _ => name.len() <= 253 && name.split('.').all(is_part),
    }
}

fn is_label(value: &str) -> bool {
    let is_alone = |c: char| c.is_ascii_alphanumeric();
    let is_inner = |c: char| is_alone(c) || matches!(c, '-' | '_' | '.');
    value.is_empty()
        || value.len() <= 63 && value.starts_with(is_alone) && value.ends_with(is_alone) && value.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_api_server_takes() {
        for (kind, name, expected) in [
            ("ConfigMap", "a.b-c.9", true),
            ("ConfigMap", "A", false),
            ("ConfigMap", "a_b", false),
            ("ConfigMap", "-a", false),
            ("ConfigMap", "a..b", false),
            ("Service", "a-9", true),
            ("Service", "9-a", false),
            ("Service", "a.b", false),
            ("Namespace", "9-a", true),
            ("Namespace", "a.b", false),
        ] {
            assert_eq!(is_name(name, kind), expected, "{kind} {name}");
        }
        for (value, expected) in [("", true), ("A_b.c-9", true), ("a b", false), ("a-", false), ("ü", false)] {
            assert_eq!(is_label(value), expected, "{value}");
        }
        assert!(!is_label(&"a".repeat(64)) && is_label(&"a".repeat(63)));
    }
}
