//! How urgent a problem is: its severity, seen from where it happens.

use api::Severity;

/// The environment of what lies in no namespace, or in one that does not say.
pub const UNKNOWN_ENVIRONMENT: &str = "unknown";

/// The priorities, most urgent first.
pub const PRIORITIES: [&str; 4] = ["P0", "P1", "P2", "P3"];

/// P0 to P3.
pub fn priority(severity: Severity, environment: &str) -> &'static str {
    match (severity, environment) {
        (Severity::Critical, "production") => "P0",
        (Severity::Critical, "staging" | "development") | (Severity::Warning, "production") => "P1",
        (Severity::Warning, "staging" | "development") | (Severity::Info, "production") => "P2",
        _ => "P3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_of_the_table() {
        let rows = [
            (Severity::Critical, ["P0", "P1", "P1", "P3"]),
            (Severity::Warning, ["P1", "P2", "P2", "P3"]),
            (Severity::Info, ["P2", "P3", "P3", "P3"]),
        ];
        for (severity, expected) in rows {
            for (environment, wanted) in ["production", "staging", "development", "unknown"].into_iter().zip(expected) {
                assert_eq!(priority(severity, environment), wanted, "{} in {environment}", severity.as_str());
            }
        }
        assert_eq!(priority(Severity::Critical, "Production"), "P3", "an environment is spelled as it is");
    }
}
