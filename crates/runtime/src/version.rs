//! The version of the build: that of the workspace, and the commit of a release.

use std::sync::LazyLock;

/// Set by `make release`; other builds are for development.
const COMMIT: Option<&str> = option_env!("ISTHMUS_COMMIT");

static LONG: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match COMMIT {
        Some(commit) => format!("{version} ({commit})"),
        None => format!("{version} (development)"),
    }
});

/// The version with its commit, such as `0.1.0 (8fef1c0d4a37)`, as shown by `--version`.
#[must_use]
pub fn version() -> &'static str {
    &LONG
}
