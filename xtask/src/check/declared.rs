//! What the suite says of its services, beside the manifests: the workload's name, the routes that it answers at, the
//! Rego policies that it loads.

use serde_yaml::Value;

use super::pods::pods;
use super::subject::{Subject, close};
use crate::plan::object::get;
use crate::suite::yaml::{Problem, Segment, did_you_mean};

/// Workloads that no manifest has.
pub(super) fn workloads(subject: &Subject<'_>) -> Vec<Problem> {
    if !subject.is_whole {
        return Vec::new();
    }
    let names: Vec<&str> = pods(subject).iter().map(|pods| pods.object.reference.name.as_str()).collect();
    let mut problems = Vec::new();
    for (at, service) in subject.suite.services.iter().enumerate() {
        if !names.contains(&service.workload.as_str()) {
            let message = format!("no manifest makes the workload `{}`", service.workload);
            let problem = subject.suite.source.problem(&crate::at!["services", at, "workload"], message);
            problems.push(problem.meant(&service.workload, names.iter().copied()));
        }
    }
    problems
}

/// Probes, and what the suite asks itself, of paths that the service does not answer at.
pub(super) fn routes(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, service) in subject.suite.services.iter().enumerate().filter(|(_, service)| !service.routes.is_empty()) {
        for (place, route) in service.routes.iter().enumerate().filter(|(_, route)| !route.starts_with('/')) {
            let path = crate::at!["services", at, "routes", place];
            let problem = subject.suite.source.problem(&path, format!("the route `{route}` begins with no slash"));
            problems.push(problem.hint(Some(format!("write /{route}"))).replace(route, &format!("/{route}")));
        }
        let routes: Vec<String> =
            service.routes.iter().map(|route| format!("/{}", route.trim_start_matches('/'))).collect();
        let known = || routes.iter().map(String::as_str);
        for pods in pods(subject).iter().filter(|pods| pods.object.reference.name == service.workload) {
            for (place, container) in pods.containers() {
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                    let Some(path) = get(container, &[probe, "httpGet", "path"]).and_then(Value::as_str) else {
                        continue;
                    };
                    let asked = path.split('?').next().unwrap_or_default();
                    if known().any(|route| is_route(route, asked)) {
                        continue;
                    }
                    let message = format!(
                        "{}: the {probe} asks for {path}, and the service has no such route",
                        pods.object.reference
                    );
                    let keys: Vec<Segment> = crate::at![probe, "httpGet", "path"].to_vec();
                    let hint = did_you_mean(asked, known());
                    let all = || format!("there are: {}", routes.join(", "));
                    let problem = pods.problem(subject, &place, &keys, message).meant(asked, known());
                    problems.push(if hint.is_none() { problem.hint(Some(all())) } else { problem });
                }
            }
        }
    }
    problems
}

/// Whether a path is one of a route's: `{name}` in a route stands for any one part.
fn is_route(route: &str, path: &str) -> bool {
    let (route, path) = (route.trim_end_matches('/').split('/'), path.trim_end_matches('/').split('/'));
    let is_any = |part: &str| part.starts_with('{') && part.ends_with('}');
    route.clone().count() == path.clone().count() && route.zip(path).all(|(one, other)| one == other || is_any(one))
}

/// Rego policies that are not there, cannot be read as Rego, or lack the rule that is asked for.
pub(super) fn policies(subject: &Subject<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, service) in subject.suite.services.iter().enumerate() {
        for (place, policy) in service.policies.iter().enumerate() {
            let path = |key: &str| crate::at!["services", at, "policies", place, key].to_vec();
            let text = match std::fs::read_to_string(subject.root.join(&policy.file)) {
                Ok(text) => text,
                Err(error) => {
                    let why = format!("cannot read it: {error}");
                    problems.push(crate::plan::unusable(
                        subject.root,
                        subject.suite,
                        &path("file"),
                        &policy.file,
                        &why,
                    ));
                    continue;
                }
            };
            let rego = super::rego::Module::read(&text);
            let in_file = |line: usize, column: usize, message: String| Problem {
                file: policy.file.clone(),
                line,
                column,
                message,
                ..Problem::default()
            };
            if let Some(wrong) = rego.wrong {
                problems.push(in_file(wrong.line, wrong.column, wrong.message));
                continue;
            }
            let query = policy.query.strip_prefix("data.").unwrap_or(&policy.query);
            let Some((package, rule)) = query.rsplit_once('.') else {
                let message = format!("`{}` names no package and no rule", policy.query);
                let hint = Some("as in data.package.rule".to_owned());
                problems.push(subject.suite.source.problem(&path("query"), message).hint(hint));
                continue;
            };
            if rego.package != package {
                let message = format!("its package is `{}`, and the service asks for `{package}`", rego.package);
                let problem = in_file(rego.package_line, 1, message);
                problems.push(match close(&rego.package, [package]) {
                    Some(right) => problem.meant(&rego.package, [right]),
                    None => problem.hint(Some(format!("write `package {package}`"))),
                });
            } else if !rego.rules.iter().any(|one| one == rule) {
                let message = format!("the package `{package}` has no rule `{rule}`, which the service asks for");
                let hint = did_you_mean(rule, rego.rules.iter().map(String::as_str));
                let all = || (!rego.rules.is_empty()).then(|| format!("there are: {}", rego.rules.join(", ")));
                problems.push(in_file(rego.package_line, 1, message).hint(hint.or_else(all)));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_parts_that_may_be_anything() {
        for (route, path, expected) in [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/", true),
            ("/healthz", "/health", false),
            ("/items/{id}", "/items/7", true),
            ("/items/{id}", "/items", false),
            ("/", "/", true),
        ] {
            assert_eq!(is_route(route, path), expected, "{route} {path}");
        }
    }
}
