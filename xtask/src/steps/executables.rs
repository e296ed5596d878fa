//! Where cargo puts what it builds: only cargo knows, for target folders, targets and profiles are set in many places.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::suite::yaml::did_you_mean;

/// The executables that a build made or found fresh, by package and name.
#[derive(Debug, Default)]
pub(super) struct Executables(BTreeMap<(String, String), Utf8PathBuf>);

impl Executables {
    /// Takes a line that cargo printed under `--message-format json`; what is none of its messages is passed over.
    pub(super) fn line(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return };
        if message["reason"] != "compiler-artifact" {
            return;
        }
        let is_binary =
            message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"));
        let package = message["package_id"].as_str().and_then(package_name);
        let (name, path) = (message["target"]["name"].as_str(), message["executable"].as_str());
        if let (true, Some(package), Some(name), Some(path)) = (is_binary, package, name, path) {
            self.0.insert((package.to_owned(), name.to_owned()), path.into());
        }
    }

    /// All executables of the package `package`, by their names.
    ///
    /// # Errors
    /// Cargo has named none.
    pub(super) fn binaries(&self, package: &str) -> Result<Vec<(&str, &Utf8Path)>> {
        let found = self.0.iter().filter(|((of, _), _)| of == package);
        let found: Vec<_> = found.map(|((_, name), path)| (name.as_str(), path.as_path())).collect();
        ensure!(!found.is_empty(), "cargo has built the package {package} and named no executable of it");
        Ok(found)
    }

    /// The executable `name` of the package `package`.
    ///
    /// # Errors
    /// Cargo has named none.
    pub(super) fn of(&self, package: &str, name: &str) -> Result<&Utf8Path> {
        let found = self.0.get(&(package.to_owned(), name.to_owned()));
        found.map(Utf8PathBuf::as_path).ok_or_else(|| {
            let all: Vec<String> = self.0.keys().map(|(package, name)| format!("{package}/{name}")).collect();
            let wanted = format!("{package}/{name}");
            let hint = did_you_mean(&wanted, all.iter().map(String::as_str))
                .unwrap_or_else(|| format!("it named {}", if all.is_empty() { "none".into() } else { all.join(", ") }));
            anyhow!("cargo has built the package {package} and named no executable `{name}` of it: {hint}")
        })
    }
}

/// The name in a package's id: `path+file:///w/e2e#0.1.0` and `registry+https://…#name@1.0.0`, before Rust 1.77
/// `name 1.0.0 (path+file:///w/e2e)`.
/// <https://doc.rust-lang.org/cargo/reference/pkgid-spec.html>
fn package_name(id: &str) -> Option<&str> {
    let Some((place, fragment)) = id.rsplit_once('#') else { return id.split(' ').next() };
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None if fragment.starts_with(|first: char| first.is_ascii_digit()) => {
            place.split('?').next()?.trim_end_matches('/').rsplit('/').next()
        }
        None => Some(fragment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_any_form_of_its_id() {
        for (id, name) in [
            ("path+file:///w/e2e#0.1.0", "e2e"),
            ("path+file:///w/e2e#specs@0.1.0", "specs"),
            ("registry+https://github.com/rust-lang/crates.io-index#serde@1.0.0", "serde"),
            ("git+https://host/repo?rev=1#0.1.0", "repo"),
            ("gateway 0.1.0 (path+file:///w/gateway)", "gateway"),
        ] {
            assert_eq!(package_name(id), Some(name), "{id}");
        }
    }

    #[test]
    fn only_binaries_with_a_path_count_and_what_is_missing_is_named() {
        let mut executables = Executables::default();
        let message = |package: &str, kind: &str, name: &str, path: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/{package}#0.1.0","target":{{"kind":["{kind}"],"name":"{name}"}},"executable":{path}}}"#
            )
        };
        for line in [
            message("e2e", "bin", "specs", r#""/elsewhere/triple/debug/specs""#),
            message("e2e", "bin", "replay", r#""/elsewhere/triple/debug/replay""#),
            message("e2e", "lib", "e2e", "null"),
            message("other", "custom-build", "build-script-build", r#""/x""#),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "not JSON".to_owned(),
        ] {
            executables.line(&line);
        }
        assert_eq!(executables.of("e2e", "specs").unwrap(), "/elsewhere/triple/debug/specs");
        let (replay, specs) = ("/elsewhere/triple/debug/replay", "/elsewhere/triple/debug/specs");
        assert_eq!(executables.binaries("e2e").unwrap(), [("replay", replay.into()), ("specs", specs.into())]);
        let error = executables.binaries("other").unwrap_err().to_string();
        assert!(error.contains("the package other and named no executable"), "{error}");
        let error = executables.of("other", "specs").unwrap_err().to_string();
        assert!(error.contains("no executable `specs`") && error.contains("e2e/specs"), "{error}");
        let error = executables.of("e2e", "spec").unwrap_err().to_string();
        assert!(error.contains("did you mean `e2e/specs`?"), "{error}");
    }
}
