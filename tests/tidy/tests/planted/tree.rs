use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use isthmus_tidy::{Tree, Violation};
use tempfile::TempDir;

pub(crate) const LOG: &str = "crates/log/Cargo.toml";
pub(crate) const LOG_SOURCE: &str = "crates/log/src/planted.rs";
pub(crate) const CORE: &str = "crates/replication/Cargo.toml";
pub(crate) const CORE_SOURCE: &str = "crates/replication/src/planted.rs";

/// A small tree that every rule accepts.
pub(crate) fn sound() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let root = folder.path();
    write(
        root,
        "Cargo.toml",
        "[workspace]\nmembers = []\n[workspace.dependencies]\nbytes = \"1\"\n",
    );
    write(
        root,
        "README.md",
        "# Isthmus\n\nSee [how it is built](docs/architecture.md#the-core).\n",
    );
    write(root, "docs/architecture.md", "# Architecture\n\n## The core\n");
    write(
        root,
        "docs/assumptions-nats.md",
        "| sequences are dense | `test_dense` |\n",
    );
    write(
        root,
        "tests/assumptions/test_log.py",
        "class Log:\n    async def test_dense(self):\n        pass\n",
    );
    write(
        root,
        "crates/replication/Cargo.toml",
        "[package]\nname = \"isthmus-replication\"\n[dependencies]\nbytes.workspace = true\n[dev-dependencies]\nproptest.workspace = true\n",
    );
    write(
        root,
        "crates/replication/src/lib.rs",
        "//! No `std::time::Instant` here.\nuse std::collections::BTreeMap;\n",
    );
    write(
        root,
        "crates/log/Cargo.toml",
        "[package]\nname = \"isthmus-log\"\n[dependencies]\nasync-nats.workspace = true\n",
    );
    write(root, "crates/log/src/lib.rs", "use async_nats::jetstream;\n");
    write(
        root,
        "tests/acceptance/01-demo.sh",
        "#!/usr/bin/env bash\nexpect_fail false\n",
    );
    execute(root, "tests/acceptance/01-demo.sh");
    folder
}

pub(crate) fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
    fs::write(path, text).expect("the file can be written");
}

pub(crate) fn execute(root: &Path, path: &str) {
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).expect("its owner may change it");
}

/// Plants `text` at `path` in a sound tree. The rule must find nothing before, and that place
/// after.
pub(crate) fn finds(rule: impl Fn(&Tree) -> Vec<Violation>, path: &str, text: &str, line: usize) {
    let folder = sound();
    let before = rule(&Tree::read(folder.path()).expect("the tree is readable"));
    assert!(before.is_empty(), "in the sound tree: {before:?}");
    write(folder.path(), path, text);
    let after = rule(&Tree::read(folder.path()).expect("the tree is readable"));
    assert!(
        after
            .iter()
            .any(|violation| violation.path == path && violation.line == line),
        "{path}:{line} not among {after:?}"
    );
}

/// Plants `text` at `path` in a sound tree. The rule must find nothing.
pub(crate) fn passes(rule: impl Fn(&Tree) -> Vec<Violation>, path: &str, text: &str) {
    let folder = sound();
    write(folder.path(), path, text);
    let found = rule(&Tree::read(folder.path()).expect("the tree is readable"));
    assert!(found.is_empty(), "{found:?}");
}
