//! What a running gateway says of itself in `gateway_build_info` and `--version`.

/// The crate's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Which build this is. A build that sets `GATEWAY_REVISION` in its environment reports that instead.
pub const REVISION: &str = "dev";

/// The revision that is reported.
pub fn revision() -> &'static str {
    option_env!("GATEWAY_REVISION").unwrap_or(REVISION)
}
