//! How this program was called, for what tells people to call it again.

use std::sync::OnceLock;

/// As this repository's alias has it.
const ALIAS: &str = "cargo xtask";

/// `cargo xtask`, or where no cargo runs this program its own name: it may stand anywhere, beside projects without Rust.
pub fn called() -> &'static str {
    static CALLED: OnceLock<String> = OnceLock::new();
    CALLED.get_or_init(|| name(std::env::var_os("CARGO").is_some(), std::env::args().next().as_deref()))
}

fn name(by_cargo: bool, program: Option<&str>) -> String {
    let own = program.filter(|_| !by_cargo).and_then(|path| path.rsplit('/').next());
    own.filter(|name| !name.is_empty()).unwrap_or(ALIAS).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cargo_does_not_run_is_called_by_its_name() {
        for (by_cargo, program, expected) in [
            (true, Some("/w/target/debug/xtask"), "cargo xtask"),
            (false, Some("/opt/e2e/xtask"), "xtask"),
            (false, Some("./suites"), "suites"),
            (false, Some(""), "cargo xtask"),
            (false, None, "cargo xtask"),
        ] {
            assert_eq!(name(by_cargo, program), expected, "{program:?}");
        }
    }
}
