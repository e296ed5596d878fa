//! The remediation path: what the Rego policy answers.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use regorus::{Engine, Value};

use crate::priority::{PRIORITIES, UNKNOWN_ENVIRONMENT};

const RULE: &str = "data.kubernaut.gateway.remediation.path";
const PACKAGE: &str = "kubernaut.gateway.remediation";
/// What a problem gets when the policy has no usable answer for it.
const FALLBACK_PATH: &str = "manual";

/// A policy that has been read, compiled and tried.
pub struct Policy {
    file: PathBuf,
    // Evaluation needs the engine to itself; it takes microseconds.
    engine: Mutex<Engine>,
}

impl Policy {
    /// Reads the policy and tries it on every priority in the known environments.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, has no rule `path`, or answers with something other than text that fits
    /// a label; with the file's name and the line.
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("reading the policy {}: put the file there, or set policy.path", file.display())
        })?;
        let mut engine = Engine::new();
        let shown = file.display().to_string();
        engine.add_policy(shown.clone(), text.clone()).map_err(|error| describe(&shown, &error))?;
        let policy = Self { file: file.to_owned(), engine: Mutex::new(engine) };
        for priority in PRIORITIES {
            for environment in ["production", "staging", "development", UNKNOWN_ENVIRONMENT] {
                policy.evaluate(priority, environment).map_err(|error| {
                    let (line, what) = policy.blame(&text, error);
                    anyhow!("{shown}:{line}: {what} (input: priority {priority}, environment {environment})")
                })?;
            }
        }
        Ok(policy)
    }

    /// The path for a problem. A policy that has no usable answer for this input is logged, and a person decides.
    pub fn path(&self, priority: &str, environment: &str) -> String {
        self.evaluate(priority, environment).unwrap_or_else(|error| {
            let policy = self.file.display();
            tracing::error!(%policy, priority, environment, error = format!("{error:#}"), "policy has no usable answer");
            FALLBACK_PATH.to_owned()
        })
    }

    fn evaluate(&self, priority: &str, environment: &str) -> Result<String> {
        let input = serde_json::json!({ "priority": priority, "environment": environment });
        let mut engine = self.engine.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        engine.set_input(Value::from_json_str(&input.to_string()).context("turning the input into a Rego value")?);
        let answer = engine.eval_rule(RULE.to_owned())?;
        drop(engine);
        match answer.as_string() {
            Ok(path) if !path.is_empty() && crate::text::label_value(path) == **path => Ok(path.to_string()),
            _ => bail!("the rule `path` must answer with text that fits a label, and answers {answer}"),
        }
    }

    /// The line that an evaluation error is about, and what is wrong there.
    fn blame(&self, text: &str, error: anyhow::Error) -> (usize, String) {
        let line_of = |start: &str| text.lines().position(|line| line.trim_start().starts_with(start)).map(|at| at + 1);
        let message = error.to_string();
        if let Some((line, _, what)) = location(&message) {
            return (line, what);
        }
        let package = line_of("package").unwrap_or(1);
        if message.contains("must answer") {
            return (line_of("path").or_else(|| line_of("default path")).unwrap_or(package), message);
        }
        (package, format!("there is no rule `path` in package {PACKAGE}"))
    }
}

fn describe(file: &str, error: &anyhow::Error) -> anyhow::Error {
    let message = error.to_string();
    match location(&message) {
        Some((line, column, what)) => anyhow!("{file}:{line}:{column}: {what}"),
        None => anyhow!("{file}:1: {}", message.trim()),
    }
}

/// Line, column and text of a message of regorus, which reads `--> file:5:9 … error: what`.
fn location(message: &str) -> Option<(usize, usize, String)> {
    let place = message.lines().find_map(|line| line.trim().strip_prefix("--> "))?;
    let mut parts = place.rsplit(':');
    let column = parts.next()?.trim().parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    let what = message.split_once("error: ").map_or(message, |(_, what)| what).trim().to_owned();
    Some((line, column, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.app/gateway/policies/remediation_path.rego")
    }

    fn load_text(text: &str) -> (PathBuf, Result<Policy>) {
        let mut file = tempfile::Builder::new().suffix(".rego").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (file.path().to_owned(), Policy::load(file.path()))
    }

    fn refused(text: &str) -> (String, String) {
        let (path, loaded) = load_text(text);
        let error = loaded.err().unwrap_or_else(|| panic!("accepted:\n{text}"));
        (path.display().to_string(), format!("{error:#}"))
    }

    #[test]
    fn all_16_pairs() {
        let policy = Policy::load(&shipped()).unwrap();
        let table = [
            ("P0", ["aggressive", "moderate", "aggressive", "manual"]),
            ("P1", ["conservative", "moderate", "aggressive", "manual"]),
            ("P2", ["conservative", "manual", "manual", "manual"]),
            ("P3", ["manual", "manual", "manual", "manual"]),
        ];
        for (priority, row) in table {
            for (environment, wanted) in ["production", "staging", "development", "unknown"].into_iter().zip(row) {
                let path = policy.path(priority, environment);
                println!("{priority} in {environment}: {path}");
                assert_eq!(path, wanted, "{priority} in {environment}");
            }
        }
        assert_eq!(policy.path("P0", "canary"), "manual", "an environment that the policy does not know");
    }

    #[test]
    fn a_missing_policy_names_the_file() {
        let error = format!("{:#}", Policy::load(Path::new("/nonexistent/path.rego")).err().unwrap());
        println!("{error}");
        assert!(error.contains("/nonexistent/path.rego") && error.contains("policy.path"), "{error}");
    }

    #[test]
    fn a_broken_policy_names_file_and_line() {
        let (file, error) = refused("package kubernaut.gateway.remediation\n\nimport rego.v1\n\npath := \"a\" {\n");
        println!("{error}");
        assert!(error.starts_with(&format!("{file}:5:")), "{error}");
    }

    #[test]
    fn a_policy_without_the_rule_names_file_and_line() {
        let (file, error) = refused("# nothing here\npackage kubernaut.gateway.remediation\n\nother := 1\n");
        assert!(error.starts_with(&format!("{file}:2: there is no rule `path`")), "{error}");
        let (file, error) = refused("package elsewhere\n\npath := \"manual\"\n");
        assert!(error.starts_with(&format!("{file}:1: there is no rule `path`")), "{error}");
    }

    #[test]
    fn an_answer_that_is_no_label_names_file_and_line() {
        for answer in ["7", "\"not a label!\"", "\"\""] {
            let (file, error) = refused(&format!("package kubernaut.gateway.remediation\n\npath := {answer}\n"));
            assert!(error.starts_with(&format!("{file}:3: the rule `path` must answer")), "{error}");
        }
    }

    #[test]
    fn a_policy_without_an_answer_for_a_later_input_means_manual() {
        let text = "package kubernaut.gateway.remediation\n\nimport rego.v1\n\n\
                    path := \"x\" if input.environment in {\"production\", \"staging\", \"development\", \"unknown\"}\n";
        let policy = load_text(text).1.unwrap();
        assert_eq!(policy.path("P0", "production"), "x");
        assert_eq!(policy.path("P0", "canary"), "manual");
    }
}
