//! Findings as SARIF 2.1.0, which code scanners and editors read.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};

use crate::check::{Finding, Severity, classes, explain};
use crate::suite::yaml::Problem;

/// One run with all findings and every class.
pub(super) fn sarif(findings: &[Finding]) -> Value {
    let rules: Vec<Value> = classes()
        .map(|class| {
            let text = explain(class.id).unwrap_or_default();
            // Below the heading.
            let about = text.split("\n\n").nth(1).unwrap_or_default().replace('\n', " ");
            json!({
                "id": class.id,
                "shortDescription": {"text": about},
                "help": {"text": text, "markdown": text},
                "defaultConfiguration": {"level": level(class.severity)},
            })
        })
        .collect();
    let place = |id: &str| classes().position(|class| class.id == id);
    let results: Vec<Value> = findings
        .iter()
        .map(|Finding { class, problem }| {
            let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            json!({
                "ruleId": class.id,
                "ruleIndex": place(class.id),
                "level": level(class.severity),
                "message": {"text": format!("{}{hint}", problem.message)},
                "locations": [location(problem)],
            })
        })
        .collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "xtask check", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn location(problem: &Problem) -> Value {
    let mut place = json!({"artifactLocation": {"uri": uri(problem.file.as_str()), "uriBaseId": "%SRCROOT%"}});
    if problem.line > 0 {
        place["region"] = json!({"startLine": problem.line, "startColumn": problem.column.max(1)});
    }
    json!({"physicalLocation": place})
}

/// A relative path as a URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::SUITE;

    #[test]
    fn a_finding_has_its_rule_its_level_and_its_place() {
        let problem = |file: &str, line, column| Problem {
            file: file.into(),
            line,
            column,
            message: "no".into(),
            hint: Some("try".into()),
            ..Problem::default()
        };
        let findings = [("a b/ü.yaml", 3, 0), ("c.yaml", 0, 0)]
            .map(|(file, line, column)| Finding { class: SUITE, problem: problem(file, line, column) });
        let whole = sarif(&findings);
        let run = &whole["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), crate::check::ids().count());
        for rule in rules {
            let id = rule["id"].as_str().unwrap();
            assert!(rule["help"]["text"].as_str().unwrap().starts_with(&format!("## {id}")), "{rule}");
            assert!(rule["shortDescription"]["text"].as_str().unwrap().len() > 20, "{rule}");
        }
        let first = &run["results"][0];
        assert_eq!((&first["level"], &first["message"]["text"]), (&json!("error"), &json!("no (try)")));
        assert_eq!(rules[first["ruleIndex"].as_u64().unwrap() as usize]["id"], first["ruleId"]);
        let place = &first["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%BC.yaml");
        assert_eq!(place["region"], json!({"startLine": 3, "startColumn": 1}));
        assert!(run["results"][1]["locations"][0]["physicalLocation"].get("region").is_none());
    }
}
